"""SIGTERM: after the next checkpoint and one batch beyond, or at once where no checkpoint comes."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from secure_hfl.engine.shutdown import Shutdown, ShuttingDown


def test_a_run_that_trains_goes_on_to_the_batch_after_the_next_checkpoint() -> None:
    shutdown = Shutdown()
    with shutdown.training():
        shutdown.checkpoint_made()
        assert shutdown.request()
        shutdown.after_batch()  # the checkpoint was made before: others may not have it yet
        shutdown.checkpoint_made()
        with pytest.raises(ShuttingDown) as ended:
            shutdown.after_batch()
    assert ended.value.code == 143
    assert not Shutdown().request(), "there is no checkpoint to wait for"


def test_the_signal_ends_a_run_that_does_not_train_at_once() -> None:
    before = signal.getsignal(signal.SIGTERM)
    shutdown = Shutdown()
    with pytest.raises(ShuttingDown), shutdown.listening():
        os.kill(os.getpid(), signal.SIGTERM)
    assert shutdown.requested
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_second_signal_does_not_wait() -> None:
    shutdown = Shutdown()
    with shutdown.listening(), shutdown.training():
        os.kill(os.getpid(), signal.SIGTERM)
        assert shutdown.requested
        with pytest.raises(ShuttingDown):
            os.kill(os.getpid(), signal.SIGTERM)


def test_a_run_in_another_thread_leaves_the_signal_alone() -> None:
    before = signal.getsignal(signal.SIGTERM)
    seen: list[object] = []

    def listen() -> None:
        with Shutdown().listening():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()
    assert seen == [before]
