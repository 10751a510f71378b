"""Products between two parties: what is timed and counted, and that the result is right. In memory, in two threads."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from benchmarks.peers import two_parties
from benchmarks.peers.cases import OURS, TwoPartyPoint
from benchmarks.peers.measurement import Comparison, Contender, Measurement
from benchmarks.peers.ours.two_party_product import FACTOR_BITS, Evaluator, Link, Owner
from benchmarks.peers.show import TABLES
from protocols.he.bfv import BfvBackend
from protocols.he.interface import MatrixShape


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """What both give."""
    with ThreadPoolExecutor(len(calls)) as pool:
        return [each.result() for each in [pool.submit(call) for call in calls]]


def links() -> tuple[Link, Link]:
    first, second = socket.socketpair()
    return Link(first, 0), Link(second, 1)


def test_our_two_parties_compute_the_product(tmp_path: Path) -> None:
    point = TwoPartyPoint("cheetah", (OURS,), 3, 5, 2)
    point.write_inputs(tmp_path)
    request = {**point.parameters(), "directory": str(tmp_path), "sample": dict.fromkeys(("rows", "inner", "columns"))}
    backend, shape = BfvBackend(), MatrixShape(3, 5, 2, FACTOR_BITS)
    (first, second) = links()
    evaluator, owner = Evaluator(request, backend, shape, first), Owner(request, backend, shape, second)
    at_once(evaluator.set_up, owner.set_up)
    at_once(evaluator.prepare, owner.prepare)
    at_once(evaluator.product, owner.product)
    (tmp_path / "result.json").write_text(json.dumps(owner.result()))
    assert point.check(OURS, Measurement.model_construct(), tmp_path) == 0
    assert evaluator.result() == []


def test_messages_keep_their_parts() -> None:
    first, second = links()
    sent = (b"", b"one", bytes(300_000))
    assert at_once(lambda: first.send(*sent), second.receive)[1] == sent


@pytest.mark.parametrize("said", [True, False])
def test_both_do_what_party_0_says(said: bool) -> None:
    first, second = links()
    assert at_once(lambda: first.agree(said), lambda: second.agree(not said)) == [said, said]


def test_a_step_is_repeated_as_often_as_both_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(two_parties, "SETTLE_SECONDS", 0.0)
    counted = iter([1000, 4000])
    monkeypatch.setattr(two_parties, "bytes_sent", lambda: next(counted))
    calls = {"before": 0, "work": 0}

    def call(name: str) -> Callable[[], None]:
        def count() -> None:
            calls[name] += 1

        return count

    steps = two_parties.PartySteps(lambda go_on: go_on)
    steps.measure("product", 3, call("work"), call("before"))
    assert calls == {"before": 3, "work": 3}
    found = steps.answer(result=[1])
    assert found["result"] == [1]
    assert found["steps"]["product"]["sent"] == 1000
    assert len(found["steps"]["product"]["seconds"]) == len(found["steps"]["product"]["cpu_seconds"]) == 3


def test_of_two_parties_the_slower_one_counts_and_processors_and_bytes_add_up() -> None:
    def party(seconds: list[float], cpu: list[float], sent: int) -> dict[str, Any]:
        return {"steps": {"product": {"seconds": seconds, "cpu_seconds": cpu, "sent": sent}}}

    (line,) = two_parties.joined([party([1, 5, 2], [1, 1, 1], 7), party([3, 1, 4], [2, 9, 3], 20)]).lines
    assert (line["name"], line["seconds"], line["cpu_seconds"], line["bytes"]) == ("product", 4, 4, 27)


def test_bytes_are_those_that_the_other_side_has_acknowledged() -> None:
    before = two_parties.bytes_sent()
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as sender,
        listener.accept()[0] as receiver,
    ):
        sender.sendall(bytes(12_345))
        left = 12_345
        while left:
            left -= len(receiver.recv(left))
        receiver.sendall(b"!")
        sender.recv(1)  # an answer acknowledges what came before it
        assert two_parties.bytes_sent() - before >= 12_345


def test_the_table_has_both_ratios() -> None:
    def contender(peer: str, seconds: float, cpu: float) -> Contender:
        step = {"name": "product", "seconds": seconds, "cpu_seconds": cpu, "bytes": 3000}
        fields = {"peer": peer, "variant": "", "versions": {}, "parameters": {}, "peak_mb": {}, "steps": [step]}
        measurements = (Measurement.model_validate(fields),)
        return Contender(peer=peer, variant="", sample="", measurements=measurements, worst_error=0)

    contenders = (contender("ours", 0.002, 0.004), contender("spu", 0.01, 0.012))
    comparison = Comparison(case="cheetah", point="a point", parameters={}, contenders=contenders)
    cells = [list(column.cells) for column in TABLES["cheetah"](comparison).columns]
    assert [row[1] for row in cells[:5]] == ["spu", "10", "5", "12", "3"]
    assert cells[6] == ["3", "3"]
