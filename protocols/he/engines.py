"""Which implementation computes BFV: this project's kernel where it was built, else SEAL.

    SECURE_HFL_NO_NATIVE=1          SEAL
    SECURE_HFL_NATIVE=avx2          the kernel with these instructions: ifma, avx2, neon, scalar
    SECURE_HFL_PACKING=1 or 0       replies hold several sums, or one; else what is quicker with what computes here
    SECURE_HFL_PACKING=small        the fewest bytes, for more work

Packing is the host's choice: it is in the manifest by the name of the parameter set, and both sides send such replies.
It saves bytes: 1.1 MB of 1.9 in a batch of 128 x 20 x 20, and 1 MB of 2.1 in its triple of scheme masked. SEAL takes
twice as long for a product with it.

Libraries are imported when an engine is made: SEAL's takes a while, and memory.
"""

from __future__ import annotations

import os

from protocols.core.errors import InvalidInput
from protocols.he.bfv_engine import BfvEngine
from protocols.he.native.kernel import instruction_sets
from protocols.he.native_engine import NAMES, NativeEngine
from protocols.he.parameters import SMALL, TRAINING, TRIPLES, UNPACKED, UNPACKED_TRIPLES, BfvParameters

SWITCH = "SECURE_HFL_NO_NATIVE"
CHOICE = "SECURE_HFL_NATIVE"
PACKING = "SECURE_HFL_PACKING"
SEAL = "seal"
FEWEST_BYTES = "small"


def is_built() -> bool:
    """Whether the native module is there."""
    return bool(instruction_sets())


def is_switched_off() -> bool:
    """Whether the environment asks to do without it."""
    return os.environ.get(SWITCH, "") not in ("", "0")


def chosen() -> str:
    """The name of what `make_engine` takes: an instruction set, or `SEAL`.

    Raises:
        InvalidInput: the environment asks for instructions that cannot be used here.
    """
    if is_switched_off():
        return SEAL
    found, wanted = instruction_sets(), os.environ.get(CHOICE, "")
    if wanted and wanted not in found:
        usable = ", ".join(found) or "none, as the native module was not built"
        raise InvalidInput(f"{CHOICE}={wanted} cannot be used here, only: {usable}")
    return wanted or next(iter(found), SEAL)


def make_engine(parameters: BfvParameters, name: str | None = None) -> BfvEngine:
    """An engine by name; None: what is chosen here."""
    name = chosen() if name is None else name
    if name != SEAL:
        return NativeEngine(parameters, name)
    from protocols.he.seal_engine import SealEngine

    return SealEngine(parameters)


def training_set() -> BfvParameters:
    """What a host here asks for in training.

    Raises:
        InvalidInput: the environment asks for something unknown, or for instructions that cannot be used here.
    """
    return {"0": UNPACKED, "1": TRAINING, FEWEST_BYTES: SMALL}[_packing()]


def triples_set() -> BfvParameters:
    """What a host here asks for in the triples of scheme masked. Errors as `training_set`."""
    return UNPACKED_TRIPLES if _packing() == "0" else TRIPLES


def _packing() -> str:
    wanted = os.environ.get(PACKING, "")
    if wanted not in ("", "0", "1", FEWEST_BYTES):
        raise InvalidInput(f"{PACKING} must be 1, 0 or {FEWEST_BYTES}, not {wanted!r}")
    return wanted or ("0" if chosen() == SEAL else "1")


def description() -> str:
    """What is chosen here, for people, without making it."""
    name = chosen()
    return "SEAL" if name == SEAL else f"native, {NAMES[name]}"
