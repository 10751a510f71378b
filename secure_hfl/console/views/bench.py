"""What privacy costs on this machine: measured by a process that goes on whatever becomes of the console."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from protocols.core.sentence import say
from secure_hfl.bench.model import PLAIN, Benchmark
from secure_hfl.bench.numbers import against, measured, of_scheme, seconds, size, times
from secure_hfl.console.context import context_of
from secure_hfl.console.forms import form_of, text_in
from secure_hfl.console.page import render
from secure_hfl.errors import ConfigurationError
from secure_hfl.supervision.benchmark_run import BenchmarkRun

_STYLE = re.compile(rb"style-src ('sha256-[A-Za-z0-9+/=]{44}')")
_HEAD = 2000
NOTHING = "-"


def bench(request: Request) -> Response:
    """What runs, or what the last one has found."""
    run = BenchmarkRun(context_of(request).home)
    last, found = run.process.last(), run.found()
    is_running = run.process.is_alive()
    return render(
        request,
        "bench.html.j2",
        last=last,
        is_running=is_running,
        lines=run.lines(),
        problem=run.process.last_line() if last is not None and not is_running and found is None else "",
        found=found,
        rows=list(_rows(found)) if found is not None else [],
        has_report=run.report.is_file(),
    )


def start(request: Request) -> Response:
    """Measure."""
    BenchmarkRun(context_of(request).home).start(is_quick=text_in(form_of(request), "extent") != "whole")
    return RedirectResponse("/bench", 303)


def stop(request: Request) -> Response:
    """End what is being measured."""
    BenchmarkRun(context_of(request).home).stop()
    return RedirectResponse("/bench", 303)


def report(request: Request) -> Response:
    """The report, a page of its own. Its one style sheet is allowed by its digest, and nothing else is."""
    path = BenchmarkRun(context_of(request).home).report
    page = _read(path)
    style = _STYLE.search(page[:_HEAD])
    allowed = style[1].decode() if style else "'none'"
    policy = f"default-src 'none'; style-src {allowed}; img-src data:; base-uri 'none'; form-action 'none'"
    return HTMLResponse(page, headers={"Content-Security-Policy": f"{policy}; frame-ancestors 'none'; sandbox"})


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            say("{path}: {error}; measure first, on the page before", path=path, error=error.strerror)
        ) from error


def _rows(found: Benchmark) -> Iterator[tuple[str, ...]]:
    """Of each scheme: name, what it is called in the words, a batch, times plain, bytes a batch."""
    cases = found.of("schemes")
    plain = of_scheme(cases, PLAIN)
    for case in measured(cases):
        ratio = None if plain is None else against(case, plain)
        yield (
            case.scheme,
            re.sub(r"\W+", "_", case.scheme),
            seconds(case.batch_seconds),
            NOTHING if ratio is None else times(ratio),
            size(case.bytes_per_batch) if case.bytes_per_batch else NOTHING,
        )


routes = [
    Route("/bench", bench, name="bench"),
    Route("/bench", start, methods=["POST"]),
    Route("/bench/stop", stop, methods=["POST"]),
    Route("/bench/report", report),
]
