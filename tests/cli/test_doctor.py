"""`secure-hfl doctor`: each check on a healthy machine and on the sick one it is there for."""

import importlib.metadata
import json
import os
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest

from protocols.he import engines
from protocols.task.messages import COMMON_MESSAGES
from protocols.wire.codec import Catalogue
from secure_hfl import identity
from secure_hfl.cli import doctor_checks as checks
from secure_hfl.cli.doctor_row import Row
from secure_hfl.identity import Identity
from secure_hfl.tasks import TaskRecord, TaskStore, create_task, join_task
from secure_hfl.transport.server import PartyServer


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "home"
    path.mkdir(mode=0o700)
    monkeypatch.setenv("SECURE_HFL_HOME", str(path))
    return path


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("", 0)) as server:
        yield server


def _statuses(rows: Iterator[Row]) -> dict[str, str]:
    return {row.check: row.status for row in rows}


def _only(rows: Iterator[Row], status: str) -> Row:
    (row,) = list(rows)
    assert row.status == status, row
    assert bool(row.fix) == (status != "ok"), "what is wrong has a fix, what is right has none"
    return row


def test_the_whole_report_as_table_and_json(home: Path, clinic, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(checks, "declared_ranges", lambda: {})
    table = clinic.run("doctor")
    report = clinic.run("doctor", "--json")
    values = json.loads(report.stdout)
    assert values["ok"] is True, values
    assert (table.exit_code, report.exit_code) == (0, 0)
    assert all(set(row) == {"check", "status", "detail", "fix"} for row in values["checks"])
    names = {row["check"] for row in values["checks"]}
    assert {
        "python",
        "torch",
        "torchvision import",
        "home directory",
        "identity",
        "clock",
        "disk",
        "MNIST data",
    } <= names
    assert all(name in table.stdout for name in names)
    assert "Ready." in table.stdout


def test_one_failed_check_makes_the_exit_code_1(clinic, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(checks, "check_all", lambda: iter([Row("disk", "fail", "[full]", "delete")]))
    result = clinic.run("doctor")
    assert result.exit_code == 1
    assert "[full]" in result.stdout
    assert "Not ready" in result.stdout
    assert json.loads(clinic.run("doctor", "--json").stdout)["ok"] is False


def test_a_check_that_breaks_down_fails_and_the_others_go_on(home: Path, monkeypatch: pytest.MonkeyPatch):
    def check_disk(home: Path) -> Iterator[Row]:
        raise RuntimeError("no such disk")

    monkeypatch.setattr(checks, "check_disk", check_disk)
    rows = {row.check: row for row in checks.check_all()}
    assert (rows["disk"].status, rows["disk"].detail) == ("fail", "RuntimeError: no such disk")
    assert "clock" in rows


def test_an_unusable_home_fails_once(home: Path):
    home.chmod(0o777)
    rows = [row for row in checks.check_all() if row.status == "fail"]
    assert [row.check for row in rows] == ["home directory"]
    assert rows[0].fix == f"chmod 700 {home}"


@pytest.mark.parametrize(
    ("version", "wanted", "fits"),
    [
        ("2.13.0+cpu", ">=2.4,<2.14", True),
        ("2.14.0", ">=2.4,<2.14", False),
        ("2.3.9", ">=2.4", False),
        ("3.0rc1", ">=2.4", True),
        ("1", "", True),
    ],
)
def test_versions_against_ranges(version: str, wanted: str, fits: bool):
    assert checks.version_fits(version, wanted) is fits


def test_packages_that_are_missing_or_out_of_range(monkeypatch: pytest.MonkeyPatch):
    ranges = {"python": ">=3.10", "torch": "<1", "tenseal": "<0.1", "phe": ">=1.5"}
    monkeypatch.setattr(checks, "declared_ranges", lambda: ranges)
    installed = {
        "torch": "2.0",
        "tenseal": "0.3",
        "grpcio": "1.70",
        "cryptography": "45",
        "gmpy2": "2.2",
        "torchvision": "1",
    }

    def version(name: str) -> str:
        if name not in installed:
            raise importlib.metadata.PackageNotFoundError(name)
        return installed[name]

    monkeypatch.setattr(checks.metadata, "version", version)
    rows = {row.check: row for row in checks.check_versions()}
    assert {name: row.status for name, row in rows.items()} == {
        "python": "ok",
        "torch": "fail",
        "torchvision": "ok",
        "grpcio": "ok",
        "cryptography": "ok",
        "gmpy2": "ok",
        "tenseal": "warn",
        "phe": "warn",
        "ipp-crypto": "warn",
    }
    assert rows["torch"].detail == "2.0 (wants <1)"
    assert rows["torch"].fix == "pip install 'torch<1'"
    assert rows["phe"].detail == "not installed; needed for the scheme paillier"


def test_ranges_come_from_the_installed_metadata(monkeypatch: pytest.MonkeyPatch):
    requires = ["torch<2.14,>=2.4", "ipp-crypto>=2026.2; sys_platform == 'linux' and extra == 'fast'"]
    own = SimpleNamespace(requires=requires, metadata=SimpleNamespace(json={"requires_python": ">=3.10"}))
    monkeypatch.setattr(checks.metadata, "distribution", lambda name: own)
    assert checks.declared_ranges() == {"torch": "<2.14,>=2.4", "ipp-crypto": ">=2026.2", "python": ">=3.10"}


def test_without_metadata_the_ranges_are_unknown_but_nothing_fails(monkeypatch: pytest.MonkeyPatch):
    find = importlib.metadata.distribution

    def all_but_ours(name: str) -> importlib.metadata.Distribution:
        if name == checks.DISTRIBUTION:
            raise importlib.metadata.PackageNotFoundError(name)
        return find(name)

    monkeypatch.setattr(checks.metadata, "distribution", all_but_ours)
    statuses = _statuses(checks.check_versions())
    assert statuses["secure-hfl"] == "warn"
    assert "fail" not in statuses.values()


def test_torchvision_that_imports_does_not_and_is_missing(monkeypatch: pytest.MonkeyPatch):
    _only(checks.check_torchvision(), "ok")
    broken = RuntimeError("operator torchvision::nms does not exist")
    monkeypatch.setattr(checks.importlib, "import_module", Mock(side_effect=broken))
    assert _only(checks.check_torchvision(), "fail").detail == f"RuntimeError: {broken}"
    monkeypatch.setitem(sys.modules, "torchvision", None)
    assert not list(checks.check_torchvision())


def test_the_fast_path(monkeypatch: pytest.MonkeyPatch):
    module = SimpleNamespace(available=lambda: True, why_unavailable=lambda: None)
    monkeypatch.setattr(checks.importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(checks.importlib, "import_module", lambda name: module)
    _only(checks.check_fast_path(), "ok")
    module.available, module.why_unavailable = lambda: False, lambda: "no AVX-512 IFMA"
    assert "no AVX-512 IFMA" in _only(checks.check_fast_path(), "warn").detail
    monkeypatch.setattr(checks.importlib.util, "find_spec", lambda name: None)
    assert list(checks.check_fast_path()) == []


def test_what_computes_bfv(monkeypatch: pytest.MonkeyPatch):
    for variable in (engines.SWITCH, engines.CHOICE, engines.PACKING):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(engines, "instruction_sets", lambda: ("avx2", "scalar"))
    assert _only(checks.check_arithmetic(), "ok").detail == "native, AVX2; a host here asks for 16 sums in a reply"
    monkeypatch.setenv(engines.CHOICE, "ifma")
    assert "cannot be used here, only: avx2, scalar" in _only(checks.check_arithmetic(), "fail").detail
    monkeypatch.setenv(engines.SWITCH, "1")
    by_seal = "SEAL; a host here asks for a reply for each sum"
    assert _only(checks.check_arithmetic(), "warn").detail == f"{by_seal}: SECURE_HFL_NO_NATIVE is set"
    monkeypatch.delenv(engines.SWITCH)
    monkeypatch.delenv(engines.CHOICE)
    monkeypatch.setattr(engines, "instruction_sets", lambda: ())
    assert _only(checks.check_arithmetic(), "warn").detail == f"{by_seal}: the native module was not built"


def test_modes_of_the_home_and_its_secrets(home: Path):
    Identity.load_or_create(home, "clinic")
    TaskStore(home)
    _only(checks.check_modes(home), "ok")
    (home / "identity" / "key.pem").chmod(0o640)
    (home / "tasks.sqlite").chmod(0o604)
    rows = list(checks.check_modes(home))
    assert [row.status for row in rows] == ["fail", "fail"]
    assert "key.pem" in rows[0].detail
    for row in rows:
        subprocess.run(shlex.split(row.fix), check=True)
    _only(checks.check_modes(home), "ok")


def test_an_identity_that_is_missing_fine_expiring_expired_or_broken(home: Path, monkeypatch: pytest.MonkeyPatch):
    assert "secure-hfl identity" in _only(checks.check_identity(home), "warn").fix
    own = Identity.load_or_create(home, "clinic")
    assert own.fingerprint in _only(checks.check_identity(home), "ok").detail
    with _in(monkeypatch, 5 * 365 - 20):
        row = _only(checks.check_identity(home), "warn")
        assert "in 20 days" in row.detail
        assert "secure-hfl identity" in row.fix
    for days, text in ((5 * 365 + 1, "expired on"), (-2, "valid from")):
        with _in(monkeypatch, days):
            assert text in _only(checks.check_identity(home), "fail").detail
    (home / "identity" / "key.pem").write_text("broken")
    _only(checks.check_identity(home), "fail")


@contextmanager
def _in(monkeypatch: pytest.MonkeyPatch, days: float) -> Iterator[None]:
    """As many days from now (less a minute), as far as certificates are concerned."""
    then = datetime.now(timezone.utc) + timedelta(days=days, minutes=-1)
    with monkeypatch.context() as patched:
        patched.setattr(identity, "datetime", SimpleNamespace(now=lambda zone: then))
        yield


def test_certificates_of_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    ours, theirs, record = _tasks(tmp_path, 50051)
    assert "1 of other parties" in _only(checks.check_certificates(ours.home), "ok").detail
    for days, text in ((5 * 365 - 20, "in 20 days"), (5 * 365 + 1, "expired on"), (-2, "not valid before")):
        with _in(monkeypatch, days):
            for store, peer in ((ours, "bank"), (theirs, "clinic")):
                row = _only(checks.check_certificates(store.home), "warn")
                assert row.check == f"certificate of {peer}"
                assert text in row.detail
                assert "(task digits)" in row.detail
    ours.start(record.task_id)
    ours.finish(record.task_id, {}, [])
    assert list(checks.check_certificates(ours.home)) == [], "a finished task needs no certificate any more"


def test_a_clock_that_runs_behind(home: Path, monkeypatch: pytest.MonkeyPatch):
    Identity.load_or_create(home, "clinic")
    assert _statuses(checks.check_clock(home)) == {"clock": "ok", "monotonic clock": "ok"}
    tomorrow = time.time() + 86400
    (home / "note").touch()
    os.utime(home / "note", (tomorrow, tomorrow))
    rows = [row for row in checks.check_clock(home) if row.status == "fail"]
    assert ["24.0 h behind the newest file" in row.detail for row in rows] == [True]
    (home / "note").unlink()
    now = checks.utc_now()
    monkeypatch.setattr(checks, "utc_now", lambda: now - timedelta(days=30))
    details = " ".join(row.detail for row in checks.check_clock(home) if row.status == "fail")
    assert "behind the beginning of the certificate" in details


@pytest.mark.parametrize(("free", "status"), [(10 << 30, "ok"), (500 << 20, "warn"), (1 << 20, "fail")])
def test_free_disk(home: Path, monkeypatch: pytest.MonkeyPatch, free: int, status: str):
    monkeypatch.setattr(checks.shutil, "disk_usage", lambda path: SimpleNamespace(free=free))
    _only(checks.check_disk(home), status)


def test_mnist_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    _only(checks.check_mnist(), "ok")
    monkeypatch.setattr(checks, "files", lambda package: tmp_path)
    row = _only(checks.check_mnist(), "warn")
    assert all(name in row.detail for name in checks.MNIST_FILES)


def _tasks(tmp_path: Path, port: int) -> tuple[TaskStore, TaskStore, TaskRecord]:
    host, bank = Identity.create("clinic"), Identity.create("bank")
    ours, theirs = TaskStore(tmp_path / "host"), TaskStore(tmp_path / "bank")
    record, invite = create_task(ours, host, "digits", f"127.0.0.1:{port}", "bfv", {"bank": bank.certificate_pem})
    join_task(theirs, bank, invite)
    return ours, theirs, record


def test_a_port_that_is_taken_and_a_host_that_answers(tmp_path: Path, listener: socket.socket):
    ours, theirs, record = _tasks(tmp_path, listener.getsockname()[1])
    row = _only(checks.check_tasks(ours.home), "fail")
    assert row.check == f"task {record.task_id[:8]} (digits)"
    assert "cannot listen on port" in row.detail
    assert "answers" in _only(checks.check_tasks(theirs.home), "ok").detail
    ours.start(record.task_id)
    assert "running now" in _only(checks.check_tasks(ours.home), "ok").detail
    ours.finish(record.task_id, {}, [])
    assert list(checks.check_tasks(ours.home)) == []


def test_a_running_host_shows_its_version_of_tls(tmp_path: Path):
    homes = [tmp_path / name for name in ("host", "bank")]
    clinic, bank = (Identity.load_or_create(home, home.name) for home in homes)
    with PartyServer("127.0.0.1:0", clinic) as server:
        pems = {"bank": bank.certificate_pem}
        _, invite = create_task(TaskStore(homes[0]), clinic, "digits", f"127.0.0.1:{server.port}", "bfv", pems)
        join_task(TaskStore(homes[1]), bank, invite)
        row = _only(checks.check_tasks(homes[1]), "warn")
        assert "answers, but not as 'host'" in row.detail, "no open task lists our certificate yet"
        with server.open_task(invite.task_id, pems, Catalogue(COMMON_MESSAGES)):
            assert "TLSv1.3 and the pinned" in _only(checks.check_tasks(homes[1]), "ok").detail
    with PartyServer(f"127.0.0.1:{server.port}", Identity.create("host")):
        row = _only(checks.check_tasks(homes[1]), "warn")
        assert "not as 'host': self-signed certificate" in row.detail


def test_a_free_port_and_a_host_that_is_not_there(tmp_path: Path, listener: socket.socket):
    port = listener.getsockname()[1]
    listener.close()
    ours, theirs, _ = _tasks(tmp_path, port)
    _only(checks.check_tasks(ours.home), "ok")
    row = _only(checks.check_tasks(theirs.home), "warn")
    assert "Connection refused" in row.detail
    assert "'clinic'" in row.fix
