"""The peak of a process's memory: its own, and not that of the process that started it. Metrics in checkpoints."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from secure_hfl import metrics
from secure_hfl.checkpoints.tree import pack, unpack
from secure_hfl.metrics import RoundMetrics, RunMetrics, from_tree, kept_in_tree, peak_rss_mb, peak_rss_mb_of

ROOT = Path(__file__).parent.parent
PEAK = "from secure_hfl.metrics import peak_rss_mb"


def printed(program: str) -> list[float]:
    """What it prints, in a process of its own."""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, text=True)
    return [float(word) for word in done.stdout.split()]


def test_a_process_has_not_the_peak_of_the_one_before_exec() -> None:
    small = f"{PEAK}; print(peak_rss_mb())"
    large = f"import os, sys; held = b'x' * 500_000_000; os.execv(sys.executable, [sys.executable, '-c', {small!r}])"
    (found,) = printed(large)
    assert 5 < found < 300


def test_it_grows_by_what_is_held_in_millions_of_bytes_and_does_not_shrink() -> None:
    program = f"{PEAK}; a = b'x' * 100_000_000; one = peak_rss_mb(); b = b'x' * 400_000_000; two = peak_rss_mb()"
    before, after, at_last = printed(f"{program}; del b; print(one, two, peak_rss_mb())")
    assert after - before == pytest.approx(400, abs=4)
    assert at_last == pytest.approx(after, abs=1)


def test_a_process_without_a_peak_has_none(tmp_path: Path) -> None:
    assert peak_rss_mb_of(tmp_path) is None
    (tmp_path / "status").write_bytes(b"Name:\t\xff VmHWM: 7 kB\nState:\tZ (zombie)\n")
    assert peak_rss_mb_of(tmp_path) is None
    (tmp_path / "status").write_bytes(b"Name:\t\xff\nVmPeak:\t  4000 kB\nVmHWM:\t    2000 kB\n")
    assert peak_rss_mb_of(tmp_path) == 2.048


def test_without_proc_the_system_is_asked_in_its_own_unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "_OWN", tmp_path)
    monkeypatch.setattr(sys, "platform", "linux")
    kibibytes = peak_rss_mb()
    monkeypatch.setattr(sys, "platform", "darwin")
    assert kibibytes == pytest.approx(1024 * peak_rss_mb(), rel=0.05)
    assert kibibytes > 5


def test_what_a_checkpoint_keeps_comes_back() -> None:
    of_run = RunMetrics(party="bank", role="host", scheme="plain", batch_losses=[0.1, float("nan"), 3.0])
    done = RoundMetrics(round=1, batches=3, average_loss=float("inf"), work={"top": 0.25})
    of_run.rounds.append(done)
    of_run.scalars["test_results/accuracy"] = [(1, 0.5)]
    tree = unpack(pack(kept_in_tree(of_run)))
    back = from_tree(tree)
    assert np.isnan(back.batch_losses[1])
    assert repr(back) == repr(of_run)
    assert repr(from_tree(of_run.model_dump())) == repr(of_run), "as earlier versions kept them"


def test_what_results_keep_comes_back() -> None:
    """JSON has no NaN: a loss that was none is null there."""
    of_run = RunMetrics(party="bank", role="host", scheme="plain", batch_losses=[0.1, float("nan")])
    of_run.scalars["test_results/average_loss"] = [(1, float("nan"))]
    assert repr(RunMetrics.model_validate_json(of_run.model_dump_json())) == repr(of_run)


def test_its_leaves_do_not_grow_with_the_run() -> None:
    of_run = RunMetrics(party="bank", role="host", scheme="plain", batch_losses=[0.5] * 1000)
    of_run.rounds += [RoundMetrics(round=number, batches=10) for number in range(1, 101)]
    assert len(kept_in_tree(of_run)) == 2
