"""Messages about the conversation itself.

any party  ──── Abort ────▶  its peers        at any time; the receiver stops
"""

from __future__ import annotations

from dataclasses import dataclass

from protocols.core.ledger import public
from protocols.core.message import Message
from protocols.core.sizes import between
from protocols.core.wire_format import wire
from protocols.task.abort_code import AbortCode, known_code
from protocols.wire.sizes import data

__all__ = ["MAX_REASON", "Abort", "AbortCode", "known_code"]

MAX_REASON = 500


@wire(
    16,
    ledger=public("that, where and why a party stopped", "One line without values, ids or paths."),
    bounds=between(9, data(4 * MAX_REASON) + 2 * data(400)),
)
@dataclass(frozen=True)
class Abort(Message):
    """The task ends here.

    Attributes:
        reason: one line for people.
        party: who stopped; not always the sender, the host passes it on.
        code: an `AbortCode`, or a text that only newer versions know.

    **Leaks**: that, where and why this party stopped. Never a value, an id or a path.
    """

    reason: str
    party: str
    code: str

    def __post_init__(self) -> None:
        self.require_text("reason", MAX_REASON)
        self.require_text("party", 100)
        self.require_text("code", 100)
