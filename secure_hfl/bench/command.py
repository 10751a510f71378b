"""`secure-hfl bench`."""

from __future__ import annotations

import shlex
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

if TYPE_CHECKING:
    from rich.console import Console

    from secure_hfl.bench.measure import Measurement
    from secure_hfl.bench.model import Benchmark, LinkProfile, Sweep
    from secure_hfl.bench.plan import Request

LISTS = ("--schemes", "--script", "--link", "--sweep")
"""Options that take several values: `--script host.py collaborator.py`. The command has no other arguments."""

_ARGUMENTS = "secure_hfl.bench.arguments"
RUNS, QUICK_RUNS, QUICK_BATCHES = 3, 1, 20


class BenchCommand(TyperCommand):
    """Lets a list's name be said once for all its values, which click cannot; it may be repeated as well."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """`--script a b` is `--script a --script b`."""
        ctx.meta[_ARGUMENTS] = tuple(args)
        return super().parse_args(ctx, spelled_out(args))


def spelled_out(arguments: Sequence[str]) -> list[str]:
    """With a list's name before each of its values."""
    found: list[str] = []
    current, values = "", 0
    for argument in arguments:
        if argument.startswith("-"):
            current, values = (argument, 0) if argument in LISTS else ("", 0)
        elif current:
            values += 1
            if values > 1:
                found.append(current)
        found.append(argument)
    return found


Schemes = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME...", help="plain, masked, bfv, paillier, or all. Default: all but the slow paillier."),
]
Task = Annotated[str | None, typer.Option(metavar="NAME", help="mnist_halves, breast_cancer, digits or mnist_strips.")]
Script = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="HOST COLLABORATOR...",
        exists=True,
        dir_okay=False,
        readable=True,
        help="Your own scripts, not a task. Of several collaborators, each file is called KEY.py, by its feature_key.",
    ),
]
Rounds = Annotated[int, typer.Option(min=1, help="Rounds of training in a run.")]
Runs = Annotated[
    int | None, typer.Option(min=1, help="Runs of each scheme, taking turns; default 3, with --quick 1. Sweeps: one.")
]
Batches = Annotated[int | None, typer.Option(min=1, help="At most so many batches a round, everywhere.")]
Seed = Annotated[int, typer.Option(min=0, help="Of all runs, so that they compute the same. NOT SECRET.")]
Links = Annotated[
    list[str] | None, typer.Option("--link", metavar="MBIT/MS...", help="Measure over such a network too: 100/20.")
]
Sweeps = Annotated[
    list[str] | None, typer.Option("--sweep", metavar="NAME...", help="rounds, width, batch, collaborators or link.")
]
IsAll = Annotated[bool, typer.Option("--all", help="Every sweep and every scheme: about half an hour.")]
IsQuick = Annotated[bool, typer.Option("--quick", help=f"One run of {QUICK_BATCHES} batches.")]
IsWhole = Annotated[bool, typer.Option("--whole", help="Whole epochs, also of paillier.")]
HasReference = Annotated[
    bool, typer.Option("--plain-projection/--no-plain-projection", help="With plain that has the projection layer too.")
]
HasOneProcess = Annotated[
    bool, typer.Option("--one-process/--no-one-process", help="With the tutorial's models in one process.")
]
Read = Annotated[
    Path | None,
    typer.Option(exists=True, dir_okay=False, metavar="FILE", help="Show what --json wrote; measure nothing."),
]
Attacks = Annotated[
    Path | None,
    typer.Option(exists=True, dir_okay=False, metavar="FILE", help="What `python -m benchmarks.privacy` wrote."),
]
JsonFile = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write all figures here.")]
HtmlFile = Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write a report with plots here.")]


