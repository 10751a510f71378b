"""One party of many tasks, one after another: `TINY_SERIES` is a JSON list of {task, seed, case}.

Prints one JSON object per task: how it ended, and which of the user's methods were called.
"""

import json
import os

from tiny import make

from protocols.core.errors import SecureHflError
from protocols.schemes.plain.scheme import Plain
from secure_hfl import register_scheme
from secure_hfl.errors import TaskFailed
from secure_hfl.run_options import RunOptions, activate


@register_scheme("other")
class Other(Plain):
    """A second scheme, so that parties can ask for different ones."""

    is_plaintext = False


for row in json.loads(os.environ["TINY_SERIES"]):
    activate(RunOptions(seed=row.get("seed"), scheme=row.get("scheme")))
    scheduler = make(row["case"])
    end = {"ok": True, "kind": "", "reason": "", "detail": "", "text": ""}
    try:
        scheduler.launch_task(row["task"])
    except TaskFailed as error:
        end = {"ok": False, "kind": "TaskFailed", "reason": error.reason, "detail": error.detail, "text": str(error)}
    except SecureHflError as error:
        end = {"ok": False, "kind": type(error).__name__, "reason": str(error), "detail": "", "text": str(error)}
    print(json.dumps({**end, "calls": scheduler.case.calls}), flush=True)
