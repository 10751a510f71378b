"""The leakage ledger of one run: who learned what, put together from what each type of message states of itself."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from protocols.core.ledger import Content, HiddenFromCollaborator, HiddenFromHost
from protocols.core.message import Message
from protocols.core.wire_format import wire_format


@dataclass(frozen=True)
class RunLedger:
    """Who learned what in one run, in words.

    Attributes:
        host, collaborator: the parties' names.
        host_learned, collaborator_learned: of each other's data.
        host_did_not_see, collaborator_did_not_see: what no message of this run could tell them.
        both_learned: names, counts and other things about the run.
    """

    host: str
    collaborator: str
    host_learned: tuple[str, ...]
    host_did_not_see: tuple[str, ...]
    collaborator_learned: tuple[str, ...]
    collaborator_did_not_see: tuple[str, ...]
    both_learned: tuple[str, ...]


def ledger_of_run(
    host: str,
    collaborator: str,
    from_host: Collection[type[Message]],
    from_collaborator: Collection[type[Message]],
) -> RunLedger:
    """The ledger of a run in which these types of messages crossed the wire."""

    def said(sentences: Collection[str]) -> tuple[str, ...]:
        filled = (sentence.format(host=host, collaborator=collaborator) for sentence in sentences if sentence)
        return tuple(dict.fromkeys(filled))

    # In order of their numbers, so that a run always reads the same.
    crossed = sorted({*from_host, *from_collaborator}, key=lambda kind: wire_format(kind).number)
    entries = {kind: wire_format(kind).ledger for kind in crossed}
    shown = frozenset[object]().union(*(entry.shows for entry in entries.values()))
    data = {kind: entry for kind, entry in entries.items() if entry.content is not Content.PUBLIC}
    return RunLedger(
        host,
        collaborator,
        said([entry.host_learns for kind, entry in data.items() if kind in from_collaborator]),
        said([hidden.value for hidden in HiddenFromHost if hidden not in shown]),
        said([entry.collaborator_learns for kind, entry in data.items() if kind in from_host]),
        said([hidden.value for hidden in HiddenFromCollaborator if hidden not in shown]),
        said([entry.host_learns for entry in entries.values() if entry.content is Content.PUBLIC]),
    )
