"""The leakage ledger of one run: who learned what, put together from what each type of message states of itself.

Messages tell three things: what their receiver learns from each, what no message carried, and what follows from many
of them together. The last depends on what ran: for how many rounds, and whether the weights moved meanwhile.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from protocols.core.ledger import Content, Inference, KeptFromCollaborator, KeptFromHost, LedgerEntry
from protocols.core.message import Message
from protocols.core.sender import Sender
from protocols.core.sentence import Sentence, say
from protocols.core.wire_format import wire_format
from protocols.task.alignment import BatchOpen

_FEATURES_MOVING = (
    "features of {collaborator}, about as far as one rotation of them all tells: norms and inner products of all "
    "rows. Its weights moved in {rounds} while the rows came back, so that a projection as wide as the features shows "
    "just that, and a narrower one nearly. Who also knows some rows, or can compute features of other rows, finds the "
    "rest"
)
_FEATURES_STANDING = (
    "features of {collaborator}, as far as one noisy linear image of each row tells, because the weights stood "
    "still: norms and inner products if the projection is as wide as the features, else what lies in its directions. "
    "Who also knows as many rows as there are features finds the weights, and with them the rest of that image"
)
_FEATURES_SUMMED = (
    "something of the features of {collaborator}, from the sum of its projections and those of {others}, in "
    "{rounds}: at most what one rotation of them all tells, and no smaller bound holds. Measured on MNIST over 15 "
    "rounds, who knows 50 of 1,000 rows is left an error of 0.15 with two collaborators and of 0.29 with three, and "
    "who knows 500 one of 0.04 and 0.07 (0: it knows all). Whoever is told what all the others know has "
    "{collaborator}'s projections by themselves"
)
_NEVER_ALONE = "a projection of {collaborator} by itself"
_PREDICTED = (
    "features of {collaborator} of the rows that were asked for, as far as one noisy linear image of each tells. The "
    "weights stand still since the training, so all sessions of the task together tell, of all rows that they asked "
    "for: norms and inner products if the projection is as wide as the features, else what lies in its directions. Who "
    "also knows as many rows as there are features finds the weights, and with them the rest of that image"
)
_PREDICTED_SUMMED = (
    "features of {collaborator} and {others} of the rows that were asked for, as far as one noisy linear image of "
    "each row of all of them, side by side, tells: the sum of their projections. The weights stand still since the "
    "training, so all sessions of the task together tell, of all rows that they asked for, what lies in the directions "
    "of that image. Who also knows as many rows of all of them as they have features together finds the weights, and "
    "with them the rest of that image. Whoever is told what all the others know has {collaborator}'s projections by "
    "themselves. Where a row has changed at one of them only between two predictions, their difference is that one's "
    "change by itself"
)
_PREDICTIONS = "predictions of samples that it asked for and all parties hold: what its own models make of projections"
_LABELS = (
    "labels of training samples, from gradients in {rounds}: attacks find nearly all (AUC up to 1.0) where the host "
    "adds no noise to gradients, and no bound holds for a run where it does"
)
_RANDOMISED = (
    "randomised labels of training samples, from gradients in {rounds}. As {host} declares, each true label is "
    "{epsilon:g}-differentially private for the whole run, also against all collaborators together; that holds if its "
    "own code uses true training labels nowhere else"
)


@dataclass(frozen=True)
class Crossed:
    """Messages of one type, from one party, in one round (0 outside of rounds)."""

    sender: Sender
    type: type[Message]
    round: int


@dataclass(frozen=True)
class RunLedger:
    """Who learned what in one run, in words. All about parties that follow the protocol (semi-honest).

    Attributes:
        host, collaborator: the parties' names.
        host_learned, collaborator_learned: of each other's data, from single messages.
        host_may_infer, collaborator_may_infer: what follows from all messages of the run together.
        never_sent_to_host, never_sent_to_collaborator: what no message of this run carried. It may still follow from
            many: see above.
        both_learned: names, counts and other things about the run.
        summed: the collaborators whose projections the host got the sum of; empty: it got each by itself.
    """

    host: str
    collaborator: str
    host_learned: tuple[str, ...]
    host_may_infer: tuple[str, ...]
    never_sent_to_host: tuple[str, ...]
    collaborator_learned: tuple[str, ...]
    collaborator_may_infer: tuple[str, ...]
    never_sent_to_collaborator: tuple[str, ...]
    both_learned: tuple[str, ...]
    summed: tuple[str, ...] = ()


def ledger_of_run(
    host: str,
    collaborator: str,
    crossed: Collection[Crossed],
    steps: Collection[type[Message]] = (),
    label_epsilon: float = 0.0,
    summed: tuple[str, ...] = (),
    is_prediction: bool = False,
) -> RunLedger:
    """The ledger of a run.

    Args:
        host, collaborator: their names.
        crossed: what crossed the wire.
        steps: types of message with which the host moves the weights; empty: unknown.
        label_epsilon: of the randomised response on the training labels; 0: there was none.
        summed: the collaborators whose projections the host got the sum of; empty: it got each by itself.
        is_prediction: the parties predicted with what they had trained before.
    """
    names = {"host": host, "collaborator": collaborator}

    def said(sentences: Iterable[str]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(say(sentence, **names) for sentence in sentences if sentence))

    # In order of their numbers, so that a run always reads the same.
    types = sorted({each.type for each in crossed}, key=lambda message_type: wire_format(message_type).number)
    entries = {message_type: wire_format(message_type).ledger for message_type in types}
    carried = frozenset[object]().union(*(entry.carries for entry in entries.values()))
    senders = {sender: {each.type for each in crossed if each.sender is sender} for sender in Sender}
    data = {message_type: entry for message_type, entry in entries.items() if entry.content is not Content.PUBLIC}
    shows_predictions = is_prediction and BatchOpen in types
    host_learned = [data[each].learned_by_host(bool(summed)) for each in data if each in senders[Sender.COLLABORATOR]]
    others = _others(collaborator, summed)
    host_infers: tuple[str, ...] = _host_infers(crossed, entries, steps, names, others)
    if KeptFromHost.FEATURES in carried:
        host_infers = ()
    elif shows_predictions and host_infers:
        host_infers = (say(_PREDICTED_SUMMED if others else _PREDICTED, others=others, **names),)
    return RunLedger(
        host,
        collaborator,
        said([*host_learned, *[_PREDICTIONS] * shows_predictions]),
        host_infers,
        said([*(kept.value for kept in KeptFromHost if kept not in carried), *[_NEVER_ALONE] * bool(summed)]),
        said(entry.collaborator_learns for message_type, entry in data.items() if message_type in senders[Sender.HOST]),
        _collaborator_infers(crossed, entries, label_epsilon, host),
        said(kept.value for kept in KeptFromCollaborator if kept not in carried),
        said(entry.host_learns for entry in entries.values() if entry.content is Content.PUBLIC),
        summed,
    )


def _others(collaborator: str, summed: Collection[str]) -> str:
    """Those whose projections were added to this collaborator's, in words; empty: there was no sum."""
    names = [name for name in summed if name != collaborator]
    said = names[0] if names else ""
    for name in names[1:]:
        said = say("{one} and {other}", one=said, other=name)
    return said


