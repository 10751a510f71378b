"""What a party does beside its conversation with the others: work that does not depend on data, in own threads."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from secure_hfl.engine.offline_phase import OfflineWorker
from secure_hfl.engine.precomputation import Precomputation


class Background:
    """The threads of one conversation."""

    def __init__(self) -> None:
        self._precomputation = Precomputation(())
        self._offline: OfflineWorker | None = None

    def precompute(self, prepares: Iterable[Callable[[], bool]]) -> None:
        """From now on, make ahead of time what these can."""
        self._precomputation = Precomputation(prepares)
        self._precomputation.start()

    def work_offline(self, worker: OfflineWorker) -> None:
        """From now on, this party takes part in an offline phase."""
        self._offline = worker
        worker.start()

    def wake(self) -> None:
        """Something was used. Raises what went wrong while more was made, if anything did."""
        self._precomputation.wake()

    @property
    def seconds(self) -> float:
        """Processor seconds of precomputation, and wall seconds of the offline phase, so far."""
        return self._precomputation.cpu_seconds + (0.0 if self._offline is None else self._offline.seconds)

    def stop(self) -> None:
        """Finish what is in hand. May be called again."""
        self._precomputation.stop()
        if self._offline is not None:
            self._offline.stop()

    def reset(self) -> float:
        """Stop, and be as new; how many seconds it took in all."""
        self.stop()
        seconds = self.seconds
        self._precomputation, self._offline = Precomputation(()), None
        return seconds
