"""The collaborator of a task over as many ids as asked for; see benchmarks/harness/scripts/scale.py."""

from benchmarks.harness.scripts.scale import ScaleCollaborator

ScaleCollaborator("collaborator", schedule_timeout=900).launch_task("YOUR_TASK_ID")
