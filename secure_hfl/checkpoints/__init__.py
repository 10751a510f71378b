"""Checkpoints: what one party needs to go on with a task after its process has ended.

tree.py           a tree of numbers, text, tensors and containers as bytes, without pickle
store.py          the last two checkpoints of a task on disk, and which of them can be used
local_state.py    what torch holds at one party
"""

from secure_hfl.checkpoints.local_state import LocalState, capture_generators, restore_generators
from secure_hfl.checkpoints.store import Checkpoint, CheckpointStore, Saved
from secure_hfl.checkpoints.tree import pack, unpack

__all__ = [
    "Checkpoint",
    "CheckpointStore",
    "LocalState",
    "Saved",
    "capture_generators",
    "pack",
    "restore_generators",
    "unpack",
]
