"""Lets `import torchvision` work beside a CPU build of torch.

PyPI's torchvision wheel is linked against CUDA. With CPU torch its C++ operators cannot load, and its Python code then
fails on import because it registers a fake implementation for `torchvision::nms`, an operator that nobody declared.
Declaring the two schemas is all that is needed; we use no torchvision operator, only its data sets and transforms.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import torch

_SCHEMAS = {
    "nms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}
_library: torch.library.Library | None = None  # schemas live as long as this object


def declare_missing_operators() -> bool:
    """Declare torchvision's operators if its own cannot load. Returns whether anything was declared."""
    global _library
    if _library is not None or "torchvision" in sys.modules or _own_operators_load():
        return False
    _library = torch.library.Library("torchvision", "DEF")
    for name, schema in _SCHEMAS.items():
        _library.define(name + schema)
    return True


def _own_operators_load() -> bool:
    """True when torchvision is absent (nothing to mend) or its extension loads (torchvision will do so again)."""
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return True
    extension = next(Path(spec.origin).parent.glob("_C*.so"), None)
    if extension is None:
        return False
    try:
        torch.ops.load_library(str(extension))
    except OSError:
        return False
    return True
