"""`secure-hfl bench` as a user runs it, with real parties where that is the point."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from benchmarks.harness.parties import SCRIPTS
from secure_hfl.bench.command import parse_link, spelled_out
from secure_hfl.bench.measure import FROZEN, Measurement, one_process
from secure_hfl.bench.model import LINKS, Benchmark, Point, Sample
from secure_hfl.bench.numbers import parity
from secure_hfl.bench.plan import Job, Plan
from secure_hfl.cli.app import app
from secure_hfl.errors import ConfigurationError
from secure_hfl.examples.catalogue import Script, mnist_halves
from tests.bench.made_up import benchmark, case, sample
from tests.cli.helpers import ROOT, fails

Bench = Callable[..., subprocess.CompletedProcess[str]]
BenchHere = Callable[..., Result]


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "secure_hfl", "bench", *arguments]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Temporary files in a place of their own, so that a test sees what is left of them."""
    (tmp_path / "temporary").mkdir()
    return {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path / "temporary")}


@pytest.fixture
def bench(tmp_path: Path, environment: dict[str, str]) -> Bench:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command(*arguments), cwd=tmp_path, env=environment, capture_output=True, text=True)

    return run


@pytest.fixture
def bench_here(tmp_path: Path, forked: None, monkeypatch: pytest.MonkeyPatch) -> BenchHere:
    """The command in this process, with forked parties."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(app, ["bench", *arguments])


def left_behind(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "temporary").glob("secure-hfl-bench-*"))


# Real runs -----------------------------------------------------------------------------------------------------------


def test_real_parties_are_measured_and_everything_is_written_down(tmp_path: Path, bench_here: BenchHere):
    asked = ["--schemes", "masked", "--task", "breast_cancer", "--runs", "1", "--batches", "2", "--json", "bench.json"]
    done = bench_here(*asked)
    assert done.exit_code == 0, done.stderr
    assert "loopback: masked" in done.stdout
    found = Benchmark.model_validate_json((tmp_path / "bench.json").read_bytes())
    assert found.command == f"secure-hfl bench {' '.join(asked)}"
    assert [(each.scheme, each.batches) for each in found.cases] == [("plain + projection", 2), ("masked", 2)]
    assert list(found.parameters) == ["masked"]
    assert found.machine["cores"] >= 1
    for each in found.cases:
        (run,) = each.samples
        (epoch,) = run.rounds
        assert len(run.batch_losses) == len(epoch.batch_seconds) == epoch.batches == 2
        assert 0 < epoch.bytes < epoch.bytes_sent + epoch.bytes_received  # the test's are left out
        assert epoch.round_trips_per_batch >= 1
        assert sum(epoch.work["host"].values()) == pytest.approx(epoch.train_seconds, rel=0.05)
        assert set(run.peak_mb) == set(epoch.work) == {"host", "collaborator"}
        assert epoch.accuracy is not None
        assert run.psi_seconds > 0
    reference, masked = found.cases
    assert reference.offline_bytes == 0
    assert masked.offline_bytes > 0
    assert masked.offline_seconds > 0
    differs = parity(masked, reference)
    assert differs is not None
    assert 0 < differs < 1e-3  # the smoothing noise
    assert not left_behind(tmp_path)


def test_own_scripts_are_measured_like_a_task_also_over_a_link(tmp_path: Path, bench_here: BenchHere):
    scripts = [str(script.path) for script in mnist_halves().scripts]
    done = bench_here(
        *("--script", *scripts, "--schemes", "plain", "--runs", "1", "--batches", "3", "--json", "own.json"),
        *("--link", "1000/200"),
    )
    assert done.exit_code == 0, done.stderr
    here, over = Benchmark.model_validate_json((tmp_path / "own.json").read_bytes()).cases
    assert (here.scheme, here.point.task, here.point.collaborators) == ("plain", "script", 1)
    assert here.samples[0].rounds[0].batches == 3
    assert (over.sweep, over.point.link.name) == ("link", "1000 Mbit, 200 ms")
    assert over.batch_seconds > 0.2  # a round trip each


def test_the_baseline_in_one_process_reports_the_same_figures(tmp_path: Path):
    found = one_process(1, 7, 2, {"SECURE_HFL_DATA": str(tmp_path)})
    assert len(found.batch_losses) == found.rounds[0].batches == len(found.rounds[0].batch_seconds) == 2
    assert found.rounds[0].bytes == 0


def test_a_shape_that_a_scheme_refuses_is_a_case_with_the_reason_and_run_once(tmp_path: Path, forked: None):
    too_wide = {"parties": 2, "arguments": {"max_rounds": 1, "log_rounds": 1, "projection": 5000}}
    parties = ({**too_wide, "index": 0}, {"index": 1})
    # Their operators let it be: it is the scheme that cannot.
    environments = [{"TINY_CASE": json.dumps(each), "SECURE_HFL_LIMITS": "width=8192"} for each in parties]
    scripts = tuple(Script(SCRIPTS / "tiny_party.py", each) for each in environments)
    point = Point(task="script", features=4, projection=5000)
    measurement = Measurement(Plan((Job("bfv", point, 1, scripts, ("width",)),), (), None), 1, 7)
    (first,) = measurement.run(tmp_path, lambda *_: None, lambda _: None)
    assert first[1] == "a projection of 5000 outputs is too wide for the ring"
    assert not list(measurement.run(tmp_path, lambda *_: None, lambda _: None))
    (found,) = measurement.cases()
    assert (found.sweep, found.refused, found.samples) == ("width", first[1], ())
    assert not (tmp_path / "run").exists()


def test_rounds_that_follow_each_other_without_a_test_are_told_apart(tmp_path: Path, forked: None):
    scripts = tuple(Script(SCRIPTS / "tiny_party.py", {"TINY_CASE": f'{{"index": {index}}}'}) for index in range(2))
    job = Job("plain", Point(task="script"), None, scripts, ("schemes",))
    phases = []

    def listen(name: str, event: dict[str, Any]) -> None:
        if name == "host" and event["event"] == "phase":
            phases.append((event["phase"], event["round"]))

    ((_, found),) = Measurement(Plan((job,), (), None), 2, 7).run(tmp_path, listen, lambda _: None)
    assert isinstance(found, Sample)
    assert phases[-3:] == [("train", 1), ("train", 2), ("finish", 0)]
    assert [(len(each.batch_seconds), each.test_seconds) for each in found.rounds] == [(2, None), (2, None)]


def test_later_rounds_of_a_frozen_model_cost_less_and_the_reader_is_told(tmp_path: Path, forked: None):
    frozen = {"index": 1, "arguments": {"is_feature_trainable": False}}
    environments = [{"TINY_CASE": json.dumps(each)} for each in ({"index": 0}, frozen)]
    scripts = tuple(Script(SCRIPTS / "tiny_party.py", each) for each in environments)
    job = Job("bfv", Point(task="script"), None, scripts, ("schemes",))
    measurement = Measurement(Plan((job,), ("what was planned",), None), 2, 7)
    assert measurement.notes() == ("what was planned",)
    ((_, found),) = measurement.run(tmp_path, lambda *_: None, lambda _: None)
    assert isinstance(found, Sample)
    first, second = found.rounds
    assert second.train_bytes < first.train_bytes / 10
    assert measurement.notes() == ("what was planned", FROZEN)


def test_a_party_that_fails_is_named_with_its_reason_and_its_output_is_kept(tmp_path: Path, bench_here: BenchHere):
    (tmp_path / "host.py").write_text("raise ValueError('no such column')\n")
    (tmp_path / "other.py").write_text("raise SystemExit(0)\n")
    done = bench_here("--script", "host.py", "other.py", "--schemes", "masked", "--runs", "1", "--json", "own.json")
    assert done.exit_code == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: plain + projection, host: ")
    assert "ValueError: no such column" in line
    (kept,) = left_behind(tmp_path)
    output = kept / "run" / "host" / "output.txt"
    assert str(output) in line
    assert "no such column" in output.read_text()
    assert not (tmp_path / "own.json").exists()  # nothing was measured


def test_the_load_is_the_one_before_anything_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    seen = []

    def load() -> tuple[float, float, float]:
        seen.append("load")
        return 0.25, 0.0, 0.0

    def scratch(**_: str) -> str:
        seen.append("measuring")
        raise OSError("no room")

    monkeypatch.setattr(os, "getloadavg", load)
    monkeypatch.setattr(tempfile, "mkdtemp", scratch)
    CliRunner().invoke(app, ["bench", "--schemes", "plain", "--json", str(tmp_path / "bench.json")])
    assert seen == ["load", "measuring"]


def test_ctrl_c_stops_the_parties_and_leaves_nothing(tmp_path: Path, environment: dict[str, str]):
    os.mkfifo(tmp_path / "started")
    waits = "import os, time\nwith open('started', 'w') as pipe: pipe.write(str(os.getpid()))\ntime.sleep(600)\n"
    (tmp_path / "host.py").write_text(waits)
    (tmp_path / "other.py").write_text("import time\ntime.sleep(600)\n")
    arguments = command("--script", "host.py", "other.py", "--schemes", "plain")
    with subprocess.Popen(arguments, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True) as process:
        party = int((tmp_path / "started").read_text())
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate()
    assert (process.returncode, errors) == (130, "error: interrupted\n")
    with pytest.raises(ProcessLookupError):
        os.kill(party, 0)
    assert not left_behind(tmp_path)


# Arguments -----------------------------------------------------------------------------------------------------------


def test_a_list_may_follow_its_option():
    assert spelled_out(["--script", "a", "b", "c"]) == ["--script", "a", "--script", "b", "--script", "c"]


def test_a_list_ends_with_the_next_option():
    said = ["--schemes", "plain", "bfv", "--link", "1/2", "3/4", "--json", "c"]
    meant = ["--schemes", "plain", "--schemes", "bfv", "--link", "1/2", "--link", "3/4", "--json", "c"]
    assert spelled_out(said) == meant


@pytest.mark.parametrize(
    "arguments", [["--script", "a", "--script", "b"], ["--script=a", "--quick"], ["--runs", "2"]], ids=" ".join
)
def test_what_click_understands_stays_as_it_is(arguments: list[str]):
    assert spelled_out(arguments) == arguments


def test_links_are_a_rate_and_a_round_trip():
    assert parse_link("100/20") is LINKS[2]
    own = parse_link("2.5/0")
    assert (own.name, own.megabits, own.round_trip_milliseconds) == ("2.5 Mbit, 0 ms", 2.5, 0.0)
    for wrong in ("100", "100/20/1", "fast/20", "0/20", "100/-1", "nan/1"):
        with pytest.raises(ConfigurationError, match="such as 100/20"):
            parse_link(wrong)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--schemes", "rot13"), "no scheme 'rot13'"),
        (("--task", "iris"), "no example 'iris'"),
        (("--sweep", "depth"), "choose from rounds, width, batch, collaborators, link"),
        (("--link", "fast"), "such as 100/20"),
        (("--json", "no/such/directory.json"), "in a directory that exists"),
        (("--read", "broken.json"), "broken.json is not a benchmark's JSON"),
        (("--attacks", "broken.json"), "is not the JSON that `python -m benchmarks.privacy` writes"),
        (("--script", "broken.json", "--task", "digits"), "exclude each other"),
        (("--script", "broken.json"), "the host's script, and one or more"),
    ],
)
def test_wrong_arguments_are_said_in_one_line_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], reason: str
):
    monkeypatch.chdir(tmp_path)
    Path("broken.json").write_text("[")
    fails(CliRunner().invoke(app, ["bench", *arguments]), reason)


def test_a_report_without_matplotlib_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    fails(CliRunner().invoke(app, ["bench", "--html", str(tmp_path / "a.html")]), "pip install 'secure-hfl[bench]'")


def test_figures_are_shown_again_with_the_attacks_and_without_measuring(tmp_path: Path):
    kept, attacks, again = (tmp_path / name for name in ("bench.json", "privacy.json", "again.json"))
    kept.write_text(benchmark(case("plain", sample(1.0)), case("masked", sample(2.0))).model_dump_json())
    attacks.write_text('{"labels": [1]}')
    arguments = ["bench", "--read", str(kept), "--attacks", str(attacks), "--json", str(again)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert "times plain" in done.stdout
    assert Benchmark.model_validate_json(again.read_bytes()).attacks == {"labels": [1]}
