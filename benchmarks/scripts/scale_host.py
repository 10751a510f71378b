"""The host of a task over as many ids as asked for; see benchmarks/harness/scripts/scale.py."""

from benchmarks.harness.scripts.scale import ScaleHost

ScaleHost("host", max_rounds=1, calculation_timeout=900, schedule_timeout=900).launch_task("YOUR_TASK_ID")
