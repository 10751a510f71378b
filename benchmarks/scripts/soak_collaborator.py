"""The collaborator of benchmarks/soak."""

from benchmarks.harness.scripts.small import SmallCollaborator
from benchmarks.soak.settings import SIZES, WAIT

collaborator = SmallCollaborator("collaborator", schedule_timeout=WAIT)
collaborator.ids, collaborator.rows = SIZES
collaborator.launch_task("YOUR_TASK_ID")
