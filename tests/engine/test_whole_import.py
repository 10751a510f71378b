"""An import that an interruption meets is finished all the same."""

import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from secure_hfl.engine.whole_import import import_whole

SLOW = """
import time
with open(__file__ + ".begun", "a") as file:
    file.write("once ")
time.sleep(0.3)
finished = True
"""


def test_ctrl_c_does_not_leave_half_a_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "slow_module.py").write_text(SLOW)
    monkeypatch.syspath_prepend(str(tmp_path))
    begun, main = tmp_path / "slow_module.py.begun", threading.main_thread().ident or 0

    def interrupt() -> None:
        while not begun.exists():
            time.sleep(0.01)
        signal.pthread_kill(main, signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        import_whole("slow_module")
    import_whole("slow_module")
    assert sys.modules.pop("slow_module").finished
    assert begun.read_text() == "once "
