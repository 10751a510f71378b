"""How wide the projection layers are to be: what the Host asked for, as the manifest says it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from secure_hfl.errors import ConfigurationError
from secure_hfl.schemes import Scheme

Asked: TypeAlias = "Mapping[str, int] | int | bool | None"
"""See `HeteroNNHostScheduler`."""


def with_option(in_script: Asked, option: bool | None) -> Asked:
    """What a run's `--projection` or `--no-projection` makes of it: to have the layer is not to change its widths."""
    return in_script if option is None or (option and in_script) else option


def projection_widths(asked: Asked, scheme: Scheme, keys: Sequence[str]) -> list[int] | None:
    """The manifest's widths, in the order of `keys`.

    Args:
        asked: widths by collaborator, or one for all; True: as wide as the features; False: no layer.
        scheme: of the task.
        keys: the collaborators.

    Returns:
        0 for "as wide as the features"; None for no layer at all.

    Raises:
        ConfigurationError: a scheme that needs the layer would go without it, or a stranger is named.
    """
    if asked is None:
        asked = scheme.needs_projection
    if asked is False:
        if scheme.needs_projection:
            raise ConfigurationError(f"scheme {scheme.name!r} needs the projection layer")
        return None
    if isinstance(asked, Mapping):
        strangers = set(asked) - set(keys)
        if strangers:
            raise ConfigurationError(f"projection names {sorted(strangers)}, the collaborators are {sorted(keys)}")
        return [_width(asked.get(key, True)) for key in keys]
    return [_width(asked)] * len(keys)


def _width(asked: int) -> int:
    """True is "as wide as the features", written 0."""
    return 0 if asked is True else int(asked)
