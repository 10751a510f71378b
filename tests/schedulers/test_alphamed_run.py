"""The tutorial's two listings under the AlphaMed platform's names, shrunken, between two processes, encrypted."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from benchmarks.harness.parties import Ended, Parties
from secure_hfl.examples import mnist

LISTINGS = Path(mnist.__file__).parent
SMALLER = {
    "range(0, 20000)": "range(9900, 10200)",
    "range(10000, 30000)": "range(10000, 10300)",
    "range(100000, 105000)": "range(102900, 103100)",
    "range(103000, 107000)": "range(103000, 103200)",
    "ids[:10000]": "ids[:200]",
    "ids[10000:]": "ids[200:]",
    "batch_size=128": "batch_size=80",
}
"""200 samples to train on, in batches of 80, 80 and 40, and 100 to test on."""
NAMES = {
    "HeteroNNHostScheduler": "SecureHeteroNNHostScheduler",
    "HeteroNNCollaboratorScheduler": "SecureHeteroNNCollaboratorScheduler",
    "def test(": "def run_test(",
    "def build_": "def make_",
}
HOST_ARGUMENTS = (
    "project_layer_config=[('demo_host', 20, 20), ('demo_collaborator', {width}, 15)], project_layer_lr=0.02"
)
COLLABORATOR_ARGUMENTS = "project_layer_lr=0.02"


def rewritten(listing: str, arguments: str) -> str:
    """A listing of the tutorial with other names, fewer samples and these arguments of the platform's class."""
    text = (LISTINGS / listing).read_text()
    for old, new in {**SMALLER, **NAMES}.items():
        text = text.replace(old, new)
    text = text.replace(
        "super().__init__(feature_key=feature_key,", f"super().__init__(feature_key=feature_key, {arguments},"
    )
    return text.replace("nn.Linear(40, 20)", "nn.Linear(35, 20)")


@pytest.fixture
def parties(tmp_path: Path) -> Iterator[Parties]:
    """A host and one collaborator."""
    parties = Parties(tmp_path)
    yield parties
    parties.stop()


def run(parties: Parties, width: int = 20) -> tuple[Ended, Ended]:
    """Run the task; how host and collaborator ended."""
    scripts = {
        "party0": rewritten("host.py", HOST_ARGUMENTS.format(width=width)),
        "party1": rewritten("collaborator.py", COLLABORATOR_ARGUMENTS),
    }
    for name, text in scripts.items():
        (parties.directory / f"{name}.py").write_text(text)
    data = {"SECURE_HFL_DATA": str(parties.directory / "data")}
    running = [parties.start(name, str(parties.directory / f"{name}.py"), environment=data) for name in parties.names]
    host, collaborator = (party.ended() for party in running)
    return host, collaborator


def test_the_listings_train_and_test_encrypted_under_the_platforms_names(parties: Parties) -> None:
    task = parties.new_task(scheme="bfv")
    for end in run(parties):
        assert end.code == 0, end.err
    results = parties.homes["party0"] / "tasks" / task / "results"
    metrics = json.loads((results / "metrics.json").read_text())
    (only,) = metrics["rounds"]
    assert (metrics["scheme"], only["batches"]) == ("bfv", 3)
    assert 0 <= only["accuracy"] <= 1
    arrays = load_file(results / "projection.demo_collaborator.safetensors")
    assert (15, 20) in [values.shape for values in arrays.values()], "this party's share"


def test_a_width_that_is_not_the_configured_one_ends_the_task(parties: Parties) -> None:
    parties.new_task(scheme="bfv")
    host, collaborator = run(parties, width=21)
    says = "project_layer_config says that 'demo_collaborator' has features of width 21, but they are 20 wide"
    assert (host.code, collaborator.code) == (1, 1)
    (line,) = host.errors
    assert says in line
    (line,) = collaborator.errors
    assert re.search("demo_host stopped in setting up .*: ConfigurationError$", line), line
