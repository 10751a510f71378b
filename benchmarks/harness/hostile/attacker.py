"""A party that runs the project's own code and, at one message of each task, does what its row says.

`HOSTILE_SERIES` is a JSON list of {task, scheme, case, type, mutation, seed}; without a mutation the task is an honest
one, whose messages are kept to be replayed later. Prints one JSON object per task: whether the mutation was done, when
the victim ended the connection after it, and everything the victim said about why.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Iterable, Iterator
from typing import Any

from tiny import make

import secure_hfl.transport.client as client_module
import secure_hfl.transport.outbound as outbound_module
import secure_hfl.transport.server as server_module
from benchmarks.harness.hostile.mutations import Mutation, Sent, find
from benchmarks.harness.known_messages import known_catalogue
from protocols.core.envelope import Envelope, Phase
from protocols.core.errors import SecureHflError
from protocols.core.message import Message
from protocols.task.abort import Abort
from protocols.wire.codec import Catalogue, encode
from protocols.wire.frames import cut
from secure_hfl.run_options import RunOptions, activate
from secure_hfl.transport.channel import Channel
from secure_hfl.transport.traffic import Direction

HOLD_SECONDS = float(os.environ["HOSTILE_HOLD_SECONDS"])
"""How long the attacker keeps a connection open, to see whether the victim ends it."""


class Hand:
    """What is to be done in the task under way, and what came of it."""

    def __init__(self, row: dict[str, Any], earlier: dict[str, Sent]) -> None:
        self.type_name: str = row.get("type", "")
        self.mutation = find(self.type_name, row["mutation"]) if row.get("mutation") else Mutation()
        self.is_honest = not row.get("mutation")
        self.dice = random.Random(row.get("seed", 0))
        self.earlier = earlier
        self.done_at = 0.0
        self.over_at = 0.0
        self.has_given_up = False
        self.is_same = False
        self.is_outlived = False
        self.told: list[dict[str, str]] = []
        self._frames_of: bytes = b""

    def swapped(self, sent: Sent) -> list[Sent]:
        """What to send in place of a message."""
        name = type(sent.message).__name__
        if self.done_at and self.mutation.then_silent:
            return []
        if self.is_honest:
            self.earlier.setdefault(name, sent)
        if self.mutation.swap is None or not self._is_target(name):
            return [sent]
        self.done_at = time.monotonic()
        swapped = self.mutation.swap(sent, self.earlier, self.dice)
        self.is_same = [_bytes_of(each) for each in swapped] == [_bytes_of(sent)]
        return swapped

    def encoded(self, envelope: Envelope, catalogue: Catalogue) -> bytes:
        """The bytes to send."""
        data = encode(envelope, catalogue)
        if not self._is_target(type(envelope.message).__name__):
            return data
        if self.mutation.rewrite is not None:
            self.done_at = time.monotonic()
            honest, data = data, self.mutation.rewrite(data, self.dice)
            self.is_same = data == honest
        elif self.mutation.refit is not None:
            self.done_at = time.monotonic()
            self._frames_of = data
        return data

    def framed(self, data: bytes) -> Iterator[bytes]:
        """The frames to send."""
        frames = list(cut(data))
        if self.mutation.refit is not None and data is self._frames_of:
            frames = self.mutation.refit(data, frames)
        yield from frames

    def heard(self, direction: Direction, envelope: Envelope, data: object) -> None:
        """Keep what may be replayed, and what the victim says when it stops."""
        message = envelope.message
        if direction is Direction.RECEIVED:
            if self.is_honest:
                sent = Sent(envelope.phase, envelope.round, envelope.batch, message)
                self.earlier.setdefault(type(message).__name__, sent)
            if isinstance(message, Abort):
                self.told.append({"party": message.party, "reason": message.reason, "code": message.code})

    def _is_target(self, name: str) -> bool:
        return name == self.type_name and not self.done_at and not self.is_honest


def _bytes_of(sent: Sent) -> bytes:
    return encode(Envelope(0, sent.phase, sent.round, sent.batch, sent.message), known_catalogue())


hand: Hand


class HostileChannel(Channel):
    """Sends what the hand makes of each message, explains nothing, and hangs on when its own side has given up."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.observers.append(hand.heard)

    def receive(self, timeout: float | None) -> Envelope:
        """See `Channel.receive`. The hand has heard it."""
        envelope = super().receive(timeout)
        self.settle()
        return envelope

    def send(self, phase: Phase, round: int, batch: int, message: Message, timeout: float | None) -> None:
        """See `Channel.send`."""
        if type(message) is Abort:
            hand.has_given_up = True
            return
        for sent in hand.swapped(Sent(phase, round, batch, message)):
            super().send(sent.phase, sent.round, sent.batch, sent.message, timeout)

    def read_from(self, frames: Any) -> None:
        """See `Channel.read_from`."""
        super().read_from(frames)
        hand.over_at = time.monotonic()

    def close(self, flush_timeout: float) -> None:
        """See `Channel.close`."""
        with self._state.lock:
            if hand.done_at and hand.has_given_up:
                hand.is_outlived = not self._state.wait_for_end_of_stream(HOLD_SECONDS)
        super().close(flush_timeout)


def run(row: dict[str, Any], earlier: dict[str, Sent]) -> dict[str, Any]:
    """One task."""
    global hand
    hand = Hand(row, earlier)
    outbound_module.encode = lambda envelope, catalogue: hand.encoded(envelope, catalogue)
    outbound_module.cut = lambda data: hand.framed(data)
    activate(RunOptions(scheme=row.get("scheme")))
    end = ""
    try:
        make(row["case"]).launch_task(row["task"])
    except SecureHflError as error:
        end = str(error)
    except Exception as error:  # its own code fed with its own lies
        end = f"{type(error).__name__}: {error}"
    return {
        "done": bool(hand.done_at),
        "same": hand.is_same,
        "seconds": None if hand.is_outlived or not hand.done_at else hand.over_at - hand.done_at,
        "told": hand.told,
        "end": end,
    }


def without_limit(options: Iterable[tuple[str, int | str]]) -> tuple[tuple[str, int | str], ...]:
    """Of the size of what is sent."""
    name = "grpc.max_send_message_length"
    return (*(option for option in options if option[0] != name), (name, -1))


honest_options = client_module.client_options
client_module.client_options = lambda proxy: without_limit(honest_options(proxy))
server_module.SERVER_OPTIONS = without_limit(server_module.SERVER_OPTIONS)  # type: ignore[attr-defined]
client_module.Channel = server_module.Channel = HostileChannel  # type: ignore[misc]
kept: dict[str, dict[str, Sent]] = {}
for each in json.loads(os.environ["HOSTILE_SERIES"]):
    print(json.dumps(run(each, kept.setdefault(each.get("scheme") or "", {}))), flush=True)
