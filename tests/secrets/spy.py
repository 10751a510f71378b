"""Notes every secret that a party's process draws, makes or loads, in a file outside of the party's home.

Installed by `spied_party.py` before the party runs. It wraps the places where secrets come into being (randomness, key
generation, PSI scalars, shares, masks, noise) and looks on; nothing is computed differently.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

import protocols.psi.hashed
import protocols.schemes.encrypted.host
import protocols.schemes.masked.host
import secure_hfl.engine.collaborator_rounds
import secure_hfl.engine.user_code
from protocols.core import randomness
from protocols.core.envelope import Envelope
from protocols.he import paillier, paillier_math
from protocols.he.bfv import BfvSecret
from protocols.layer import initial, quantised, smoothing, weight_share
from protocols.psi import curve
from protocols.schemes import encrypted, masked
from protocols.schemes.masked import pool, triples
from protocols.task import agreement
from secure_hfl.identity import Identity
from secure_hfl.transport import channel
from secure_hfl.transport.traffic import Direction

MOST = 30  # of one kind in one task: thousands of masks are drawn alike
OURS = ("protocols", "secure_hfl")


class Spy:
    """Writes to `directory`: `secrets.jsonl`, `wire/<message type>`, `shown`. One task at a time."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._counts: Counter[str] = Counter()
        self.directory = Path(os.devnull)

    def begin(self, directory: Path) -> None:
        """From now on, note things here."""
        with self._lock:
            (directory / "wire").mkdir(parents=True)
            self.directory = directory
            self._counts.clear()

    def note(self, label: str, form: str, data: bytes) -> None:
        """One secret."""
        with self._lock:
            self._counts[label] += 1
            if self._counts[label] <= MOST:
                line = json.dumps((label, form, data[:4096].hex()))
                with (self.directory / "secrets.jsonl").open("a") as file:
                    file.write(line + "\n")

    def note_array(self, label: str, array: Any) -> None:
        """Some elements of an array."""
        forms = {"uint64": "ring", "float64": "float", "float32": "float32", "int64": "ring"}
        values = np.ascontiguousarray(array).reshape(-1)
        self.note(label, forms[values.dtype.name], values[:8].tobytes())

    def see_message(self, direction: Direction, envelope: Envelope, data: Any) -> None:
        """What is sent: the bytes, and tensors as they were before they were packed."""
        if direction is Direction.SENT:
            message = envelope.message
            arrays = [value.tobytes() for value in vars(message).values() if isinstance(value, np.ndarray)]
            with self._lock, (self.directory / "wire" / type(message).__name__).open("ab") as file:
                file.write(bytes(16).join([bytes(data), *arrays, b""]))

    def see_objects(self) -> None:
        """What repr and str show of every object of ours that is alive."""
        shown: Counter[str] = Counter()
        with (self.directory / "shown").open("a", errors="backslashreplace") as file:
            for item in _alive():
                name = type(item).__qualname__
                shown[name] += 1
                if shown[name] <= MOST:
                    file.write(f"{name}: {item!r}\n{item}\n")

    def see_process(self) -> None:
        """What any process of this user, or a child, may read of this one."""
        for name in ("cmdline", "environ"):
            (self.directory / name).write_bytes(Path("/proc/self", name).read_bytes())
        (self.directory / "environ now").write_text(json.dumps(dict(os.environ)))
        (self.directory / "threads").write_text("\n".join(thread.name for thread in threading.enumerate()))


SPY = Spy()


