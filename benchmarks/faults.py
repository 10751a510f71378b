"""Kills parties and breaks connections, at every protocol step in turn and at random, and checks how training ends.

    python -m benchmarks.faults [--faults N] [--seed S] [--schemes plain bfv masked paillier] [--no-steps]
                                [--only NUMBER ...] [--keep DIRECTORY] [--json FILE]

A run survives if every party ends well, and is right if besides its result is that of an uninterrupted run (scheme
plain: bit by bit), `secure-hfl audit` holds over all its conversations, nothing that may be used once was used twice,
and the intersection was not computed again after it was known. Random choices come from the seed, and every run has a
number: `--only 17 --keep DIRECTORY` repeats number 17 and keeps what is left of it.

Parties are forked off a preloaded process, so that a fault costs two seconds; a few are started as users start them,
to measure how long that takes.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.harness.faults.harness import Faults, Outcome, run_faulty
from benchmarks.harness.faults.kill_points import BEFORE_AND_AFTER_SENDING, ON_RECEIVING, WHILE_WRITING, KillPoint
from benchmarks.harness.faults.proxy import Break, Kind, Way
from protocols.core.envelope import Phase
from protocols.schemes.registry import registered_names
from secure_hfl.bench.machine import machine

HOST, COLLABORATOR = "party0", "party1"
BOTH = (HOST, COLLABORATOR)
RESULTS = Path(__file__).parent / "results" / "faults.json"
METHODS = {"train_a_batch": 8, "iterate_train_feature": 8, "iterate_test_feature": 4, "test": 2}
"""The user's methods and how often an uninterrupted run reaches them."""

CHECKPOINTS = 8
"""That each party writes in an uninterrupted run, at least."""


@dataclass(frozen=True)
class Case:
    """One run with its faults."""

    scheme: str
    kind: str
    faults: Faults
    parties: int = 2
    psi_runs: int | None = None
    is_real: bool = False
    may_miss: bool = False
    is_at_the_end: bool = False
    """Nobody answers the very last message: the killed party's transcript may lack it, and the audit says so."""

    @property
    def count(self) -> int:
        """How many faults that is."""
        points = [point for kills in self.faults.kills.values() for point in kills if point is not None]
        breaks = [each for breaks in self.faults.breaks.values() for each in breaks]
        return len(points) + len(breaks) + (self.faults.while_down is not None)

    def __str__(self) -> str:
        kills = [f"{who}: {point}" for who, kills in self.faults.kills.items() for point in kills if point is not None]
        breaks = [
            f"{who}: {each.kind.value} {each.way.value} at {each.after}"
            for who, breaks in self.faults.breaks.items()
            for each in breaks
        ]
        return "; ".join([*kills, *breaks])