def bench(
    context: typer.Context,
    schemes: Schemes = None,
    task: Task = None,
    script: Script = None,
    rounds: Rounds = 1,
    runs: Runs = None,
    batches: Batches = None,
    seed: Seed = 7,
    link: Links = None,
    sweep: Sweeps = None,
    is_all: IsAll = False,
    is_quick: IsQuick = False,
    is_whole: IsWhole = False,
    plain_projection: HasReference = True,
    one_process: HasOneProcess = True,
    read: Read = None,
    attacks: Attacks = None,
    json_file: JsonFile = None,
    html_file: HtmlFile = None,
) -> None:
    """Measure what privacy costs on this machine.

    Every scheme trains the same task, in real processes, taking turns. Shows times, bytes, memory, accuracy, and which
    scheme to take for which network. Takes two to three minutes on two cores.
    """
    from secure_hfl.cli.output import console

    out = console()
    check_outputs(json_file, html_file)
    found_attacks = None if attacks is None else read_attacks(attacks)
    if read is not None:
        benchmark = again(read_benchmark(read))
    else:
        limit = batches or (QUICK_BATCHES if is_quick else None)
        request = _request(schemes, task, script, limit, link, sweep, is_all, is_whole, plain_projection, one_process)
        command = shlex.join(["secure-hfl", "bench", *context.meta.get(_ARGUMENTS, ())])
        times = runs or (QUICK_RUNS if is_quick else RUNS)
        benchmark = _measure(out, request, rounds, times, seed, command, json_file)
    if found_attacks is not None:
        benchmark = benchmark.model_copy(update={"attacks": found_attacks})
    _show(out, benchmark, json_file, html_file)


def _show(out: Console, benchmark: Benchmark, json_file: Path | None, html_file: Path | None) -> None:
    """On the terminal, and in the files that were asked for."""
    from secure_hfl.bench.terminal_tables import print_benchmark

    print_benchmark(out, benchmark)
    if json_file is not None:
        write_json(benchmark, json_file)
        out.print(f"Figures: {json_file}", soft_wrap=True)
    if html_file is not None:
        from secure_hfl.bench.report.page import write_report

        write_report(benchmark, html_file)
        out.print(f"Report: {html_file}", soft_wrap=True)


def _request(
    schemes: list[str] | None,
    task: str | None,
    scripts: list[Path] | None,
    batches: int | None,
    links: list[str] | None,
    sweeps: list[str] | None,
    is_all: bool,
    is_whole: bool,
    has_reference: bool,
    has_one_process: bool,
) -> Request:
    from secure_hfl.bench.plan import ALL, DEFAULT_SCHEMES, SWEEPS, TUTORIAL, Request
    from secure_hfl.errors import ConfigurationError

    if scripts and task:
        raise ConfigurationError("--task and --script exclude each other")
    return Request(
        schemes=tuple(schemes or ((ALL,) if is_all else DEFAULT_SCHEMES)),
        task=task or TUTORIAL,
        scripts=tuple(scripts or ()),
        batches=batches,
        links=tuple(parse_link(each) for each in links or []),
        sweeps=SWEEPS if is_all else tuple(_sweep(each) for each in sweeps or []),
        has_reference=has_reference,
        has_one_process=has_one_process,
        is_whole=is_whole,
    )


