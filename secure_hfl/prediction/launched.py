"""What `launch_task` of a script does under `secure-hfl predict`, `serve` and `evaluate`, in place of training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from secure_hfl.errors import ConfigurationError
from secure_hfl.log import logger


class Launched:
    """Stands where a `mock_context` stands.

    Args:
        wanted: the class of scheduler that the script must launch.
        command: for errors.
        run: what is done with the scheduler, given the task's reference.

    Attributes:
        is_done: whether the script has launched one.
    """

    def __init__(self, wanted: type[Any], command: str, run: Callable[[Any, str], None]) -> None:
        self._wanted, self._command, self._run = wanted, command, run
        self.is_done = False

    def launch(self, scheduler: Any, reference: str) -> None:
        """In place of `launch_task`."""
        if not isinstance(scheduler, self._wanted):
            raise ConfigurationError(
                f"secure-hfl {self._command} is for scripts of a {self._wanted.__name__}, and this one launches a "
                f"{type(scheduler).__name__}"
            )
        if self.is_done:
            raise ConfigurationError(f"secure-hfl {self._command} is for scripts that launch one task")
        self.is_done = True
        self._run(scheduler, reference)

    def data_checked(self, name: str, passed: bool, message: str) -> None:
        """In place of keeping the verdict of a `DataChecker`: it was of the training."""
        logger.info(f"{name}: {'passed' if passed else 'FAILED'}: {message}")
