"""The schemes that are known, by name.

    @register_scheme("mine")
    class Mine(Scheme):
        ...

in a module that the entry-point group `secure_hfl.schemes` names:

    [project.entry-points."secure_hfl.schemes"]
    mine = "my_package.scheme"

Entry points are looked up by secure_hfl/schemes.py; this module knows what was imported.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from protocols.core.errors import InvalidInput
from protocols.core.message import Message
from protocols.core.wire_format import wire_format
from protocols.schemes.encrypted.scheme import Bfv, Paillier
from protocols.schemes.interface import Engine, Scheme
from protocols.schemes.masked.scheme import Masked
from protocols.schemes.plain.scheme import Plain
from protocols.task.messages import COMMON_MESSAGES

SchemeClass = TypeVar("SchemeClass", bound=type[Scheme])
_registered: dict[str, type[Scheme]] = {}


def register_scheme(name: str) -> Callable[[SchemeClass], SchemeClass]:
    """Class decorator: make a scheme available under this name. Raises `InvalidInput` if the name is taken."""

    def register(scheme: SchemeClass) -> SchemeClass:
        taken = _registered.get(name)
        if taken is not None and taken is not scheme:
            raise InvalidInput(f"scheme {name!r} is already registered by {taken.__module__}")
        scheme.name = name
        _registered[name] = scheme
        return scheme

    return register


register_scheme("bfv")(Bfv)
register_scheme("masked")(Masked)
register_scheme("paillier")(Paillier)
register_scheme("plain")(Plain)


def registered_names() -> list[str]:
    """Those that can be made here and now."""
    return sorted(_registered)


def known_messages() -> tuple[type[Message], ...]:
    """Every message type of every scheme that is registered here, and those that all tasks have."""
    own = (message for name in registered_names() for message in registered_scheme(name).messages())
    return tuple(dict.fromkeys((*COMMON_MESSAGES, *own)))


def known_types(scheme: str) -> dict[str, type[Message]]:
    """The same by their names in a transcript. Where schemes use one name for two types, those of `scheme` count."""
    first = registered_scheme(scheme).messages() if scheme in _registered else ()
    return {wire_format(each).name: each for each in (*known_messages(), *first)}


def is_plaintext(name: str) -> bool:
    """Whether features cross the wire in the clear in this scheme; False if none of this name is registered here."""
    return name in _registered and _registered[name].is_plaintext


def has_unbound_shares(name: str) -> bool:
    """Whether nothing tests shares of the weights in this scheme; False if none of this name is registered here."""
    return name in _registered and _registered[name].has_unbound_shares


def registered_scheme(name: str, engine: Engine | None = None) -> Scheme:
    """The scheme of this name, with its default parameters. Raises `InvalidInput` if none is registered."""
    if name not in _registered:
        raise InvalidInput(f"there is no scheme {name!r}; known here: {', '.join(registered_names())}")
    return _registered[name](engine)
