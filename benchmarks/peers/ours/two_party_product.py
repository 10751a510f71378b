"""Ours between two processes over loopback TCP, each with all cores: what `spu/cheetah.py` does with spu.

Party 0 has X [m, k] and R [m, n], party 1 has M [k, n] and the key, and gets X M + R: with R random, each has a share.

    setup       keys, and what they take on the wire
    product     encrypt, load, multiply_add, decrypt. Variant "": encryptions of zero and masks are in stock, as in
                training, which makes them beside the batches. "nothing prepared": they are made within the product
    prepare     what fills the stock for one product, at both parties at once
"""

from __future__ import annotations

import socket
import struct
import time
from typing import Any

import numpy as np

from benchmarks.peers.two_parties import PartySteps, bytes_sent, is_party, joined, rank, run_parties
from benchmarks.peers.worker import Matrices, answer, main, save_result
from protocols.he import engines
from protocols.he.bfv import BfvBackend
from protocols.he.interface import CiphertextBundle, MatrixShape, as_ring, as_signed
from secure_hfl.executor import spare_threads, thread_map

MODULE = "benchmarks.peers.ours.two_party_product"
FACTOR_BITS = 17
CONNECT_SECONDS = 60.0
_LENGTH = struct.Struct("<Q")


class Link:
    """Messages over one TCP connection, the lengths of their parts before them.

    Args:
        connection: to the other party.
        own: this one's rank.
    """

    def __init__(self, connection: socket.socket, own: int) -> None:
        self._connection, self._reader, self._own = connection, connection.makefile("rb"), own

    @classmethod
    def open(cls, port: int, own: int) -> Link:
        """Waits for the other party. Party 0 listens."""
        if own == 0:
            with socket.create_server(("127.0.0.1", port)) as listener:
                listener.settimeout(CONNECT_SECONDS)
                return cls._without_delay(listener.accept()[0], own)
        end = time.monotonic() + CONNECT_SECONDS
        while True:
            try:
                return cls._without_delay(socket.create_connection(("127.0.0.1", port)), own)
            except ConnectionRefusedError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)

    @classmethod
    def _without_delay(cls, connection: socket.socket, own: int) -> Link:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return cls(connection, own)

    def send(self, *parts: bytes) -> None:
        """One message of some parts."""
        sizes = [_LENGTH.pack(each) for each in (len(parts), *map(len, parts))]
        self._connection.sendall(b"".join([*sizes, *parts]))

    def receive(self) -> tuple[bytes, ...]:
        """The other's next message."""
        (count,) = _LENGTH.unpack(self._reader.read(_LENGTH.size))
        sizes = [_LENGTH.unpack(self._reader.read(_LENGTH.size))[0] for _ in range(count)]
        return tuple(self._reader.read(size) for size in sizes)

    def agree(self, go_on: bool) -> bool:
        """What party 0 said, once both are here."""
        if self._own == 0:
            self.send(b"y" if go_on else b"n")
            self.receive()
            return go_on
        (said,) = self.receive()
        self.send(b"")
        return said == b"y"


class Evaluator:
    """Party 0: X and R."""

    def __init__(self, request: dict[str, Any], backend: BfvBackend, shape: MatrixShape, link: Link) -> None:
        given = Matrices(request)
        self._factor = np.array(given.factor, dtype=np.int64)
        self._addend = as_ring(np.array(given.addend, dtype=np.int64))
        self._backend, self._shape, self._link = backend, shape, link

    def set_up(self) -> None:
        """Takes the key."""
        (key,) = self._link.receive()
        self._public = self._backend.load_public(key)
        self._link.send(b"")

    def prepare(self) -> None:
        """Masks for one product."""
        self._public.prepare(self._shape)

    def product(self) -> None:
        """[X M + R] from [M]."""
        operand = self._public.load_operand(CiphertextBundle(self._link.receive()), self._shape)
        self._link.send(*self._public.multiply_add(self._factor, operand, self._addend, self._shape).parts)

    def result(self) -> list[list[int]]:
        """Nothing: its share is R."""
        return []


class Owner:
    """Party 1: M and the key."""

    def __init__(self, request: dict[str, Any], backend: BfvBackend, shape: MatrixShape, link: Link) -> None:
        self._matrix = as_ring(np.array(Matrices(request).matrix, dtype=np.int64))
        self._backend, self._shape, self._link = backend, shape, link

    def set_up(self) -> None:
        """Makes the key and sends its public half."""
        self._secret = self._backend.generate()
        self._link.send(self._secret.public_key())
        self._link.receive()

    def prepare(self) -> None:
        """Encryptions of zero for one operand."""
        self._secret.prepare(self._shape)

    def product(self) -> None:
        """[M] to the other, X M + R back."""
        self._link.send(*self._secret.encrypt(self._matrix, self._shape).parts)
        self._result = self._secret.decrypt(CiphertextBundle(self._link.receive()), self._shape)

    def result(self) -> list[list[int]]:
        """X M + R of the last product."""
        rows: list[list[int]] = as_signed(self._result).tolist()
        return rows


def party(request: dict[str, Any]) -> dict[str, Any]:
    """One of the two, in its own process."""
    shape = MatrixShape(request["m"], request["k"], request["n"], FACTOR_BITS)
    backend, link = BfvBackend(mapper=thread_map, sharing=spare_threads()), Link.open(request["ports"][0], rank())
    role = (Evaluator, Owner)[rank()](request, backend, shape, link)
    steps = PartySteps(link.agree)
    link.agree(True)
    sent, wall, cpu = bytes_sent(), time.perf_counter(), time.process_time()
    role.set_up()
    steps.add("setup", time.perf_counter() - wall, time.process_time() - cpu, bytes_sent() - sent)
    if request["variant"]:
        steps.measure("product", request["repeats"], role.product, lambda: None)
    else:
        steps.measure("product", request["repeats"], role.product, role.prepare)
        steps.measure("prepare", request["repeats"], role.prepare, lambda: None)
    return steps.answer(result=role.result())


def measure(request: dict[str, Any], packages: tuple[str, ...]) -> dict[str, Any]:
    """Start both, wait, put their answers together."""
    answers, _ = run_parties(request, MODULE)
    save_result(request, answers[1]["result"])
    peak = {"factor's owner": answers[0]["peak_mb"], "matrix's owner": answers[1]["peak_mb"]}
    found = {"parameters": BfvBackend().parameters.name, "arithmetic": engines.description()}
    return answer(request, "ours", packages, joined(answers), peak, **found)


if __name__ == "__main__" and is_party():
    main(party)
