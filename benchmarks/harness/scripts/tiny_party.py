"""One party of the tiny task, as a user would write it: `TINY_CASE` is the case as JSON."""

import json
import os

from tiny import make

make(json.loads(os.environ["TINY_CASE"])).launch_task("YOUR_TASK_ID")