def _host_infers(
    crossed: Collection[Crossed],
    entries: dict[type[Message], LedgerEntry],
    steps: Collection[type[Message]],
    names: Mapping[str, str],
    others: str,
) -> tuple[Sentence, ...]:
    rounds = _rounds_of(crossed, entries, Inference.FEATURES)
    if not rounds:
        return ()
    if others:
        return (say(_FEATURES_SUMMED, rounds=_rounds(len(rounds)), others=others, **names),)
    # A scheme that does not say with what its weights move is taken to move them in every round.
    moved = {each.round for each in crossed if each.type in steps} if steps else rounds
    if moved:
        return (say(_FEATURES_MOVING, rounds=_rounds(len(moved)), **names),)
    return (say(_FEATURES_STANDING, **names),)


def _collaborator_infers(
    crossed: Collection[Crossed], entries: dict[type[Message], LedgerEntry], label_epsilon: float, host: str
) -> tuple[Sentence, ...]:
    count = len(_rounds_of(crossed, entries, Inference.LABELS))
    if not count:
        return ()
    rounds = _rounds(count)
    if label_epsilon:
        return (say(_RANDOMISED, rounds=rounds, epsilon=label_epsilon, host=host),)
    return (say(_LABELS, rounds=rounds),)


def _rounds_of(
    crossed: Collection[Crossed], entries: dict[type[Message], LedgerEntry], inference: Inference
) -> set[int]:
    """In which rounds there were messages that this follows from."""
    return {each.round for each in crossed if inference in entries[each.type].infers}


def _rounds(count: int) -> Sentence:
    return say("1 round") if count == 1 else say("{n} rounds", n=count)
