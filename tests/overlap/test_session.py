"""Sessions that count common ids: in two threads of one process, and by the command."""

from __future__ import annotations

import threading
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from benchmarks.harness.limits import TASK, seconds
from benchmarks.harness.parties import Parties
from protocols.overlap import Terms
from secure_hfl.errors import TaskFailed
from secure_hfl.limits import DEFAULT_LIMITS
from secure_hfl.overlap.runs import Overlap, RunCount, results_of
from secure_hfl.overlap.session import OverlapAssignment, OverlapSession
from secure_hfl.run_options import RunOptions
from secure_hfl.schemes import load_scheme
from secure_hfl.transport.channel import Channel
from tests.engine.memory_channel import channel_pair
from tests.engine.memory_parties import COLLABORATOR, HOST, MemoryDoor

IDS = {HOST: [f"id{at}" for at in range(30)], COLLABORATOR: [f"id{at}" for at in range(13, 60)]}


class Sessions:
    """Two parties of a task."""

    def __init__(self, directory: Path) -> None:
        self.parties = Parties(directory)
        self.task = self.parties.new_task(scheme="bfv")

    def assigned(self, name: str) -> OverlapAssignment:
        """A party's part."""
        store = self.parties.store(name)
        record = store.get(self.task)
        own = record.role, record.party, record, store, self.parties.identities[name]
        return OverlapAssignment(*own, load_scheme(record.scheme), RunOptions(), DEFAULT_LIMITS)

    def run(self, terms: dict[str, Terms], most: int = 5) -> dict[str, list[Overlap] | Exception]:
        """Both; what each found, or raised."""
        arrivals: SimpleQueue[Channel] = SimpleQueue()
        ends = channel_pair("bfv", (HOST, COLLABORATOR))
        arrivals.put(ends[0])
        found: dict[str, list[Overlap] | Exception] = {}

        def count(name: str) -> None:
            of, runs = self.assigned(name), RunCount(self.parties.homes[name], name, most)
            way: dict[str, Any] = {"door": MemoryDoor(of, arrivals)} if name == HOST else {"connect": lambda _: ends[1]}
            try:
                found[name] = OverlapSession(of, IDS[name], terms[name], runs, 30, **way).run()
            except TaskFailed as error:
                found[name] = error

        threads = [threading.Thread(target=count, args=(name,), daemon=True) for name in IDS]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(seconds(TASK))
            assert not thread.is_alive(), "a party hangs"
        return found


def test_both_learn_the_number_and_a_peer_has_so_many_runs(tmp_path: Path) -> None:
    sessions, terms = Sessions(tmp_path), dict.fromkeys(IDS, Terms(10, 5))
    for number in (1, 2):
        for name, found in sessions.run(terms, most=2).items():
            assert isinstance(found, list), found
            (one,) = found
            assert (one.common, one.round_to, one.run) == (15, 5, number)
            assert (one.own_ids, one.peer_ids) == ((30, 47) if name == HOST else (47, 30))
            assert Path(one.transcript).exists()
    refused = sessions.run(terms, most=2)
    assert all("max_runs" in str(each) for each in refused.values()), refused
    for name in IDS:
        kept = results_of(sessions.parties.store(name).directory(sessions.task))
        assert [each.run for each in kept] == [1, 2]


@pytest.mark.parametrize(
    ("other", "reason"), [(Terms(10, 4), "--round-to"), (Terms(31, 5), "at least 31 ids, and one has 30")], ids=str
)
def test_terms_that_do_not_fit_are_said_to_both_and_cost_no_run(tmp_path: Path, other: Terms, reason: str) -> None:
    sessions = Sessions(tmp_path)
    refused = sessions.run({HOST: Terms(10, 5), COLLABORATOR: other})
    assert all(reason in str(each) for each in refused.values()), refused
    for name in IDS:
        assert RunCount(sessions.parties.homes[name], name, 5).begin("x", "y") == 1
        assert not results_of(sessions.parties.store(name).directory(sessions.task))


def test_by_the_command_then_shown_and_audited(tmp_path: Path) -> None:
    parties = Parties(tmp_path)
    task = parties.new_task(scheme="bfv")
    (tmp_path / "ids.txt").write_text("\n".join(IDS[HOST]))
    (tmp_path / "lab.csv").write_text("\n".join(["pid,x", *(f"{each},1" for each in IDS[COLLABORATOR])]))
    options = "--round-to", "5", "--min-ids", "20"
    given = {HOST: ("--ids", tmp_path / "ids.txt"), COLLABORATOR: ("--data", tmp_path / "lab.csv", "--id", "pid")}
    ended: dict[str, Any] = {}

    def count(name: str) -> None:
        ended[name] = parties.command(name, "overlap", *given[name], *options)

    threads = [threading.Thread(target=count, args=(name,)) for name in IDS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    transcripts = []
    for name, other in ((HOST, COLLABORATOR), (COLLABORATOR, HOST)):
        assert ended[name].code == 0, ended[name].err
        assert f"at least 15 in common with {other}" in " ".join(ended[name].out.split())
        transcripts.append(parties.homes[name] / "tasks" / task / "overlap" / "transcripts" / f"{other}-1.transcript")
    shown = parties.command(HOST, "task", "show", task)
    assert "at least 15 in common" in " ".join(shown.out.split())
    audit = parties.command(HOST, "audit", *transcripts)
    assert audit.code == 0, audit.out
    said = " ".join(audit.out.split())
    assert "Everything holds" in said
    assert "and not which" in said
    assert "created" in shown.out
