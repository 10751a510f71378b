"""Finds schemes: this project's, and those that other packages bring by the entry-point group `secure_hfl.schemes`.

    [project.entry-points."secure_hfl.schemes"]
    mine = "my_package.scheme"

A scheme is a folder: protocols/schemes/interface.py.
"""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import entry_points

from protocols.core.errors import InvalidInput, SecureHflError
from protocols.core.mapper import Distant, nowhere
from protocols.core.wire_format import check_distinct, wire_format
from protocols.schemes import registry
from protocols.schemes.interface import Engine, Scheme
from protocols.schemes.registry import register_scheme, registered_names, registered_scheme
from secure_hfl.errors import ConfigurationError
from secure_hfl.executor import spare_threads, thread_beside, thread_map, when_asked
from secure_hfl.timed_backend import TimedBackend

__all__ = [
    "GROUP",
    "Scheme",
    "find_scheme",
    "is_plaintext",
    "load_scheme",
    "offline_messages",
    "register_scheme",
    "scheme_names",
]

GROUP = "secure_hfl.schemes"
_ENGINE = Engine(
    mapper=thread_map, sharing=spare_threads(), beside=thread_beside, deferred=when_asked, measured=TimedBackend
)


def scheme_names() -> list[str]:
    """Every scheme that can be asked for here."""
    return sorted({*registered_names(), *(point.name for point in entry_points(group=GROUP))})


def load_scheme(name: str, distant: Distant = nowhere) -> Scheme:
    """Make the scheme of this name, importing the module that registers it.

    Args:
        name: as users write it.
        distant: takes large work of its products.

    Raises:
        ConfigurationError: there is none, its module does not register it, or two of its messages cannot be told
            apart.
    """
    find_scheme(name)
    if name not in registered_names():
        raise ConfigurationError(f"there is no scheme {name!r}; known: {', '.join(scheme_names())}")
    scheme = registered_scheme(name, replace(_ENGINE, distant=distant))
    try:
        check_distinct(scheme.all_messages())
    except InvalidInput as error:
        raise ConfigurationError(f"scheme {name!r}: {error}") from error
    return scheme


def is_plaintext(name: str) -> bool:
    """Whether features cross the wire in the clear in this scheme; False if there is none."""
    find_scheme(name)
    return registry.is_plaintext(name)


def offline_messages(name: str) -> frozenset[str]:
    """Which of a scheme's messages cross the wire ahead of, or beside, training; none if there is no such scheme."""
    find_scheme(name)
    if name not in registered_names():
        return frozenset()
    lanes = registered_scheme(name).order(trainable=True).offline
    return frozenset(wire_format(message).name for lane in lanes.values() for _, _, message in lane)


def find_scheme(name: str) -> None:
    """Import the module that registers this scheme, if it is not here yet and some package brings it."""
    if name not in registered_names():
        for point in entry_points(group=GROUP, name=name):
            try:
                point.load()
            except SecureHflError:
                raise
            except Exception as error:
                problem = f"{type(error).__name__}: {error}"
                raise ConfigurationError(f"scheme {name!r}: {point.value} cannot be imported: {problem}") from error
