"""The AlphaMed platform's names of the schedulers whose projection layers are protected. Here all are; it is one class.

host = MyHost(feature_key="host", project_layer_config=[("clinic", 20, 20)], project_layer_lr=0.01, max_rounds=5)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from protocols.layer.messages import MAX_WIDTH
from secure_hfl.errors import ConfigurationError
from secure_hfl.schedulers.collaborator import HeteroNNCollaboratorScheduler
from secure_hfl.schedulers.host import HeteroNNHostScheduler


class SecureHeteroNNHostScheduler(HeteroNNHostScheduler):
    """`HeteroNNHostScheduler` with the platform's arguments.

    Args:
        feature_key: see `HeteroNNHostScheduler`, as for all arguments that are not below.
        project_layer_config: for each party (feature key, width of its features, width of their projection). A row for
            the Host itself is accepted if both widths are equal: its own features are not projected.
        project_layer_lr: learning rate of the projection layers.
        others: the other arguments of `HeteroNNHostScheduler`.
    """

    def __init__(
        self,
        feature_key: str,
        project_layer_config: Sequence[tuple[str, int, int]],
        project_layer_lr: float,
        max_rounds: int = 0,
        calculation_timeout: float = 300,
        schedule_timeout: float = 30,
        log_rounds: int = 0,
        is_feature_trainable: bool = True,
        **others: Any,
    ) -> None:
        self.project_layer_config = _checked_config(project_layer_config, feature_key)
        self.project_layer_lr = project_layer_lr
        super().__init__(
            feature_key=feature_key,
            max_rounds=max_rounds,
            calculation_timeout=calculation_timeout,
            schedule_timeout=schedule_timeout,
            log_rounds=log_rounds,
            is_feature_trainable=is_feature_trainable,
            projection={key: width for key, _, width in self.project_layer_config if key != feature_key},
            projection_lr=project_layer_lr,
            **others,
        )

    def check_feature_width(self, feature_key: str, width: int) -> None:
        """Compare a party's real width with `project_layer_config`."""
        super().check_feature_width(feature_key, width)
        expected = {key: in_width for key, in_width, _ in self.project_layer_config}
        if feature_key not in expected:
            if feature_key == self.feature_key:
                return
            raise ConfigurationError(
                f"project_layer_config has no row for {feature_key!r}, whose features are {width} wide; "
                f"add ({feature_key!r}, {width}, {width})"
            )
        if expected[feature_key] != width:
            raise ConfigurationError(
                f"project_layer_config says that {feature_key!r} has features of width {expected[feature_key]}, but "
                f"they are {width} wide"
            )


class SecureHeteroNNCollaboratorScheduler(HeteroNNCollaboratorScheduler):
    """`HeteroNNCollaboratorScheduler` with the platform's arguments.

    Args:
        feature_key: see `HeteroNNCollaboratorScheduler`, as for all arguments that are not below.
        project_layer_lr: accepted, so that the platform's scripts run, and kept; the Host's counts.
        others: the other arguments of `HeteroNNCollaboratorScheduler`.
    """

    def __init__(self, feature_key: str, project_layer_lr: float, name: str | None = None, **others: Any) -> None:
        super().__init__(feature_key, name, **others)
        self.project_layer_lr = project_layer_lr


def _checked_config(config: object, own_key: str) -> list[tuple[str, int, int]]:
    if not isinstance(config, (list, tuple)) or not config:
        raise ConfigurationError(f"project_layer_config must be a list of (feature key, in, out), not {config!r}")
    rows: dict[str, tuple[str, int, int]] = {}
    for row in config:
        match row:
            case [str() as key, int() as in_width, int() as out_width]:
                _check_row(key, in_width, out_width, own_key)
            case _:
                raise ConfigurationError(f"a row of project_layer_config must be (feature key, in, out), not {row!r}")
        if key in rows:
            raise ConfigurationError(f"project_layer_config has two rows for {key!r}")
        rows[key] = (key, in_width, out_width)
    return list(rows.values())


def _check_row(key: str, in_width: int, out_width: int, own_key: str) -> None:
    for width in (in_width, out_width):
        if isinstance(width, bool) or not 1 <= width <= MAX_WIDTH:
            raise ConfigurationError(
                f"project_layer_config: the widths of {key!r} must be 1 to {MAX_WIDTH}, not {width}"
            )
    if key == own_key and in_width != out_width:
        raise ConfigurationError(
            f"project_layer_config would project the Host's own features {key!r} from {in_width} to {out_width}, which "
            "nothing does here: make the last layer of its feature model that wide"
        )
