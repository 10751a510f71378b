"""The registry of schemes: how the projection layer is computed. A new scheme is one file.

    @register_scheme("mine")
    class Mine(Scheme):
        ...

in a module that the entry-point group `secure_hfl.schemes` names:

    [project.entry-points."secure_hfl.schemes"]
    mine = "my_package.mine"
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import entry_points
from typing import ClassVar, TypeVar

from protocols.core.message import Message
from protocols.layer.interface import CollaboratorProjection, HostProjection, ProjectionSpec
from secure_hfl.errors import ConfigurationError

BUILT_IN = {
    "bfv": "secure_hfl.schemes.encrypted",
    "masked": "secure_hfl.schemes.masked",
    "paillier": "secure_hfl.schemes.encrypted",
    "plain": "secure_hfl.schemes.plain",
}
GROUP = "secure_hfl.schemes"


class Scheme(ABC):
    """One way to compute the projection layer, with its parameters.

    Attributes:
        name: what users write; set by `register_scheme`.
        needs_projection: whether a projection layer is part of the scheme (every encrypted one) or optional (plain).
        is_plaintext: whether features cross the wire in the clear.
        host_learns, collaborator_learns: beyond the intersection, in words for a security officer.
    """

    name: ClassVar[str]
    needs_projection: ClassVar[bool] = True
    is_plaintext: ClassVar[bool] = False
    host_learns: ClassVar[str]
    collaborator_learns: ClassVar[str]

    def parameters(self) -> str:
        """What both sides must agree on beyond the name, as canonical text for the manifest."""
        return ""

    @abstractmethod
    def host(self, spec: ProjectionSpec) -> HostProjection:
        """The host's end for one collaborator."""

    @abstractmethod
    def collaborator(self, spec: ProjectionSpec) -> CollaboratorProjection:
        """The collaborator's end."""

    @abstractmethod
    def messages(self) -> tuple[type[Message], ...]:
        """The message types this scheme sends."""


SchemeClass = TypeVar("SchemeClass", bound=type[Scheme])
_registered: dict[str, type[Scheme]] = {}


def register_scheme(name: str) -> Callable[[SchemeClass], SchemeClass]:
    """Class decorator: make a scheme available under this name. Raises `ConfigurationError` if the name is taken."""

    def register(scheme: SchemeClass) -> SchemeClass:
        taken = _registered.get(name)
        if taken is not None and taken is not scheme:
            raise ConfigurationError(f"scheme {name!r} is already registered by {taken.__module__}")
        scheme.name = name
        _registered[name] = scheme
        return scheme

    return register


def scheme_names() -> list[str]:
    """Every scheme that can be asked for here."""
    return sorted({*BUILT_IN, *(point.name for point in entry_points(group=GROUP))})


def load_scheme(name: str) -> Scheme:
    """Make the scheme of this name, importing the module that registers it.

    Raises:
        ConfigurationError: there is none, or its module does not register it.
    """
    if name not in _registered:
        if name in BUILT_IN:
            import_module(BUILT_IN[name])
        else:
            for point in entry_points(group=GROUP, name=name):
                point.load()
    if name not in _registered:
        raise ConfigurationError(f"there is no scheme {name!r}; known: {', '.join(scheme_names())}")
    return _registered[name]()
