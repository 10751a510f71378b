"""The AlphaMed platform's other names of the methods that users implement; it has renamed some over its releases."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

OTHER_NAMES = {
    "build_feature_model": "make_feature_model",
    "build_feature_optimizer": "make_feature_optimizer",
    "build_infer_model": "make_infer_model",
    "build_infer_optimizer": "make_infer_optimizer",
    "test": "run_test",
}
"""The platform's other name by our name. Whoever implements both is called by ours."""


def accept_other_names(cls: type) -> None:
    """Let a method under its other name stand for the abstract one that the class leaves out."""
    for name, other in OTHER_NAMES.items():
        if getattr(getattr(cls, name, None), "__isabstractmethod__", False) and hasattr(cls, other):
            setattr(cls, name, _forward_to(other))


def _forward_to(other: str) -> Callable[..., Any]:
    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        return getattr(self, other)(*args, **kwargs)

    return forward
