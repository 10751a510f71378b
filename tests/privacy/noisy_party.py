"""One party of the tiny task whose Host puts noise on gradients."""

import json
import os

from secure_hfl import MarvellNoise
from tests.scripts.tiny import make

scheduler = make(json.loads(os.environ["TINY_CASE"]))
if scheduler.case.index == 0:
    scheduler.gradient_noise = MarvellNoise(1.0)
scheduler.launch_task("YOUR_TASK_ID")
