"""The rows of features that a Collaborator has shown for its samples: the same sample is shown by the same bits.

    <task directory>/predictions/rows.sqlite      0600

Smoothing noise is a function of a row's bits (protocols/layer/smoothing.py). PyTorch computes the last bits of a row
otherwise in a batch of another size, and the Host says which ids are in a batch: without this, it could ask for one
sample in many batches, and average the noise away. So the row that was shown first is shown whenever the sample's row
is the same within `TOLERANCE`, in this session and in all later ones. A row that really has changed, as the sample's
columns have, is another question, and is kept beside the others. So one sample has as many values as it had rows that
differ by more than the tolerance, however often and in whatever company it is asked for (for one training; the noise's
key is that of its last checkpoint).

The file grows with the rows that were shown: one for each sample of the population as long as none changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from secure_hfl.database import Damaged, Database, transaction
from secure_hfl.prediction.features import TOLERANCE

SHOWN = "rows.sqlite"
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS shown "
    "(training BLOB, id TEXT, number INTEGER, row BLOB NOT NULL, PRIMARY KEY (training, id, number)) WITHOUT ROWID"
)


class ShownRows:
    """One Collaborator's, of one training.

    Args:
        path: of the file; made when it is first needed.
        training: digest of the training whose models predict.
    """

    def __init__(self, path: Path, training: bytes) -> None:
        self._path, self._training = path, training

    def settle(self, ids: Sequence[str], features: NDArray[np.float32]) -> NDArray[np.float32]:
        """What is to be shown for these ids, whose rows are as given now. Written before it is returned.

        **Shapes** features and result: [n, d].

        Raises:
            TaskError: the file cannot be read or written.
        """
        shown = np.array(features, np.float32, order="C")
        with self._transaction() as db:
            for at, sample in enumerate(ids):
                kept = self._kept(db, sample, shown.shape[1])
                alike = [row for row in kept if is_alike(row, shown[at])]
                if alike:
                    shown[at] = alike[0]
                else:
                    key = (self._training, sample, len(kept))
                    db.execute("INSERT INTO shown VALUES (?, ?, ?, ?)", (*key, shown[at].tobytes()))
        return shown

    def _kept(self, db: Database, sample: str, width: int) -> list[NDArray[np.float32]]:
        query = "SELECT row FROM shown WHERE training = ? AND id = ? ORDER BY number"
        rows = [np.frombuffer(row, np.float32) for (row,) in db.execute(query, (self._training, sample))]
        if any(len(row) != width for row in rows):
            raise Damaged("rows of another width")
        return rows

    def _transaction(self) -> AbstractContextManager[Database]:
        return transaction(
            self._path,
            [_SCHEMA],
            "by which bits samples were shown is not known, so none is. Check the disk; a damaged file can only be "
            "moved away, and then each sample is shown under fresh noise once more",
        )


def is_alike(kept: NDArray[np.float32], now: NDArray[np.float32]) -> bool:
    """Whether two rows differ by no more than the company that they were computed in explains."""
    scale = float(np.abs(kept).max(initial=0.0)) + 1e-6
    return bool(np.abs(kept.astype(np.float64) - now).max(initial=0.0) <= TOLERANCE * scale)
