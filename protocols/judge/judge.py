"""Judges one round from files alone: openings, and the transcripts that both parties have signed.

    judgement = judge([read_opening(name, data), ...], [(name, lines), ...])

One opening or both, of one conversation and round. Pure, and whatever the files hold: what is wrong with an opening is
said of the opening, and convicts nobody. What each verdict rests on: protocols/judge/recomputation.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

from protocols.core.envelope import Phase
from protocols.core.errors import InvalidCiphertext, InvalidInput, ProtocolError
from protocols.core.sender import Sender
from protocols.he.interface import Backend
from protocols.judge.evidence import (
    ROUNDS,
    Conversation,
    Facts,
    Said,
    check_commitments,
    check_signature,
    facts_of,
    is_commitment,
    mergeable,
    messages_of,
    read_conversations,
    width_of,
)
from protocols.judge.opening import InvalidOpening, Opening, Unsupported
from protocols.judge.recomputation import Recomputation, Side
from protocols.judge.verdict import Judgement, Refusal, Verdict
from protocols.layer.interface import LayerSpec
from protocols.layer.messages import FrozenRows, InitialFactor, InitialShare, ProjectionKey
from protocols.layer.parameters import LayerParameters
from protocols.schemes.encrypted.messages import FeatureGradient, Projection, StepGradient, WeightGradient
from protocols.schemes.encrypted.scheme import EncryptedScheme
from protocols.schemes.registry import registered_names, registered_scheme
from protocols.schemes.shares.messages import CollaboratorShare, HostShare
from protocols.task.alignment import BatchOpen
from protocols.transcript.preamble import AgreedTerms
from protocols.wire.codec import Catalogue

_ORDER = (
    InitialFactor,
    InitialShare,
    Projection,
    StepGradient,
    FeatureGradient,
    WeightGradient,
    CollaboratorShare,
    HostShare,
)
"""Of the messages of set-up, and of a batch."""


class Admitted:
    """One conversation, and the openings of it that hold.

    Args:
        conversation: which.
        number: the round.
        backend: in place of the scheme's own (tests use smaller keys).

    Raises:
        InvalidInput: rounds of this scheme, or of this run, cannot be judged.
    """

    def __init__(self, conversation: Conversation, number: int, backend: Backend | None) -> None:
        self.conversation, self.terms, self.number = conversation, conversation.terms, number
        scheme, self.parameters = _scheme_of(self.terms)
        if backend is None:
            scheme.adopt_set(self.terms.scheme_parameters)
        self._backend = scheme.backend() if backend is None else backend
        self._catalogue = Catalogue(scheme.all_messages())
        self.sides = {sender: Side(self.terms.name(sender)) for sender in Sender}
        self.said: list[Said] = []
        self.spec: LayerSpec | None = None

    def read(self, openings: Sequence[Opening], refuse: Callable[[Opening, bool, str], None]) -> list[Opening]:
        """Take what the openings show of what was said; those that are refused are left out."""
        held = []
        for opening in openings:
            is_signed = False
            try:
                check_signature(opening, self.terms)
                is_signed = True
                said = messages_of(opening, self.conversation, self._catalogue)
            except InvalidOpening as error:
                refuse(opening, is_signed, str(error))
                continue
            self.said = mergeable(self.said, said)
            held.append(opening)
        return held

    def admit(self, opening: Opening) -> None:
        """Take what a party says that it computed from. Raises `InvalidOpening`."""
        sender, facts = opening.sender, facts_of(opening)
        spec = self._spec_of(facts)
        if self.spec is not None and self.spec.width_in != spec.width_in:
            raise InvalidInput("the two openings are of layers of different widths")
        check_commitments(facts, self.said, spec, sender, self.terms, self.number)
        side = self.sides[sender]
        if side.facts is not None:
            raise InvalidOpening("this party has opened the round already, in another file")
        keys = [each.message for each in self.said if each.sender is sender and isinstance(each.message, ProjectionKey)]
        if len(keys) != 1 or not isinstance(keys[0], ProjectionKey):
            raise Unsupported("the public key of its session is not there, or not both have signed for it")
        try:
            side.key = self._backend.open_key(keys[0].public_key, facts.key)
        except InvalidCiphertext as error:
            raise InvalidOpening(str(error)) from error
        side.facts, self.spec = facts, spec

    def _spec_of(self, facts: Facts) -> LayerSpec:
        terms, width = self.terms, width_of(self.conversation, facts.states.values())
        try:
            return LayerSpec(
                *(terms.collaborator, width, terms.projection_width or width, 1, terms.is_trainable, facts.session),
                summands=len(terms.collaborators) if terms.is_summed else 1,
            )
        except ProtocolError as error:
            raise InvalidOpening(str(error)) from error

    # What is judged, in order ----------------------------------------------------------------------------------------

    def in_order(self) -> Iterator[Said]:
        """The set-up, both commitments, the shares in force, the batches; and the commitments to the next round."""
        number = self.number
        rank = {kind: at for at, kind in enumerate(_ORDER)}
        judged = [each for each in self.said if type(each.message) in rank]
        yield from sorted((each for each in judged if each.place.phase is Phase.SETUP), key=lambda e: rank[_kind(e)])
        commitments = [each for each in self.said if is_commitment(each)]
        yield from (each for each in commitments if each.place.round == number)
        for kind in (CollaboratorShare, HostShare):
            before = [e for e in judged if _kind(e) is kind and e.place.phase in ROUNDS and e.place.round < number]
            yield from before[-1:]
        batches = [each for each in judged if each.place.phase in ROUNDS and each.place.round == number]
        yield from sorted(batches, key=lambda e: (e.place.phase, e.place.batch, rank[_kind(e)]))
        yield from (each for each in commitments if each.place.round == number + 1)

    def rows_of(self, said: Said) -> int:
        """How many rows of a message's batch crossed, as the collaborator said; 0 if that is not known."""
        for each in self.said:
            message = each.message
            if each.place == said.place and isinstance(message, BatchOpen if self.terms.is_trainable else FrozenRows):
                return message.rows if isinstance(message, BatchOpen) else message.new
        return 0