class Planner:
    """Chooses faults for one scheme, knowing what an uninterrupted run does."""

    def __init__(self, scheme: str, reference: Outcome, random: Random) -> None:
        self._scheme, self._reference, self._random = scheme, reference, random
        conversation = reference.conversations[COLLABORATOR][0][0]
        self._messages = Counter((entry.sender.role, Phase(entry.phase), entry.type) for entry in conversation)

    def every_step(self) -> Iterator[Case]:
        """Each kind of message in each phase: once its sender dies, once its receiver."""
        for (role, phase, kind), count in sorted(self._messages.items()):
            sender, receiver = BOTH if role == "host" else BOTH[::-1]
            nth = self._random.randint(1, count)
            before, after = self._random.choice((*BEFORE_AND_AFTER_SENDING, "delivered")), self._choice(ON_RECEIVING)
            if before == "delivered":
                dying = receiver, KillPoint("arrived", nth, kind, phase.name, victims=(sender,))
            else:
                dying = sender, KillPoint(before, nth, kind, phase.name)
            psi_runs = None if phase in (Phase.JOIN, Phase.PSI) else 1
            for who, steps in (("sender", dying), ("receiver", (receiver, KillPoint(after, nth, kind, phase.name)))):
                case = self._kill(f"step: {who} dies", [steps], psi_runs)
                yield replace(case, is_at_the_end=phase is Phase.FINISH)

    def at_random(self, count: int) -> Iterator[Case]:
        """So many faults, or one or two more."""
        makers = (
            self._connection,
            self._any_message,
            self._connection,
            self._user_code,
            self._connection,
            self._checkpoint,
            self._both,
            self._recovery,
            self._torn,
            self._kill_and_cut,
            self._politely,
            self._three_parties,
            self._as_users_do,
        )
        made, at = 0, 0
        while made < count:
            case = makers[at % len(makers)]()
            made, at = made + case.count, at + 1
            yield case

    def _choice(self, options: Iterable[Any]) -> Any:
        return self._random.choice(tuple(options))

    def _kill(self, kind: str, kills: list[tuple[str, KillPoint]], psi_runs: int | None = None, **more: Any) -> Case:
        points: dict[str, list[KillPoint | None]] = {}
        for who, point in kills:
            points.setdefault(who, []).append(point)
        return Case(self._scheme, kind, Faults(kills=points), psi_runs=psi_runs, **more)

    def _any_message(self) -> Case:
        who, at = self._choice(BOTH), self._choice((*BEFORE_AND_AFTER_SENDING, *ON_RECEIVING))
        sends = (at in BEFORE_AND_AFTER_SENDING) == (who == HOST)
        count = sum(n for (role, _, _), n in self._messages.items() if (role == "host") == sends)
        return self._kill("kill at a message", [(who, KillPoint(at, self._random.randint(1, count)))], may_miss=True)

    def _user_point(self) -> tuple[str, KillPoint]:
        method = self._choice(METHODS)
        own = HOST if method in ("train_a_batch", "test") else self._choice(BOTH)
        return own, KillPoint(method, self._random.randint(1, METHODS[method]))

    def _user_code(self) -> Case:
        return self._kill("kill in user code", [self._user_point()], 1)

    def _checkpoint(self) -> Case:
        point = KillPoint(self._choice(WHILE_WRITING), self._random.randint(1, CHECKPOINTS))
        return self._kill("kill while a checkpoint is written", [(self._choice(BOTH), point)])

    def _both(self) -> Case:
        who, point = self._user_point()
        return self._kill("kill of both at once", [(who, KillPoint(point.at, point.nth, victims=BOTH))], 1)

    def _recovery(self) -> Case:
        who, point = self._user_point()
        second = KillPoint(self._choice((*BEFORE_AND_AFTER_SENDING, *ON_RECEIVING)), self._random.randint(1, 12))
        return self._kill("kill, and again while recovering", [(who, point), (who, second)], 1)

    def _torn(self) -> Case:
        who = self._choice(BOTH)
        case = self._kill("kill, and a torn checkpoint", [(who, KillPoint("iterate_train_feature", self._late()))], 1)
        return replace(case, faults=Faults(case.faults.kills, while_down=self._choice((_flip, _cut_off))))

    def _late(self) -> int:
        return self._random.randint(4, 8)

    def _kill_and_cut(self) -> Case:
        who, point = self._user_point()
        faults = Faults({who: [point]}, {COLLABORATOR: self._breaks((Kind.RST, Kind.FIN), 1)})
        return Case(self._scheme, "kill and cut", faults)

    def _politely(self) -> Case:
        who, point = self._user_point()
        return self._kill("SIGTERM", [(who, KillPoint(point.at, min(point.nth, 4), signal=signal.SIGTERM))], 1)

    def _three_parties(self) -> Case:
        who = self._choice((HOST, COLLABORATOR, "party2"))
        point = KillPoint("iterate_train_feature", self._random.randint(1, 8))
        return self._kill("kill of one of three", [(who, point)], 1, parties=3)

    def _as_users_do(self) -> Case:
        return self._kill("kill in user code, started from nothing", [self._user_point()], 1, is_real=True)

    def _connection(self) -> Case:
        kind = self._choice(
            (Kind.RST, Kind.FIN, Kind.TRUNCATE, Kind.DUPLICATE, Kind.CLOSED, Kind.BLACK_HOLE, Kind.DELAY)
        )
        return Case(self._scheme, f"connection: {kind.value}", Faults(breaks={COLLABORATOR: self._breaks((kind,), 3)}))

    def _breaks(self, kinds: tuple[Kind, ...], count: int) -> list[Break]:
        amounts = {Kind.TRUNCATE: 100.0, Kind.CLOSED: 1.0, Kind.BLACK_HOLE: 1.0, Kind.DELAY: 0.02}
        ways = [self._choice(Way) for _ in range(count)]
        sizes = self._reference.bytes[COLLABORATOR]
        places = sorted(self._random.uniform(0.02, 0.95) for _ in range(count))
        return [
            Break(kind, int(sizes[way] * place), way, amounts.get(kind, 0.0))
            for kind, way, place in zip([self._choice(kinds) for _ in range(count)], ways, places)
        ]


