"""A machine without torchvision: everything but the MNIST example works there, and what needs it says so."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.harness.parties import SCRIPTS, Parties
from benchmarks.harness.processes import ROOT

IMPORT_ALL = """
import importlib, pkgutil, secure_hfl
names = [each.name for each in pkgutil.walk_packages(secure_hfl.__path__, "secure_hfl.")]
for name in names:
    if not name.startswith("secure_hfl.examples.") and name != "secure_hfl.__main__":
        importlib.import_module(name)
print(len(names))
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """In which Python finds no torchvision."""
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['torchvision'] = None\n")
    return {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}


@pytest.fixture
def parties(tmp_path: Path) -> Iterator[Parties]:
    """A host and one collaborator."""
    directory = tmp_path / "parties"
    directory.mkdir()
    parties = Parties(directory)
    yield parties
    parties.stop()


def run(environment: dict[str, str], home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python there."""
    home.mkdir(mode=0o700, exist_ok=True)
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **environment, "SECURE_HFL_HOME": str(home)},
        cwd=home,
    )


def test_torchvision_is_not_found_there(environment: dict[str, str], tmp_path: Path) -> None:
    done = run(environment, tmp_path / "home", "-c", "import torchvision")
    assert "ModuleNotFoundError" in done.stderr, "otherwise the other tests show nothing"


def test_every_module_but_the_examples_can_be_imported(environment: dict[str, str], tmp_path: Path) -> None:
    done = run(environment, tmp_path / "home", "-c", IMPORT_ALL)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 100


FORKED = """
import runpy, sys
assert "torchvision" not in sys.modules, "it was imported before it could be hidden"
sys.modules["torchvision"] = None
sys.path.insert(0, {directory!r})
runpy.run_path({script!r}, run_name="__main__")
"""


def test_a_task_whose_scripts_do_not_need_it_runs(parties: Parties) -> None:
    parties.new_task()
    script = parties.directory / "party.py"
    script.write_text(FORKED.format(directory=str(SCRIPTS), script=str(SCRIPTS / "tiny_party.py")))
    running = [parties.start(name, str(script)) for name in parties.names]
    for party in running:
        ended = party.ended()
        assert ended.code == 0, ended.err


@pytest.mark.parametrize("command", [["demo"], ["bench", "--quick"]], ids=" ".join)
def test_what_needs_it_says_how_to_install_it(environment: dict[str, str], tmp_path: Path, command: list[str]) -> None:
    done = run(environment, tmp_path / "home", "-m", "secure_hfl", *command)
    assert done.returncode == 1
    says = "error: the example mnist_halves needs torchvision: pip install 'secure-hfl[mnist]'"
    assert done.stderr.splitlines() == [says]


def test_the_doctor_says_what_is_missing_and_what_for(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.metadata as metadata, sys\n"
        "sys.modules['torchvision'] = None\n"
        "version = metadata.version\n"
        "def without(name):\n"
        "    if name == 'torchvision':\n"
        "        raise metadata.PackageNotFoundError(name)\n"
        "    return version(name)\n"
        "metadata.version = without\n"
    )
    done = run(environment, tmp_path / "home", "-m", "secure_hfl", "doctor")
    (row,) = (line for line in done.stdout.splitlines() if "torchvision" in line)
    assert "warn" in row
    assert "not installed; needed for the demo, and scripts that import it" in row
    assert "pip install 'torchvision" in row