def judge(
    openings: Sequence[Opening],
    transcripts: Iterable[tuple[str, Iterable[bytes]]],
    *,
    trusted: Collection[str] = (),
    backend: Backend | None = None,
) -> Judgement:
    """Judge one round.

    Args:
        openings: one or two, of one conversation and round.
        transcripts: of that conversation, of either end or both; others of the run may be among them.
        trusted: fingerprints of the parties' certificates, as the caller knows them. Without them the certificates in
            the transcript are taken for theirs, and whoever made up all files can convict whom they like.
        backend: of tests with smaller keys.

    Raises:
        InvalidInput: the files do not belong together, or such a round cannot be judged.
    """
    if not openings or len({(each.agreement, each.round) for each in openings}) != 1:
        raise InvalidInput("give one opening, or two of the same conversation and round")
    conversations = read_conversations(transcripts)
    conversation = conversations.get(openings[0].agreement)
    if conversation is None:
        raise InvalidInput("no transcript of the conversation that was opened is among the files")
    _check_trusted(conversation.terms, trusted)
    admitted = Admitted(conversation, openings[0].round, backend)
    terms, refused = conversation.terms, list[Refusal]()

    def refuse(opening: Opening, is_false: bool, reason: str) -> None:
        refused.append(Refusal(opening.name, terms.name(opening.sender), is_false, reason))

    openers = []
    for opening in admitted.read(openings, refuse):
        try:
            admitted.admit(opening)
            openers.append(terms.name(opening.sender))
        except InvalidOpening as error:
            refuse(opening, not isinstance(error, Unsupported), str(error))
    verdicts = () if admitted.spec is None else _recompute(admitted, admitted.spec)
    return Judgement(terms.task_id, openings[0].round, tuple(openers), tuple(refused), verdicts)


def _recompute(admitted: Admitted, spec: LayerSpec) -> tuple[Verdict, ...]:
    work = Recomputation(spec, admitted.parameters, admitted.sides, admitted.number, admitted.rows_of)
    work.begin_set_up()
    for each in admitted.in_order():
        work.take(each)
    return tuple(work.verdicts)


def _kind(said: Said) -> type:
    return type(said.message)


def _scheme_of(terms: AgreedTerms) -> tuple[EncryptedScheme, LayerParameters]:
    if terms.is_reproducible:
        raise InvalidInput("this run had a seed: what is drawn from it is no secret, and is not judged")
    scheme = registered_scheme(terms.scheme) if terms.scheme in registered_names() else None
    if not isinstance(scheme, EncryptedScheme):
        raise InvalidInput(f"rounds of scheme {terms.scheme!r} cannot be judged; those of bfv and paillier can")
    scheme.sizes(terms.scheme_parameters)  # reads all of them, or says what is wrong
    return scheme, LayerParameters(**json.loads(terms.scheme_parameters)["layer"])


def _check_trusted(terms: AgreedTerms, trusted: Collection[str]) -> None:
    known = {fingerprint.replace(":", "").lower() for fingerprint in trusted}
    for sender in Sender:
        fingerprint = terms.certificate(sender).fingerprint
        if known and fingerprint not in known:
            raise InvalidInput(f"the {sender.role}'s certificate is {fingerprint}, which is not one that is known")
