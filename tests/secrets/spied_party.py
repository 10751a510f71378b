"""A party that runs tasks one after another, watched by the spy.

`SPIED` is JSON: {"side": a directory, "rows": [{"name", "task", "rounds", "case"}]}. Only the last row's error ends it.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks" / "harness" / "scripts"))

import spy
import tiny
from torch import nn

from protocols.he.paillier import PaillierBackend
from protocols.he.paillier_parameters import PAILLIER_2048
from protocols.schemes.encrypted.scheme import Paillier
from secure_hfl import RandomizedResponse
from secure_hfl.errors import TaskFailed
from secure_hfl.log import logger
from secure_hfl.run_options import RunOptions, activate

FIRST_ID = 730_000_000_000  # long enough that no other number looks like an id
PROTECTED = {"label_privacy": RandomizedResponse(1.0, 2)}
IDS = {0: range(0, 128), 1: range(32, 160)}


def _smallest_paillier() -> None:
    """The shortest key that the parameters allow: the default's takes a minute here."""
    Paillier.backend = lambda self: PaillierBackend(PAILLIER_2048)  # type: ignore[method-assign]
    Paillier.parameter_set = property(lambda self: PAILLIER_2048.name)  # type: ignore[assignment]


def _watched(base: type[Any]) -> type[Any]:
    class Watched(base):  # type: ignore[misc]
        """The tiny task with long ids, which shows the spy what is in memory in the middle of it."""

        def load_local_ids(self) -> list[str]:
            self._enter(tiny.Method.LOAD_LOCAL_IDS)
            ids = [str(FIRST_ID + number) for number in IDS[self.case.index]]
            for number in IDS[self.case.index][::5]:
                whose = "of both" if all(number in held for held in IDS.values()) else "of one"
                spy.SPY.note(f"sample id {whose}", "text", str(FIRST_ID + number).encode())
            return ids

        def iterate_test_feature(self, feature_model: nn.Module, test_ids: Any) -> Any:
            for model in (self.feature_model, getattr(self, "infer_model", None)):
                for weights in model.parameters() if model is not None else ():
                    spy.SPY.note_array("weights of a model", weights.detach().numpy())
            if self.current_round == 1:
                spy.SPY.see_objects()
            yield from super().iterate_test_feature(feature_model, test_ids)

    return Watched


def main() -> None:
    """Run the tasks."""
    values = json.loads(os.environ.pop("SPIED"))
    columns = tiny.columns
    tiny.columns = lambda index, ids: columns(index, [item % 1000 for item in ids])
    logger.setLevel(logging.DEBUG)
    _smallest_paillier()
    spy.install()
    side = Path(values["side"])
    for row in values["rows"]:
        spy.SPY.begin(side / row["name"])
        progress = os.open(side / row["name"] / "progress", os.O_WRONLY | os.O_CREAT, 0o600)
        activate(RunOptions(progress=progress))
        case = tiny.Case(**row["case"])
        case.arguments.update({} if case.index else {"max_rounds": row["rounds"], "log_rounds": 1, **PROTECTED})
        case.confirms_batches = not case.index
        kind = _watched(tiny.TinyCollaborator if case.index else tiny.TinyHost)
        try:
            kind(case).launch_task(row["task"])
        except TaskFailed:
            spy.SPY.see_objects()
            if row is values["rows"][-1]:
                raise
        finally:
            spy.SPY.see_process()
            print(json.dumps({"over": row["name"]}), flush=True)


main()
