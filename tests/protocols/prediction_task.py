"""Predictions in memory, in one thread: every party's real roles, with what a task in memory has trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from benchmarks.harness.pump import C, H, Wire, complete, pinned
from protocols.core.envelope import Phase, Place
from protocols.core.randomness import OsRandomness
from protocols.layer.frozen import PREFIX
from protocols.layer.messages import FeatureShape
from protocols.schemes.registry import registered_scheme
from protocols.task.agreement import CollaboratorAgreement, HostAgreement, HostPlan
from protocols.task.manifest import PROTOCOL_VERSION, Hello, Manifest
from protocols.task.rounds import CollaboratorRounds, HostRounds
from tests.protocols.kept_layers import parameters_of, scheme_ends
from tests.protocols.task_line import Line
from tests.protocols.whole_task import HOST, Before, Case, Saved, Task, serves

TRAINED = bytes(range(32))


class Prediction(Task):
    """A session of a case that was trained.

    Args:
        saved: its last checkpoint.
        batches: rows of each.
        hello_trained: which result the collaborators say that they have.
        limits: fields of the collaborators' `Hello`.
    """

    def __init__(
        self,
        case: Case,
        saved: Saved,
        batches: tuple[int, ...] = (4, 2),
        hello_trained: bytes = TRAINED,
        **limits: int,
    ) -> None:
        order = registered_scheme(case.scheme).prediction_order
        wires = [Wire(order=order, names=(H.role, key)) for key in (C.role, *case.names[1:])]
        super().__init__(case, Before(saved), wires=wires)
        self._rows, self._trained, self._limits = batches, hello_trained, limits

    def run(self) -> Prediction:
        """All of it."""
        self.join()
        self.intersect()
        self.rounds = HostRounds(self.case.names, is_prediction=True)
        for line in self.lines:
            line.rounds = CollaboratorRounds()
        if self._rows:
            self.set_up_again()
            self.round(Phase.TEST, self._rows)
        self.finish()
        return self

    def join(self) -> None:
        """See the base."""
        case = self.case
        known = {line.name: C.role if line is self.lines[0] else line.name for line in self.lines}
        parameters = parameters_of(case.scheme)
        said = "task", HOST, case.scheme, parameters, False, 30.0, pinned(known)
        plan = self.plan(HostPlan(*said, may_train=frozenset(), trained=TRAINED, is_summed=case.is_summed))
        host = HostAgreement(plan, case.names)
        joins = [CollaboratorAgreement(self.hello(line), (parameters,), plan.pinned, line.name) for line in self.lines]
        joining = [line.here(join.run()) for line, join in zip(self.lines, joins, strict=True)]
        heard = [line.at_host(host.hello_from(line.name)) for line in self.lines]
        complete([*heard, *joining], heard)
        for name in case.names:
            host.admit(name)
        self.manifest = self.decide(host)
        complete([*joining, *(line.at_host(host.conclude(line.name)) for line in self.lines)])
        if case.is_summed:
            self.agree_on_pads()
        self.sign()

    def plan(self, plan: HostPlan) -> HostPlan:
        """What the host is about to run."""
        return plan

    def decide(self, host: HostAgreement) -> Manifest:
        """What the host makes of the hellos."""
        case = self.case
        return host.decide([case.o] * len(self.lines) if case.has_projection else None, OsRandomness())

    def hello(self, line: Line) -> Hello:
        """See the base."""
        nonce = OsRandomness().bytes(32)
        said = (PROTOCOL_VERSION, "task", line.name, self.case.scheme, False, False, nonce)
        return Hello(*said, trained=self._trained, **self._limits)

    def save(self, phase: Phase, number: int = 0, batch: int = 0) -> None:
        """A prediction has no checkpoints."""

    def set_up_again(self) -> None:
        """Fresh keys, and the shares as they were."""
        assert self.before.saved is not None
        states = self.before.saved.states
        self.go_to(Phase.SETUP)
        for line in self.lines:
            line.wire.tell(C, FeatureShape(self.case.batches[0], self.case.d))
            self.build(line)
        kept = {name: [_without_rows(state) for state in both] for name, both in states.items()}
        self.talk(lambda line: (line.host.resume(kept[line.name][0]), line.collaborator.resume(kept[line.name][1])))
        self.sign()
        for line in self.lines:
            phase = line.host.offline
            if phase is not None:
                steps = phase.generate(phase.kind(False), 3 * len(self._rows)), serves(line.collaborator.offline)
                line.wire.talk(*steps, place=Place(Phase.OFFLINE))

    def make_layers(self, line: Line, number: int) -> None:
        """See the base."""
        line.spec = replace(line.spec, trainable=False)
        line.host, line.collaborator = scheme_ends(self.case.scheme, line.spec, number)


def _without_rows(state: Mapping[str, Any]) -> dict[str, Any]:
    """The scheme's part: of a frozen bottom model, without the rows that have crossed."""
    return {name: array for name, array in state.items() if not name.startswith(PREFIX)}
