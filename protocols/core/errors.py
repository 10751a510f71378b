"""The error hierarchy of the whole project. The type says who is to blame.

    SecureHflError
    ├── ProtocolError
    │   ├── LocalMisuse      this side called the protocol wrongly, or fed it bad data
    │   └── PeerViolation    the other side sent something the protocol does not allow
    └── (secure_hfl.errors)  tasks, transport, configuration

Messages say what was wrong, where, and what to do. They never hold a key, a mask, a sample id or a value of a
tensor other than the one that broke a documented limit, because they are logged and sent to peers.
"""

from __future__ import annotations


class SecureHflError(Exception):
    """Root of every error this project raises on purpose."""


class ProtocolError(SecureHflError):
    """Something broke the rules of a protocol. Roles that raise it are dead and must be thrown away."""


class LocalMisuse(ProtocolError):
    """This side is to blame: a bad argument, a bad input, or a call out of order."""


class InvalidInput(LocalMisuse):
    """An argument has a wrong type, shape, dtype or size."""


class OutOfRange(LocalMisuse):
    """A number is NaN, infinite, or too large for the fixed-point ring. Says which tensor, the value and the limit."""


class RoleAlreadyUsed(LocalMisuse):
    """A one-shot role was asked to do its step a second time."""


class CallOutOfOrder(LocalMisuse):
    """A role's method was called in a state in which the transition table does not allow it."""


class PoolExhausted(LocalMisuse):
    """No triple of this kind is in stock. One-time masks are never used twice: wait until more have been made."""


class BudgetSpent(LocalMisuse):
    """One more message would show a peer more of this party's secrets than a whole run may. Nothing was sent."""


class PeerViolation(ProtocolError):
    """The other side is to blame: what it sent is not what the protocol allows here."""


class MalformedMessage(PeerViolation):
    """A received message has a field of a wrong type, shape, dtype, size or range."""


class AnnouncedTooLarge(PeerViolation):
    """A message's announced length is above what this party accepts."""


class MessageOutOfOrder(PeerViolation):
    """A received message is not the one the transition table allows now."""


class WrongSession(PeerViolation):
    """A received message belongs to another session, key or parameter set."""


class InvalidPoint(PeerViolation):
    """A received curve point has low order or is not canonical (RFC 7748, section 6.1)."""


class InvalidCiphertext(PeerViolation):
    """A received ciphertext or key has wrong parameters, a wrong size, is transparent, or is out of its group."""


class VerificationFailed(PeerViolation):
    """A digest, a signature or a consistency check does not hold."""


class LimitExceeded(PeerViolation):
    """A peer asks for more than the operator of this party lets it. Nothing was done for it.

    Args:
        limit: its name.
        asked, most: numbers.
    """

    def __init__(self, limit: str, asked: int, most: int) -> None:
        super().__init__(
            f"limit {limit}: this would take {asked:,}, and the operator of the party that stops here lets a peer have "
            f"{most:,}. Agree on less, or that operator raises {limit} (docs/operations.md)"
        )
        self.limit, self.asked, self.most = limit, asked, most


class MissingExtra(SecureHflError):
    """An optional dependency is not installed. Says which, and the command that installs it."""
