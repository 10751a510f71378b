"""Memory of the ids that a party trains on, by the row: python -m benchmarks.id_memory [ROWS]

Packed, split in two, compared with the other party's split and written into a checkpoint, as the engine does it, in a
process without torch; and a Python set of as many, measured on a tenth of them.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from protocols.psi.packed import Texts, chunks_of, packed
from protocols.task.alignment import SplitDigest
from secure_hfl.checkpoints.snapshot import ids_blob
from secure_hfl.metrics import peak_rss_mb

ROWS = 10_000_000


def measure(rows: int) -> dict[str, Any]:
    """Bytes a row: of the ids, of the peak on the way, and of a set."""
    before = peak_rss_mb()
    ids = packed(Texts.of(chunk) for chunk in chunks_of(f"p{i:010d}" for i in range(rows)))
    train, test = ids[: rows * 9 // 10], ids[rows * 9 // 10 :]
    SplitDigest.of(bytes(32), train, test)
    blobs = [ids_blob(each) for each in (train, test)]
    peak = peak_rss_mb()
    few = {f"p{i:010d}" for i in range(rows // 10)}
    size = sys.getsizeof(few) + sum(map(sys.getsizeof, few))
    return {
        "rows": rows,
        "bytes_a_row": ids.nbytes / rows,
        "checkpoint_bytes_a_row": sum(each.nbytes for each in blobs) / rows,
        "peak_bytes_a_row": (peak - before) * 1e6 / rows,
        "set_bytes_a_row": size / len(few),
    }


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]) if len(sys.argv) > 1 else ROWS), indent=1))
