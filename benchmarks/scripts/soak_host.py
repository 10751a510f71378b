"""The host of a task that goes on until a time: $SOAK_UNTIL, in seconds since 1970. See benchmarks/soak."""

import os
import time

from benchmarks.harness.scripts.small import SmallHost
from benchmarks.soak.settings import MOST_ROUNDS, SIZES, WAIT


class SoakHost(SmallHost):
    """Ends behind the first round after that time."""

    def is_task_finished(self) -> bool:
        return time.time() > float(os.environ["SOAK_UNTIL"]) or self._is_reach_max_rounds()


host = SoakHost("host", max_rounds=MOST_ROUNDS, calculation_timeout=WAIT, schedule_timeout=WAIT, log_rounds=1)
host.ids, host.rows = SIZES
host.launch_task("YOUR_TASK_ID")