def _alive() -> list[Any]:
    """Objects of ours, found while no other thread runs.

    A tuple that another one is making out of an iterator must be seen by nobody: CPython gives it up (SystemError).
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(1.0)
    time.sleep(2 * before)  # whoever waits to run has looked at it
    try:
        objects = [each for each in gc.get_objects() if not issubclass(type(each), type)]
        return [each for each in objects if _is_ours(type(each).__module__)]
    finally:
        sys.setswitchinterval(before)


def _is_ours(module: str) -> bool:
    return module.split(".")[0] in OURS


def _caller(frame: FrameType | None) -> str:
    """The first function of ours, outside of the randomness module, that asked for it."""
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if _is_ours(module) and module != randomness.__name__:
            return f"{module.split('.', 1)[1]}.{frame.f_code.co_name}"
        frame = frame.f_back
    return "nobody"


def _after(owner: Any, name: str, look: Callable[..., None]) -> None:
    """Call `look(result, *arguments)` after every call of a function or method."""
    original = getattr(owner, name)

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        look(result, *args, **kwargs)
        return result

    setattr(owner, name, wrapper)


def install() -> None:
    """Look on from now on."""
    _spy_on_randomness()
    _spy_on_keys()
    _spy_on_psi()
    _spy_on_layers()
    _after(channel.Channel, "__init__", lambda _, self, *args, **kwargs: self.observers.append(SPY.see_message))


def _spy_on_randomness() -> None:
    def note(what: str) -> Callable[..., None]:
        def look(result: bytes, *args: Any) -> None:
            SPY.note(f"{what} for {_caller(sys._getframe(2))}", "bytes", bytes(result[:64]))

        return look

    def note_seed(_: None, self: Any, seed: bytes) -> None:
        SPY.note(f"seed of a stream for {_caller(sys._getframe(2))}", "bytes", seed)

    def note_ring(result: Any, *args: Any) -> None:
        SPY.note_array(f"ring elements for {_caller(sys._getframe(2))}", result)

    def note_order(result: Any, *args: Any) -> None:
        SPY.note("PSI order", "order", result[:12].tobytes())

    _after(randomness.OsRandomness, "bytes", note("bytes of the system"))
    _after(randomness.ChaCha20Randomness, "bytes", note("bytes of a stream"))
    _after(randomness.ChaCha20Randomness, "octets", note("bytes of a stream"))
    _after(randomness.ChaCha20Randomness, "__init__", note_seed)
    _after(randomness.Randomness, "ring", note_ring)
    _after(randomness.Randomness, "permutation", note_order)


def _spy_on_keys() -> None:
    def note_identity(_: None, self: Identity, key: ec.EllipticCurvePrivateKey, certificate: bytes) -> None:
        SPY.note("identity key", "int", key.private_numbers().private_value.to_bytes(32, "big"))
        raw, none = serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        SPY.note("identity key", "bytes", key.private_bytes(serialization.Encoding.DER, raw, none)[7:39])

    def note_primes(_: None, self: Any, parameters: Any, p: Any, q: Any, *args: Any) -> None:
        for number in (p, q, p - 1, p * p, self._to_p % p, self._to_q % q, self._p_inverse):
            SPY.note("paillier key", "int", number.to_bytes(-(-number.bit_length() // 8), "big"))

    def note_bfv_key(_: None, self: BfvSecret, *args: Any) -> None:
        SPY.note("bfv key", "small", self.exported()[:256])

    _after(Identity, "__init__", note_identity)
    _after(paillier_math.PrivateKey, "__init__", note_primes)
    _after(BfvSecret, "__init__", note_bfv_key)
    _after(paillier, "_random_digits", lambda result, *args: SPY.note("paillier exponent", "bytes", result[:64]))
    _after(agreement, "session_id", lambda result, *args: SPY.note("session id", "bytes", result))


def _spy_on_psi() -> None:
    def note_scalar(_: None, self: Any, *args: Any) -> None:
        SPY.note("PSI scalar", "int", self.value)

    def note_shared(result: bytes, *args: Any) -> None:
        if sys._getframe(2).f_code.co_name == "shared_digests":
            SPY.note("PSI shared point", "bytes", result[:96])

    def note_hashes(result: bytes, *args: Any) -> None:
        SPY.note("hashed id", "bytes", result[:96])

    _after(curve.Scalar, "__init__", note_scalar)
    _after(curve, "multiply", note_shared)
    _after(curve, "encode_ids", note_hashes)
    _after(protocols.psi.hashed, "encode_ids", note_hashes)


def _spy_on_layers() -> None:
    def note_half(_: None, self: Any, mask: Any, share: Any, *operand: Any) -> None:
        SPY.note_array("mask of a triple", mask)
        SPY.note_array("share of a triple", share)

    def note_share(self: Any, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)
        if name == "values":
            SPY.note_array("share of the weights", value)

    def note_features(result: Any, *args: Any) -> None:
        SPY.note_array("features", result.detach().numpy())

    _after(triples.Half, "__init__", note_half)
    weight_share.WeightShare.__setattr__ = note_share  # type: ignore[method-assign, assignment]
    _after(initial, "orthogonal_factor", lambda result, *args: SPY.note_array("factor of the weights", result))
    _after(smoothing.SmoothingNoise, "draw", lambda result, *args: SPY.note_array("smoothing noise", result))
    _after(smoothing.SmoothingNoise, "__init__", lambda _, self, *args: SPY.note("smoothing key", "bytes", self._key))
    for scheme in (encrypted.host, masked.host):
        _after(scheme, "decode_projection", lambda result, *args: SPY.note_array("projection z", result))
    _after(quantised.QuantisedGradient, "of", lambda _, spec, dz, *args: SPY.note_array("gradient dz", dz))
    for module in (secure_hfl.engine.user_code, secure_hfl.engine.collaborator_rounds):
        _after(module, "check_features", note_features)
    assert pool.expand is randomness.expand, "masks must come from where the spy looks"