def _measure(
    out: Console, request: Request, rounds: int, runs: int, seed: int, command: str, json_file: Path | None
) -> Benchmark:
    """Measure. What is interrupted or fails on the way keeps its figures, if they were to be written."""
    from secure_hfl.bench.machine import machine
    from secure_hfl.bench.measure import Measurement, scratch_directory
    from secure_hfl.bench.plan import make_plan
    from secure_hfl.bench.run_progress import RunProgress

    plan = make_plan(request)
    measurement = Measurement(plan, rounds, seed)
    about = machine()  # before anything is measured, or the load is our own
    done = 0
    try:
        with _ended_by_sigterm(), scratch_directory() as directory, RunProgress(out, plan.measurements(runs)) as live:
            for done in range(runs):
                live.begin_run(done + 1, runs)
                for job, result in measurement.run(directory, live.heard, live.begin):
                    live.take(job, result)
            done = runs
    finally:
        if done < runs and json_file is not None:
            _save_unfinished(out, measurement, request, done + 1, command, about, json_file)
    return assemble(measurement, request, runs, command, about)


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """As by Ctrl-C, so that no party outlives the benchmark."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _save_unfinished(
    out: Console,
    measurement: Measurement,
    request: Request,
    runs: int,
    command: str,
    about: dict[str, Any],
    json_file: Path,
) -> None:
    benchmark = assemble(measurement, request, runs, command, about)
    if benchmark.cases:
        note = "This benchmark ended before it was finished."
        write_json(benchmark.model_copy(update={"notes": (*benchmark.notes, note)}), json_file)
        out.print(f"Figures so far: {json_file}", soft_wrap=True)


def assemble(measurement: Measurement, request: Request, runs: int, command: str, about: dict[str, Any]) -> Benchmark:
    """All that was found, with recommendations. `about`: the machine, as it was before."""
    from datetime import datetime, timezone

    from secure_hfl.bench.model import LINKS, Benchmark, hides_features
    from secure_hfl.bench.recommend import recommend
    from secure_hfl.schemes import load_scheme

    cases = tuple(measurement.cases())
    links = dict.fromkeys((LINKS[0], *(request.links or LINKS), *(LINKS if "link" in request.sweeps else ())))
    agreed = {
        name: load_scheme(name).parameters()
        for name in dict.fromkeys(case.scheme for case in cases)
        if hides_features(name)
    }
    return Benchmark(
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        command=command,
        machine=about,
        parameters=agreed,
        seed=measurement.seed,
        runs=runs,
        rounds=measurement.rounds,
        cases=cases,
        recommendations=recommend(cases, links, measurement.plan.epoch_batches),
        notes=measurement.notes(),
    )


def check_outputs(json_file: Path | None, html_file: Path | None) -> None:
    """Before anything is measured: can the results be written?

    Raises:
        ConfigurationError: a directory is missing or not ours to write, or a package that the report needs.
    """
    from secure_hfl.files import check_writable

    check_writable(json_file, html_file)
    if html_file is not None:
        from secure_hfl.bench.report.svg import require_matplotlib

        require_matplotlib()


def read_benchmark(path: Path) -> Benchmark:
    """What `--json` wrote."""
    from pydantic import ValidationError

    from secure_hfl.bench.model import Benchmark
    from secure_hfl.errors import ConfigurationError

    try:
        return Benchmark.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ConfigurationError(f"{path} is not a benchmark's JSON: {place or 'the file'}: {first['msg']}") from None


def again(benchmark: Benchmark) -> Benchmark:
    """With the recommendations that this version makes of the figures."""
    from secure_hfl.bench.recommend import recommend

    batches = max((each.batches for case in benchmark.of("schemes") for each in case.rounds), default=None)
    links = [each.link for each in benchmark.recommendations]
    return benchmark.model_copy(update={"recommendations": recommend(benchmark.cases, links, batches)})


def read_attacks(path: Path) -> dict[str, Any]:
    """The scores of the attacks."""
    import json

    from secure_hfl.errors import ConfigurationError

    found = None
    with suppress(ValueError):
        found = json.loads(path.read_bytes())
    if not isinstance(found, dict):
        raise ConfigurationError(f"{path} is not the JSON that `python -m benchmarks.privacy` writes")
    return found


def write_json(benchmark: Benchmark, path: Path) -> None:
    """For programs, and for `--read`."""
    path.write_text(benchmark.model_dump_json(indent=1) + "\n")


def parse_link(text: str) -> LinkProfile:
    """ "100/20" is 100 Mbit/s with a round trip of 20 ms; one of `LINKS` if it is one.

    Raises:
        ConfigurationError: not such a pair of numbers.
    """
    from secure_hfl.bench.model import LINKS, LinkProfile
    from secure_hfl.errors import ConfigurationError

    numbers = []
    with suppress(ValueError):
        numbers = [float(part) for part in text.split("/")]
    if len(numbers) != 2 or not (0 < numbers[0] <= 1e6 and 0 <= numbers[1] <= 1e4):
        raise ConfigurationError(f"--link {text}: write Mbit/s and milliseconds of a round trip, such as 100/20")
    megabits, milliseconds = numbers
    known = {(each.megabits, each.round_trip_milliseconds): each for each in LINKS}
    name = f"{megabits:g} Mbit, {milliseconds:g} ms"
    made = LinkProfile(name=name, megabits=megabits, round_trip_milliseconds=milliseconds)
    return known.get((megabits, milliseconds), made)


def _sweep(name: str) -> Sweep:
    from secure_hfl.bench.plan import SWEEPS
    from secure_hfl.errors import ConfigurationError

    for each in SWEEPS:
        if each == name:
            return each
    raise ConfigurationError(f"--sweep {name}: choose from {', '.join(SWEEPS)}")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("bench", cls=BenchCommand)(bench)
