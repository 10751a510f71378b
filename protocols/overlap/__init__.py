"""How many ids two parties both hold, and not which: before they agree on a task. The diagram: messages.py."""

from protocols.overlap.agreed import Opening, Terms
from protocols.overlap.collaborator import OverlapAnswer
from protocols.overlap.host import OverlapCount
from protocols.overlap.messages import OverlapDigests, OverlapOpen, OverlapPoints, OverlapSize, overlap_id

__all__ = [
    "Opening",
    "OverlapAnswer",
    "OverlapCount",
    "OverlapDigests",
    "OverlapOpen",
    "OverlapPoints",
    "OverlapSize",
    "Terms",
    "overlap_id",
]
