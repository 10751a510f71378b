"""Real tables, trained on by `secure-hfl table`: beside one process, each party alone, and gradient boosting.

    python -m benchmarks.tables [flights] [diamonds] [penguins] [--schemes bfv plain] [--rounds N] [--json FILE]

Both parties are processes that run the scripts which the command writes. All figures are over the same rows, which
none of them was trained on. Some twenty minutes, most of them for flights.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from benchmarks.step_timings import write_json
from benchmarks.tables import KEY
from benchmarks.tables.boosting import boosted
from benchmarks.tables.cases import CASES, Case
from benchmarks.tables.one_process import OneProcess
from benchmarks.tables.show import markdown
from protocols.task.alignment import OrderedIds
from secure_hfl.bench.machine import machine
from secure_hfl.examples.catalogue import Script
from secure_hfl.local_parties import LocalParties, RunSettings
from secure_hfl.tables import networks
from secure_hfl.tables.inspection import Wishes, inspect
from secure_hfl.tables.rows import TableRows
from secure_hfl.tables.script import TableScript
from secure_hfl.tables.sources import open_source
from secure_hfl.tables.split import split
from secure_hfl.tasks import TaskStore

SEEDS = {"flights": 1, "diamonds": 3, "penguins": 10}
"""Of trainings in one process; their mean and deviation say what chance does."""

Figures = dict[str, float]


class Measured:
    """One case.

    Args:
        case: the task.
        directory: an empty one.
        rounds: of training; None: as the rule has it.
    """

    def __init__(self, case: Case, directory: Path, rounds: int | None) -> None:
        self._case, self._directory = case, directory
        wishes = {"host": Wishes("id", "label", case.label_kind), "collaborator": Wishes("id")}
        self._scripts, self._tables = {}, {}
        for role, wished in wishes.items():
            path = directory / f"{role}.parquet"
            getattr(case, role).to_parquet(path, index=False)
            source = open_source(path)
            found = inspect(source, wished)
            self._tables[role] = TableRows(source, found.spec)
            arguments: dict[str, Any] = {"feature_key": role, "schedule_timeout": 120.0}
            if role == "host":
                self.rounds = rounds or networks.rounds(found.rows)
                arguments |= {"max_rounds": self.rounds, "log_rounds": self.rounds}
            script = TableScript(role, found.spec, str(path), None, arguments).write(directory, overwrite=False)
            self._scripts[role] = _with_one_split(script, role)
        self._common = set(self._tables["host"].ids) & set(self._tables["collaborator"].ids)
        train, test = split(KEY, self._common, self._tables["host"].spec.test_share)
        self._train, self._test = [list(map(str, OrderedIds(part))) for part in (train, test)]

    def together(self, scheme: str) -> dict[str, Any]:
        """Both parties by their scripts."""
        scripts = [Script(self._scripts["host"]), Script(self._scripts["collaborator"])]
        parties = LocalParties(scripts, RunSettings(scheme, rounds=None), self._directory / scheme)
        parties.prepare()
        for _ in parties.run():
            pass
        host = parties.parties[0]
        results = TaskStore(host.home).directory(parties.task_id) / "results" / "tensorboard"
        metrics = host.metrics
        return {
            "figures": _scalars(results),
            "seconds": metrics["seconds"],
            "seconds_a_round": statistics.median(each["train_seconds"] for each in metrics["rounds"]),
            "megabytes": (metrics["bytes_sent"] + metrics["bytes_received"]) / 1e6,
            "peak_rss_mb": {party.name: party.metrics["peak_rss_mb"] for party in parties.parties},
        }

    def in_one_process(self, *roles: str, seeds: int) -> dict[str, Any]:
        """The same networks, over the columns of these parties."""
        return _summary([self._one_run(roles, seed) for seed in range(seeds)])

    def _one_run(self, roles: tuple[str, ...], seed: int) -> Figures:
        tables = [self._tables[role] for role in roles]
        made = OneProcess(KEY, self._train, self._test, self._tables["host"], tables, seed)
        return made.train(self.rounds)

    def boosted(self, *roles: str) -> Figures:
        """Gradient boosting on the columns of these parties."""
        tables = [self._tables[role] for role in roles]
        return boosted(self._tables["host"], tables, self._train, self._test)

    def sizes(self) -> dict[str, int]:
        """Rows and columns."""
        columns = {f"{role}_columns": len(table.spec.columns) for role, table in self._tables.items()}
        held = {f"{role}_rows": len(table.ids) for role, table in self._tables.items()}
        return {**held, **columns, "common": len(self._common), "train": len(self._train), "test": len(self._test)}


def _with_one_split(script: Path, role: str) -> Path:
    """A script, edited: every task tests on the same samples, whatever its id."""
    head = f"class {role.title()}(Table{role.title()}):\n"
    text = script.read_text("utf-8")
    if head not in text:
        raise ValueError(f"{script} does not begin as expected")
    method = "    def split_dataset(self, ids):\n        return split(KEY, ids, self.spec.test_share)\n\n"
    imports = "from benchmarks.tables import KEY\nfrom secure_hfl.tables.split import split\n\n\n"
    script.write_text(text.replace(head, imports + head + method), "utf-8")
    return script


def _scalars(directory: Path) -> Figures:
    """What the last test has written."""
    events = EventAccumulator(str(directory))
    events.Reload()
    prefix = "test_results/"
    tags = [tag for tag in events.Tags()["scalars"] if tag.startswith(prefix)]
    return {tag.removeprefix(prefix): float(events.Scalars(tag)[-1].value) for tag in tags}


def _summary(runs: list[Figures]) -> dict[str, Any]:
    """Mean over seeds, and deviation where there are several."""
    mean = {name: statistics.mean(run[name] for run in runs) for name in runs[0]}
    spread = {name: statistics.stdev(run[name] for run in runs) for name in runs[0]} if len(runs) > 1 else {}
    return {"figures": mean, "deviation": spread, "seeds": len(runs)}


def measure(case: Case, schemes: list[str], rounds: int | None) -> dict[str, Any]:
    """All of a case."""
    with tempfile.TemporaryDirectory(prefix="secure-hfl-tables-") as place:
        measured = Measured(case, Path(place), rounds or case.rounds)
        found: dict[str, Any] = {"predicts": case.predicts}
        found["together"] = {scheme: _said(scheme, lambda s=scheme: measured.together(s)) for scheme in schemes}  # type: ignore[misc]
        seeds = SEEDS[case.name]
        both = "host", "collaborator"
        parts: Mapping[str, Callable[[], Any]] = {
            "one_process": lambda: measured.in_one_process(*both, seeds=seeds),
            "host_alone": lambda: measured.in_one_process("host", seeds=seeds),
            "collaborator_alone": lambda: measured.in_one_process("collaborator", seeds=seeds),
            "boosting": lambda: {"figures": measured.boosted(*both)},
            "boosting_host_alone": lambda: {"figures": measured.boosted("host")},
        }
        found |= {name: _said(name, run) for name, run in parts.items()}
        return {**found, "rounds": measured.rounds, "sizes": measured.sizes()}


def _said(name: str, run: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    start = time.monotonic()
    found = run()
    figures = ", ".join(f"{key} {value:.4f}" for key, value in found["figures"].items())
    print(f"  {name}: {figures} ({time.monotonic() - start:.0f} s)", flush=True)
    return found


def main() -> None:
    """Those that are asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.tables", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"only these of {', '.join(CASES)}")
    parser.add_argument("--schemes", nargs="+", default=["bfv", "plain"], help="default: bfv plain")
    parser.add_argument("--rounds", type=int, help="of training; default: as the rule for tables has it")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    options = parser.parse_args()
    if unknown := set(options.names) - set(CASES):
        parser.error(f"no task {', '.join(sorted(unknown))}")
    about, found = machine(), {}
    for name in options.names or CASES:
        print(name, flush=True)
        found[name] = measure(CASES[name](), options.schemes, options.rounds)
    result = {"tasks": found}
    print(markdown(result))
    if options.json:
        write_json(options.json, parser.prog, about, result)


if __name__ == "__main__":
    main()
