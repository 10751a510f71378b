"""The hash chain of a direction: as the format says, and in bounded memory."""

from __future__ import annotations

from hashlib import sha256

from benchmarks.harness.pump import C, H
from protocols.transcript.chain import MAX_RECENT, Chain

HEAD = bytes(32)


def test_a_chain_keeps_a_bounded_number_of_heads() -> None:
    chain = Chain(HEAD, H)
    for number in range(3 * MAX_RECENT):
        chain.append(b"%d" % number, True)
        assert len(chain.recent) <= MAX_RECENT
    assert chain.recent[chain.at[0]] == chain.at[1]
    chain.append(b"main", False)
    assert chain.recent == {chain.at[0]: chain.at[1]}


def test_the_chain_is_as_the_format_says() -> None:
    head = sha256(b"secure-hfl transcript v2: chain\n" + HEAD + b"c").digest()
    chain = Chain(HEAD, C)
    assert chain.at == (0, head)
    chain.append(b"e c 0 ...", False)
    assert chain.at == (1, sha256(b"secure-hfl transcript v2: entry\n" + head + b"e c 0 ...").digest())
