"""A real run of scheme bfv in two processes, opened by both parties and judged through the command line."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from benchmarks.harness.parties import Ended, Parties

ROUNDS = 3


class Opened:
    """The run, and both parties' openings of its last round."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.parties = directory, Parties(directory)
        self.task = self.parties.new_task(scheme="bfv")
        running = {
            name: self.parties.start(name, "tiny_party.py", "--keep-for-judge", *options)
            for name, options in (("party0", ["--rounds", str(ROUNDS)]), ("party1", []))
        }
        self.codes = [each.ended().code for each in running.values()]

    def home(self, name: str) -> Path:
        return self.parties.homes[name] / "tasks" / self.task

    def transcript(self, name: str) -> Path:
        (path,) = (self.home(name) / "transcripts").iterdir()
        return path

    def command(self, name: str, *arguments: object) -> Ended:
        return self.parties.command(name, *arguments)

    def opening(self, name: str, number: int = ROUNDS) -> Path:
        path = self.directory / f"{name}-{number}.opening"
        if not path.exists():
            done = self.command(name, "task", "open-round", self.task, "--round", number, "-o", path)
            assert done.code == 0, done.err
            assert "SECRET" in done.out
            assert "never to the other side" in done.out
        return path


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Opened:
    run = Opened(tmp_path_factory.mktemp("judged"))
    assert run.codes == [0, 0]
    return run


def test_the_last_round_and_the_set_up_are_kept_for_the_owner_only(opened: Opened) -> None:
    for name in ("party0", "party1"):
        (directory,) = (opened.home(name) / "kept").iterdir()
        assert directory.name == opened.transcript(name).stem
        assert {path.name for path in directory.iterdir()} == {"0.kept", f"{ROUNDS}.kept"}  # the last has closed
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        assert {stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()} == {0o600}


def test_an_honest_round_is_judged_from_files_alone(opened: Opened, tmp_path: Path) -> None:
    openings = [opened.opening(name) for name in ("party0", "party1")]
    assert {stat.S_IMODE(path.stat().st_mode) for path in openings} == {0o600}
    fingerprints = [each.fingerprint for each in opened.parties.identities.values()]
    trusted = [option for fingerprint in fingerprints for option in ("--fingerprint", fingerprint)]
    report = tmp_path / "report.json"
    done = opened.command(
        "party1",
        *("audit", opened.transcript("party0"), "--judge", openings[0], "--judge", openings[1], *trusted),
        *("--json", report),
    )
    assert done.code == 0, done.out + done.err
    assert "as it should be" in done.out
    said = json.loads(report.read_text())
    assert said["convicted"] == []
    assert {"Projection", "WeightGradient", "HostShare"} <= {each["message"] for each in said["verdicts"]}


def test_one_opening_leaves_the_other_side_undecided(opened: Opened) -> None:
    done = opened.command("party0", "audit", opened.transcript("party0"), "--judge", opened.opening("party0"))
    assert done.code == 1
    assert "party1 has not opened the round" in done.out
    assert "cheated" not in done.out


def test_a_changed_opening_convicts_nobody(opened: Opened, tmp_path: Path) -> None:
    data = bytearray(opened.opening("party1").read_bytes())
    data[len(data) // 2] ^= 1
    changed = tmp_path / "changed.opening"
    changed.write_bytes(data)
    arguments = ("--judge", opened.opening("party0"), "--judge", changed)
    done = opened.command("party0", "audit", opened.transcript("party0"), *arguments)
    assert done.code == 1
    assert "is refused" in done.out + done.err
    assert "cheated" not in done.out


def test_a_round_that_was_not_kept_says_which_were(opened: Opened, tmp_path: Path) -> None:
    done = opened.command("party0", "task", "open-round", opened.task, "--round", 1, "-o", tmp_path / "x")
    assert done.code == 1
    assert f"{ROUNDS}" in done.err
    assert not (tmp_path / "x").exists()


def test_rounds_of_other_schemes_cannot_be_kept(tmp_path: Path) -> None:
    parties = Parties(tmp_path)
    parties.new_task()
    done = parties.start("party0", "tiny_party.py", "--keep-for-judge").ended()
    assert done.code == 1
    assert "bfv and paillier can be judged" in done.err
