"""One party of the tiny task whose Host puts noise on gradients."""

import json
import os

from benchmarks.harness.scripts.tiny import make
from secure_hfl import MarvellNoise

scheduler = make(json.loads(os.environ["TINY_CASE"]))
if scheduler.case.index == 0:
    scheduler.gradient_noise = MarvellNoise(1.0)
scheduler.launch_task("YOUR_TASK_ID")