def silences(scheme: str, reference: Outcome) -> Case:
    """A connection on which nothing passes any more and nobody is told: it takes half a minute to be noticed."""
    size = reference.bytes[COLLABORATOR][Way.UP]
    return Case(scheme, "connection: silence", Faults(breaks={COLLABORATOR: [Break(Kind.SILENCE, size // 2)]}))


def _newest(task: Path) -> Path | None:
    return max((task / "checkpoints").glob("checkpoint-*.bin"), key=lambda path: path.stat().st_mtime_ns, default=None)


def _flip(task: Path) -> None:
    if path := _newest(task):
        data = bytearray(path.read_bytes())
        data[len(data) // 3] ^= 4
        path.write_bytes(data)


def _cut_off(task: Path) -> None:
    if path := _newest(task):
        path.write_bytes(path.read_bytes()[:-1])


# Running --------------------------------------------------------------------------------------------------------------


def main() -> None:
    """Run, print, save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--faults", type=int, default=40, help="random faults for each scheme but paillier, which gets 6"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--schemes", nargs="*", default=registered_names())
    parser.add_argument("--no-steps", action="store_true", help="leave out every protocol step in turn")
    parser.add_argument("--only", nargs="*", type=int, help="numbers of the runs to do")
    parser.add_argument("--keep", type=Path, help="keep the files of runs that are not right here")
    parser.add_argument("--json", type=Path, default=RESULTS)
    options = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 160)
    about = machine()
    with tempfile.TemporaryDirectory() as directory:
        references = {scheme: run_faulty(Path(directory) / scheme, scheme) for scheme in options.schemes}
        for scheme, reference in references.items():
            if problems := reference.problems(reference):
                raise SystemExit(f"{scheme}: the uninterrupted run is not right: {problems}")
        cases = _plan(options, references)
        three: dict[str, Outcome] = {}
        rows = []
        for number, case in enumerate(cases):
            if options.only is not None and number not in options.only:
                continue
            if case.parties == 3 and case.scheme not in three:
                three[case.scheme] = run_faulty(Path(directory) / f"{case.scheme}-3", case.scheme, parties=3)
            reference = (three if case.parties == 3 else references)[case.scheme]
            rows.append(_run(number, case, reference, Path(directory) / str(number), options.keep))
            console.print(_line(rows[-1]), highlight=False, markup=False, soft_wrap=True)
    summary = [_summary(rows, scheme) for scheme in (*options.schemes, None)]
    _print(console, rows, summary)
    if options.only is None:
        kept = {"machine": about, "seed": options.seed, "summary": summary, "kinds": _kinds(rows), "runs": rows}
        options.json.write_text(json.dumps(kept, indent=1) + "\n")


def _plan(options: argparse.Namespace, references: dict[str, Outcome]) -> list[Case]:
    cases: list[Case] = []
    for scheme, reference in references.items():
        planner = Planner(scheme, reference, Random(f"{options.seed} {scheme}"))
        is_slow = scheme == "paillier"
        if not options.no_steps and not is_slow:
            cases += planner.every_step()
        cases += planner.at_random(min(6, options.faults) if is_slow else options.faults)
    first = next(iter(references))
    return [*cases, silences(first, references[first])]


def _run(number: int, case: Case, reference: Outcome, directory: Path, keep: Path | None) -> dict[str, Any]:
    outcome = run_faulty(directory, case.scheme, case.faults, parties=case.parties, is_real=case.is_real)
    problems = outcome.problems(reference, case.psi_runs)
    if case.is_at_the_end:
        problems = [problem for problem in problems if "Incomplete: nothing contradicts" not in problem]
    missed = case.may_miss and "the fault did not happen" in problems
    if problems and not missed and keep is not None:
        shutil.copytree(directory, keep / str(number), dirs_exist_ok=True)
    result, expected = outcome.result, reference.result
    row = {
        "number": number,
        "scheme": case.scheme,
        "kind": case.kind,
        "fault": str(case),
        "faults": 0 if missed else case.count,
        "survived": outcome.survived,
        "right": not problems or missed,
        "problems": problems,
        "identical": outcome.is_identical(reference),
        "differences": result.distances(expected) if result and expected else None,
        "audits_hold": outcome.survived and not any(code for code, _ in outcome.audits.values()),
        "psi_runs": outcome.psi_runs,
        "resumes": outcome.resumes,
        "recovery_seconds": outcome.recovery_seconds,
        "start_seconds": outcome.start_seconds,
        "rejoin_seconds": outcome.rejoin_seconds,
        "is_real": case.is_real,
        "seconds": outcome.seconds,
        "errors": outcome.errors,
    }
    shutil.rmtree(directory, ignore_errors=True)
    return row


def _line(row: dict[str, Any]) -> str:
    verdict = "right" if row["right"] else f"WRONG: {'; '.join(row['problems'])}"
    recovery = ", ".join(f"{seconds:.2f}" for seconds in row["recovery_seconds"])
    return (
        f"{row['number']:4} {row['scheme']:8} {row['kind']}: {row['fault']} | recovered in [{recovery}] s | {verdict}"
    )


# Reporting ------------------------------------------------------------------------------------------------------------


def _summary(rows: list[dict[str, Any]], scheme: str | None) -> dict[str, Any]:
    own = [row for row in rows if scheme in (None, row["scheme"])]
    real = [row for row in own if row["is_real"]]
    return {
        "scheme": scheme or "all",
        "runs": len(own),
        "faults": sum(row["faults"] for row in own),
        "survived": sum(row["faults"] for row in own if row["survived"]),
        "right": sum(row["faults"] for row in own if row["right"]),
        "runs_identical": sum(row["identical"] for row in own),
        "runs_audits_hold": sum(row["audits_hold"] for row in own),
        "recovery_seconds": _spread([s for row in own for s in row["recovery_seconds"] if not row["is_real"]]),
        "process_start_seconds": _spread([s for row in real for s in row["start_seconds"]]),
        "rejoin_seconds": _spread([s for row in own for s in row["rejoin_seconds"]]),
        "largest_loss_difference": max((row["differences"][0] for row in own if row["differences"]), default=None),
        "largest_weight_difference": max((row["differences"][1] for row in own if row["differences"]), default=None),
    }


def _kinds(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    kinds = sorted({(row["scheme"], row["kind"]) for row in rows})
    return [{"kind": kind, **_summary([row for row in rows if row["kind"] == kind], scheme)} for scheme, kind in kinds]


def _spread(seconds: list[float]) -> dict[str, float] | None:
    return {"median": median(seconds), "max": max(seconds), "count": len(seconds)} if seconds else None


def _print(console: Console, rows: list[dict[str, Any]], summary: list[dict[str, Any]]) -> None:
    table = Table(title="Faults, and what came of them; seconds are median / max")
    for heading in (
        "scheme",
        "kind",
        "faults",
        "survived",
        "right",
        "identical",
        "audits",
        "recovery",
        "start",
        "rejoin",
    ):
        table.add_column(heading, justify="left" if heading in ("scheme", "kind") else "right", no_wrap=True)
    for line in [*_kinds(rows), *summary]:
        times = [line[name] for name in ("recovery_seconds", "process_start_seconds", "rejoin_seconds")]
        table.add_row(
            line["scheme"],
            line.get("kind", "ALL"),
            *(str(line[name]) for name in ("faults", "survived", "right")),
            *(f"{line[name]} of {line['runs']}" for name in ("runs_identical", "runs_audits_hold")),
            *("-" if each is None else f"{each['median']:.2f} / {each['max']:.2f}" for each in times),
        )
    console.print(table)


if __name__ == "__main__":
    main()
