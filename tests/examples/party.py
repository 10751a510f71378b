"""One party of several examples, one after another, because starting PyTorch takes longer than any of them.

`EXAMPLE_RUNS` is a JSON list of {role, script, task, environment, options}; each is what the command line
`secure-hfl ROLE SCRIPT --task TASK OPTIONS` runs.
"""

import json
import os
from pathlib import Path

from secure_hfl.cli import run

for row in json.loads(os.environ["EXAMPLE_RUNS"]):
    os.environ.update(row["environment"])
    getattr(run, row["role"])(Path(row["script"]), task=row["task"], **row["options"])
