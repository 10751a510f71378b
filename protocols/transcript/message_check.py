"""Whether each message of a transcript may be there: its type, place, size, and whether it is fresh."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from protocols.core.distance import Distance
from protocols.core.errors import InvalidInput, MessageOutOfOrder
from protocols.core.ledger import Content
from protocols.core.message import Message
from protocols.core.sender import Sender
from protocols.core.sentence import say
from protocols.core.sizes import Bounds, Measure, TaskSizes
from protocols.core.wire_format import wire_format
from protocols.layer.messages import FeatureShape
from protocols.schemes.registry import known_types, registered_names, registered_scheme
from protocols.task.history import History
from protocols.task.manifest import PROTOCOL_VERSION
from protocols.task.order import Purpose, TaskOrder, purpose_of
from protocols.task.resumption import ResumePoint
from protocols.task.scheme_order import SchemeOrder
from protocols.task.terms import PairTerms
from protocols.transcript.errors import (
    IllegalOrder,
    ImpossibleSize,
    MalformedTranscript,
    OlderVersion,
    PlaintextInSecureTask,
    RepeatedContent,
    Severity,
)
from protocols.transcript.finding_log import FindingLog
from protocols.transcript.format import NONE, Entry
from protocols.transcript.preamble import AgreedTerms
from protocols.wire.sizes import body, header

_SMOOTHLY_FLOODED = 3
"""The first protocol version whose noise is what protocols/he/budget.py counts."""


class FreshTags:
    """Where each fresh message was seen, over all runs that are audited together."""

    def __init__(self) -> None:
        self._seen: dict[bytes, tuple[str, int]] = {}

    def add(self, tag: bytes, file: str, line: int) -> tuple[str, int] | None:
        """Remember a tag; where it was before, if it was."""
        before = self._seen.setdefault(tag, (file, line))
        return None if before == (file, line) else before


class TypeRule(NamedTuple):
    """What a message type says of its messages, as an auditor asks for it on every line."""

    message_type: type[Message]
    recorded: int
    is_fresh: bool
    is_plaintext: bool
    bounds: Bounds | None
    distance: Measure | None

    @classmethod
    def of(cls, message_type: type[Message]) -> TypeRule:
        """That of one type."""
        declared = wire_format(message_type)
        is_plaintext = declared.ledger.content is Content.PLAINTEXT
        recorded, is_fresh = len(declared.recorded), declared.ledger.is_fresh
        return cls(message_type, recorded, is_fresh, is_plaintext, declared.bounds, declared.distance)


class MessageCheck:
    """Everything that is checked of a single message.

    Args:
        history: what the conversations before have reached.
        fresh: tags to compare with and add to; None: they are not looked at.
        log: takes what is wrong.
    """

    def __init__(self, history: History, fresh: FreshTags | None, log: FindingLog) -> None:
        self._order, self._sizes = OrderCheck(history, log), SizeCheck(log)
        self._history, self._fresh, self._log = history, fresh, log
        self._scheme = ""
        self._rules: Mapping[str, TypeRule] = {}
        self._may_be_plaintext = False

    def begin(self, terms: AgreedTerms) -> None:
        """The terms were read. What is not known here is reported, and not checked."""
        self._scheme = terms.scheme
        self._order.go_on_from(terms.resumed_from, terms.resume_point)
        self._rules = {name: TypeRule.of(message_type) for name, message_type in known_types(terms.scheme).items()}
        try:
            scheme = registered_scheme(terms.scheme)
            self._may_be_plaintext = scheme.is_plaintext
            if terms.protocol_version < PROTOCOL_VERSION:
                self._history.is_whole = False
                problem = say(
                    "protocol version {protocol_version}: order and sizes are not checked",
                    protocol_version=terms.protocol_version,
                )
                self._log.report(OlderVersion(problem))
                return
            if terms.protocol_version != PROTOCOL_VERSION:
                raise InvalidInput(f"protocol version {terms.protocol_version}; known here is {PROTOCOL_VERSION}")
            if terms.trained or terms.is_overlap:
                purpose = purpose_of(bool(terms.trained), terms.is_online, terms.is_overlap)
                self._order.begin(scheme.prediction_order(), None, terms.pair_terms, purpose)
            else:
                self._order.begin(scheme.task_order(terms.is_trainable), terms.resume_point, terms.pair_terms)
            self._sizes.begin(TaskSizes(terms, scheme.sizes(terms.scheme_parameters)), self._history.shape)
            has_noise = any(wire_format(each).distance is not None for each in scheme.messages())
            if has_noise and terms.protocol_version >= _SMOOTHLY_FLOODED:
                self._sizes.shown = dict.fromkeys(Sender, Distance())
        except InvalidInput as error:
            self._history.is_whole = False
            meaning = "Another version of the program, or a scheme from elsewhere: order and sizes are not checked."
            self._log.report(IllegalOrder(str(error), meaning=meaning, severity=Severity.WARNING))

    def rule_of(self, entry: Entry) -> TypeRule:
        """The rule for a message. Raises `MalformedTranscript` if its type or what its line says of it is unknown."""
        rule = self._rules.get(entry.type)
        if rule is None:
            raise self._unknown(entry.type)
        if rule.recorded != len(entry.recorded) or rule.is_fresh == (entry.tag == NONE):
            problem = say("{type} with other fields than such a message has", type=entry.type)
            raise MalformedTranscript(problem, line=self._log.line)
        return rule

    def _unknown(self, message_type: str) -> MalformedTranscript:
        meaning = None
        if self._scheme not in registered_names():
            meaning = say(
                "Audit where scheme {scheme!r} is installed: nothing from this line on was looked at here.",
                scheme=self._scheme,
            )
        problem = say("{message_type} is no message that is known here", message_type=message_type)
        return MalformedTranscript(problem, meaning=meaning, line=self._log.line)

    def check(self, entry: Entry, rule: TypeRule) -> None:
        """One message, after those before it."""
        if not entry.overtook:
            self._order.check(entry, rule.message_type)
        self._sizes.check(entry, rule)
        if rule.is_plaintext and not self._may_be_plaintext:
            problem = say("{type} in a task of scheme {scheme}", type=entry.type, scheme=self._scheme)
            self._log.report(PlaintextInSecureTask(problem, "ciphertexts", entry=str(entry)))
        if rule.is_fresh and self._fresh is not None:
            before = self._fresh.add(entry.tag, self._log.file, self._log.line)
            if before is not None:
                problem = say("ends in the same bytes as line {line} of {file}", line=before[1], file=before[0])
                self._log.report(RepeatedContent(problem, entry=str(entry)))
        if rule.message_type is FeatureShape:
            self._history.shape = entry.recorded[0], entry.recorded[1]

    @property
    def shown(self) -> dict[Sender, Distance] | None:
        """See `SizeCheck`."""
        return self._sizes.shown

    def finish(self) -> None:
        """There are no more messages."""
        self._order.finish()


class OrderCheck:
    """The order of one conversation's messages, and that it goes on from where the run had been.

    Args:
        history: what the conversations before have reached; what this one reaches is added.
        log: takes what is wrong.
    """

    def __init__(self, history: History, log: FindingLog) -> None:
        self._history, self._log = history, log
        self._order: TaskOrder | None = None

    def go_on_from(self, tag: str, point: ResumePoint | None) -> None:
        """The checkpoint of this tag and place, or with None the beginning of the task."""
        if point is not None:
            if self._history.is_whole and not self._history.has(point):
                problem = say("the task goes on from {point}, which was not reached before", point=str(point))
                self._log.report(IllegalOrder(problem, "a place in one of the conversations before"))
            elif not self._history.names(tag, point):
                expected = "the place that it was resumed from before"
                self._log.report(IllegalOrder("one checkpoint has two places", expected))
        self._history.rewind(point)

    def begin(
        self, scheme: SchemeOrder, point: ResumePoint | None, terms: PairTerms, purpose: Purpose = Purpose.TRAINING
    ) -> None:
        """From here on messages come."""
        self._order = TaskOrder(scheme, point, self._history, terms, purpose)

    def check(self, entry: Entry, message_type: type[Message]) -> None:
        """The next message."""
        if self._order is None:
            return
        try:
            self._order.step(entry.sender, message_type, (entry.phase, entry.round, entry.batch), entry.recorded)
        except MessageOutOfOrder as error:
            self._log.report(IllegalOrder(str(error), "see protocols/task/order.py", entry=str(entry)))
            self._order, self._history.is_whole = None, False  # nothing that follows can be judged

    def finish(self) -> None:
        """There are no more messages."""
        if self._order is not None:
            self._order.finish()


class SizeCheck:
    """Whether each message is as long as the task's parameters, and what was announced, imply.

    Args:
        log: takes what is wrong.

    Attributes:
        shown: what each party's messages show of its secrets under noise; None: it is not counted.
    """

    def __init__(self, log: FindingLog) -> None:
        self._log = log
        self._sizes: TaskSizes | None = None
        self.shown: dict[Sender, Distance] | None = None

    def begin(self, sizes: TaskSizes, shape: tuple[int, int] | None) -> None:
        """The task's sizes, and the features' shape if an earlier conversation has announced it."""
        self._sizes = sizes
        if shape is not None:
            sizes.note(Sender.COLLABORATOR, FeatureShape, shape)

    def check(self, entry: Entry, rule: TypeRule) -> None:
        """The next message."""
        if self._sizes is None:
            return
        sender, recorded = entry.sender, entry.recorded
        try:
            if rule.distance is not None and self.shown is not None:
                self.shown[sender] += rule.distance(self._sizes, sender, recorded) or Distance()
            bounds = None if rule.bounds is None else rule.bounds(self._sizes, sender, recorded)
            self._sizes.note(sender, rule.message_type, recorded)
        except InvalidInput as error:
            self._log.report(
                ImpossibleSize(say("this task cannot have such a message: {error}", error=str(error)), entry=str(entry))
            )
            return
        if bounds is None:
            return
        head = header(entry.sequence, entry.phase, entry.round, entry.batch)
        low = head + body(bounds[0])
        high = low if bounds[0] == bounds[1] else head + body(bounds[1])
        if not low <= entry.length <= high:
            wanted = say("{low} bytes", low=low) if low == high else say("{low} to {high} bytes", low=low, high=high)
            self._log.report(ImpossibleSize(say("{length} bytes", length=entry.length), wanted, entry=str(entry)))
