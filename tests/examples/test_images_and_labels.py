"""Images at one site, labels at another: the example's own classes, in one process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from secure_hfl import mock_context
from secure_hfl.examples import catalogue
from secure_hfl.examples.images_and_labels import digits
from secure_hfl.examples.images_and_labels.collaborator import Clinic
from secure_hfl.examples.images_and_labels.host import Registry
from secure_hfl.run_options import RunOptions
from tests.engine.memory_parties import COLLABORATOR, HOST, MemoryParties


def test_the_catalogue_has_its_numbers() -> None:
    example = catalogue.find("images_and_labels")
    held = [set(digits.local_ids(party)) for party in (digits.REGISTRY, digits.CLINIC)]
    train, test = digits.split(held[0] & held[1])
    assert example.local_ids == tuple(map(len, held))
    assert (example.train_ids, example.test_ids) == (len(train), len(test))


def test_the_registrys_script_can_be_tried_out_alone() -> None:
    with mock_context(peers={digits.CLINIC: digits.PROJECTION}) as mock:
        Registry(digits.REGISTRY, max_rounds=1, log_rounds=1, projection=digits.PROJECTION).launch_task("any")
    assert {finding.status for finding in mock.findings} == {"ok"}


def test_a_registry_learns_to_read_the_clinics_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digits, "CLINIC", COLLABORATOR)
    parties = MemoryParties(tmp_path, "plain")
    schedulers: Any = parties.schedulers
    schedulers[HOST] = Registry(HOST, max_rounds=2, log_rounds=1, projection=digits.PROJECTION)
    schedulers[COLLABORATOR] = Clinic(COLLABORATOR)
    parties.begin(RunOptions())
    parties.execute()
    assert not parties.errors
    accuracy = parties.metrics(HOST).rounds[-1].accuracy
    assert accuracy is not None
    assert accuracy > 0.85
