"""What a party keeps on its disk while it runs PSI in buckets, so that memory is bounded and a crash costs one bucket.

    TASK/psi/                       0700, files 0600
        ids                         this party's ids, as they were loaded
        bucket-12                   those of one bucket, in an order that the next file's positions are of
        found-NAME-12               at the host, of a bucket that is done with collaborator NAME: positions and slots
        order-12                    at a collaborator: the secret order in which the bucket's points were sent
        cut                         the nonce, the number of buckets, how many ids there were, and a sum over them

Gone when the intersection is in a checkpoint, when the task begins anew, and by `secure-hfl task purge`. A bucket's
scalar is never here.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from protocols.psi import buckets as bucketing
from protocols.psi.comparison import Matches
from protocols.psi.ids import canonical
from protocols.psi.packed import Texts
from secure_hfl.engine.id_file import IdFile, open_private, write_chunk, written
from secure_hfl.files import sync_file, write_private
from secure_hfl.home import make_private_directory

DIRECTORY = "psi"
Ids = Sequence[str] | IdFile


class PsiFiles:
    """One party's files of one task's PSI.

    Args:
        directory: the task's.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory / DIRECTORY

    def clear(self) -> None:
        """Keep nothing."""
        shutil.rmtree(self.directory, ignore_errors=True)

    def write_ids(self, chunks: Iterable[list[str]]) -> IdFile:
        """This party's ids, checked. Raises `InvalidInput` as `check_ids`."""
        make_private_directory(self.directory)
        return written(self.directory / "ids", chunks)

    # The cut ---------------------------------------------------------------------------------------------------------

    def kept(self, ids: Ids, parties: bytes) -> tuple[bytes, int] | None:
        """Nonce and number of buckets of an interrupted run of the same ids, whose files are here; else None.

        Args:
            ids: as they are now.
            parties: what the key is made of besides the nonce.
        """
        try:
            kept = json.loads((self.directory / "cut").read_text("utf-8"))
            nonce, count, of, total = bytes.fromhex(kept["nonce"]), kept["buckets"], kept["ids"], kept["sum"]
        except (OSError, ValueError, TypeError, LookupError):
            return None
        return (nonce, count) if of == len(ids) and total == _sum_of(ids, parties, nonce) else None

    def cut(self, ids: Ids, parties: bytes, nonce: bytes, count: int, size: int) -> bool:
        """Write ids to their buckets, in place of what was here; False where a bucket would hold more than `size`."""
        make_private_directory(self.directory)
        for pattern in ("bucket-*", "found-*", "order-*", "cut"):
            for path in self.directory.glob(pattern):
                path.unlink()
        key = bucketing.key_of(parties, nonce)
        fill, total = np.zeros(count, np.int64), 0
        for chunk in _chunks(ids):
            words = bucketing.bucket_words(key, canonical(chunk))
            total = (total + _sum(words)) % (1 << 64)
            numbers = bucketing.bucket_numbers(words, count)
            fill += np.bincount(numbers, minlength=count)
            self._append(chunk, numbers)
        if fill.max() > size:
            return False
        for path in self.directory.glob("bucket-*"):
            sync_file(path)  # so that whoever finds the next file finds these whole
        cut = {"nonce": nonce.hex(), "buckets": count, "ids": len(ids), "sum": total}
        write_private(self.directory / "cut", json.dumps(cut).encode())
        return True

    def _append(self, chunk: list[str], numbers: NDArray[np.int64]) -> None:
        order = np.argsort(numbers, kind="stable")
        ordered = numbers[order]
        bounds = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1], [True]))).tolist()
        for low, high in pairwise(bounds):
            with open_private(self._bucket(int(ordered[low])), "a") as file:
                write_chunk(file, [chunk[at] for at in order[low:high].tolist()])

    def _bucket(self, index: int) -> Path:
        return self.directory / f"bucket-{index}"

    def bucket(self, index: int) -> list[str]:
        """The ids of a bucket."""
        path = self._bucket(index)
        if not path.exists():  # no id fell into it
            return []
        return [each for chunk in IdFile(path, 1).chunks() for each in chunk]

    # What is done ----------------------------------------------------------------------------------------------------

    def keep_found(self, name: str, index: int, matches: Matches) -> None:
        """At the host: a bucket is done."""
        parts = (each.astype("<u4").tobytes() for each in matches)
        write_private(self._found(name, index), *parts)

    def found(self, name: str, index: int) -> Matches:
        """What was kept of it."""
        values = np.frombuffer(self._found(name, index).read_bytes(), "<u4").astype(np.int64)
        return Matches(*values.reshape(2, -1))

    def keep_order(self, index: int, order: NDArray[np.int64]) -> None:
        """At a collaborator: a bucket is done."""
        write_private(self._order(index), order.astype("<u4").tobytes())

    def order(self, index: int) -> NDArray[np.int64]:
        """What was kept of it."""
        return np.frombuffer(self._order(index).read_bytes(), "<u4").astype(np.int64)

    def done(self, name: str | None) -> int:
        """Buckets that are done, the first ones: with a collaborator, or (None) at one."""
        index = 0
        while (self._order(index) if name is None else self._found(name, index)).exists():
            index += 1
        return index

    def _found(self, name: str, index: int) -> Path:
        return self.directory / f"found-{name.encode().hex()}-{index}"

    def _order(self, index: int) -> Path:
        return self.directory / f"order-{index}"


def delete_psi_files(directory: Path) -> int:
    """Delete what PSI has left in a task's directory; how many files."""
    files = PsiFiles(directory)
    count = sum(1 for path in files.directory.glob("*") if path.is_file())
    files.clear()
    return count


def _chunks(ids: Ids) -> Iterator[list[str]]:
    return ids.chunks() if isinstance(ids, IdFile) else iter([list(ids)])


def _sum_of(ids: Ids, parties: bytes, nonce: bytes) -> int:
    """Of all ids' keyed hashes, so that their order does not matter; equal for other ids once in 2^64 times."""
    key = bucketing.key_of(parties, nonce)
    return sum(_sum(bucketing.bucket_words(key, canonical(chunk))) for chunk in _chunks(ids)) % (1 << 64)


def _sum(words: NDArray[np.uint64]) -> int:
    return int(words.sum(dtype=np.uint64))


def texts_at(ids: list[str], chosen: NDArray[np.bool_]) -> Texts:
    """Those of a bucket's ids that a mask says, packed."""
    return Texts.of([ids[at] for at in np.flatnonzero(chosen).tolist()])
