"""A peer that wants this party to run out of time or memory: without limits it gets what it asks for, else an error.

Each attack runs against a party whose limits are taken away, which is what there was, and against the defaults.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.harness.pump import pump
from protocols.core.errors import LimitExceeded
from protocols.core.randomness import OsRandomness
from protocols.he.parameters import TRIPLES
from protocols.layer.interface import STOCK_BYTES, UNITS_AT_ONCE, LayerSpec
from protocols.psi import MAX_IDS, PsiSender, hash_ids
from protocols.psi.messages import PsiOpen
from protocols.schemes.masked.pool import CollaboratorTriples, HostTriples, most_unused
from protocols.schemes.masked.triples import TEST, TRAIN, TripleShapes
from secure_hfl.limits import DEFAULT_LIMITS, OperatorLimits
from tests.protocols.he.bfv_helpers import backend
from tests.protocols.schemes.masked.helpers import answering, layer_spec, pools

NONE = 1 << 60
"""A limit that is none."""

SESSION = bytes(32)


def greedy(host: HostTriples, collaborator: CollaboratorTriples, count: int) -> int:
    """Triples that a host gets out of its collaborator without using one."""
    try:
        for _ in range(count):
            pump(host.generate(TRAIN), answering(collaborator))
    except LimitExceeded:
        pass
    return collaborator.stock(TRAIN)


def test_a_host_gets_no_triples_that_it_does_not_use() -> None:
    spec = layer_spec(3, 2, 2)
    assert greedy(*pools(replace(spec, stock_bytes=NONE)), 40) == 40
    declared = replace(spec, batches=4)
    assert greedy(*pools(declared), 40) == 2 * 4 + UNITS_AT_ONCE
    little_memory = replace(spec, stock_bytes=1)
    assert greedy(*pools(little_memory), 40) == 2 * UNITS_AT_ONCE


def test_a_request_for_too_many_is_refused_before_any_work_and_names_the_limit() -> None:
    host, collaborator = pools(replace(layer_spec(3, 2, 2), batches=4))
    talk = pump(host.generate(TRAIN, 2), answering(collaborator))
    with pytest.raises(LimitExceeded, match=r"limit stock_bytes: .* that operator raises stock_bytes") as caught:
        pump(host.generate(TRAIN, 64), answering(collaborator))
    assert caught.value.limit == "stock_bytes"
    assert collaborator.stock(TRAIN) == 2, "what there was is not lost"
    assert len(talk.from_right) > 0


def test_triples_that_are_used_make_room_for_others() -> None:
    host, collaborator = pools(replace(layer_spec(3, 2, 2), batches=1))
    for _ in range(3 * UNITS_AT_ONCE):
        pump(host.generate(TRAIN), answering(collaborator))
        host.take(TRAIN), collaborator.take(TRAIN)
    pump(host.generate(TEST), answering(collaborator))


def test_of_the_largest_triples_seen_in_an_attack_a_bounded_number_is_made() -> None:
    """64 of 1024 x 64 x 64 cost 259 s of CPU and 100 MB, and there was no end."""
    spec = LayerSpec("patient", 64, 64, 1024, True, SESSION)
    size = TripleShapes(spec, backend(TRIPLES)).bytes_per_triple
    assert most_unused(spec, size) <= 24
    assert most_unused(spec, size) * size < STOCK_BYTES + UNITS_AT_ONCE * size
    assert most_unused(replace(spec, batches=2), size) <= 12


@pytest.mark.parametrize("size", [MAX_IDS, 10_000_001])
def test_a_set_that_is_too_large_is_refused_before_a_point_of_it(size: int) -> None:
    hashed = hash_ids(SESSION, ["a", "b"])
    opening = PsiOpen(size, 1 << 15, SESSION)
    careless = PsiSender(hashed, OsRandomness())
    careless.receive_open(opening)
    assert careless.peer_size == size, "it waits for 32 bytes of each"
    careful = PsiSender(hashed, OsRandomness(), max_peer_ids=DEFAULT_LIMITS.ids)
    with pytest.raises(LimitExceeded, match="limit ids: this would take"):
        careful.receive_open(opening)
    assert careful.peer_size == 0


def test_a_million_ids_are_let_in() -> None:
    careful = PsiSender(hash_ids(SESSION, ["a"]), OsRandomness(), max_peer_ids=DEFAULT_LIMITS.ids)
    careful.receive_open(PsiOpen(1_000_000, 1 << 14, SESSION))


@pytest.mark.parametrize(
    ("rows", "width", "limit"), [(32, 1 << 16, "width"), (1 << 20, 4, "rows")], ids=["65,536 wide", "2^20 rows"]
)
def test_features_that_are_too_many_are_refused_by_name(rows: int, width: int, limit: str) -> None:
    OperatorLimits(width=NONE, rows=NONE).check_features(rows, width)
    with pytest.raises(LimitExceeded, match=f"limit {limit}:"):
        DEFAULT_LIMITS.check_features(rows, width)


@pytest.mark.parametrize(
    ("rows", "d", "o", "limit"),
    [(4, 8, 65_535, "width"), (8192, 4096, 4096, "batch_work")],
    ids=["a projection 65,535 wide", "products of 2^37 multiplications"],
)
def test_a_layer_that_costs_too_much_is_refused_by_name(rows: int, d: int, o: int, limit: str) -> None:
    spec = LayerSpec("patient", d, o, rows, True, SESSION)
    OperatorLimits(width=NONE, batch_work=NONE).check_layer(spec)
    with pytest.raises(LimitExceeded, match=f"limit {limit}:"):
        DEFAULT_LIMITS.check_layer(spec)


@pytest.mark.parametrize(("rows", "d", "o"), [(128, 20, 20), (1024, 512, 512), (256, 4096, None)])
def test_real_layers_are_within_the_defaults(rows: int, d: int, o: int | None) -> None:
    DEFAULT_LIMITS.check_features(rows, d)
    DEFAULT_LIMITS.check_layer(LayerSpec("patient", d, o, rows, True, SESSION))
