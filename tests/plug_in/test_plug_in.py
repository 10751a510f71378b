"""A scheme of another package, with messages of its own: found by its entry point, trained with, recorded, audited.

Its folder is copied out of the tests, as a package that knows nothing of them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.harness import pump
from benchmarks.harness.known_messages import MESSAGE_TYPES
from benchmarks.harness.parties import Parties
from benchmarks.harness.processes import ROOT
from benchmarks.harness.pump import C, H
from protocols.core.errors import InvalidInput
from protocols.core.ledger import public
from protocols.core.message import Message
from protocols.core.wire_format import wire
from protocols.schemes import registry
from protocols.transcript.auditor import audit_run
from protocols.transcript.format import lines_of
from protocols.wire.codec import Catalogue
from secure_hfl.errors import ConfigurationError, SchemeMismatch
from secure_hfl.schemes import load_scheme, scheme_names
from secure_hfl.tasks import create_task, join_task
from tests.protocols.whole_task import Case, Task

SENTENCE = "every feature of party1 to 8 bits, in the clear"
METADATA = "Metadata-Version: 2.1\nName: rounded\nVersion: 1.0\n"
ENTRY_POINTS = "[secure_hfl.schemes]\nrounded = rounded.scheme\n"


def install(directory: Path) -> Path:
    """What pip would put there."""
    shutil.copytree(Path(__file__).parent / "rounded", directory / "rounded")
    about = directory / "rounded-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(METADATA)
    (about / "entry_points.txt").write_text(ENTRY_POINTS)
    return directory


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the package installed in it."""
    return install(tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module")
def parties(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parties]:
    """A host and a collaborator."""
    parties = Parties(tmp_path_factory.mktemp("lab"))
    yield parties
    parties.stop()


@pytest.fixture(scope="module")
def transcripts(site: Path, parties: Parties) -> list[Path]:
    """Both ends' of a run of two processes, which trained."""
    task = parties.new_task(scheme="rounded")
    with_plug_in = {"PYTHONPATH": os.pathsep.join([str(ROOT), str(site)])}
    running = [
        parties.start(name, "tiny_party.py", "--scheme", "rounded", environment=with_plug_in) for name in parties.names
    ]
    for party in running:
        ended = party.ended()
        assert ended.code == 0, ended
    return [next((parties.store(name).directory(task) / "transcripts").glob("*.transcript")) for name in parties.names]


def audit(*paths: Path) -> subprocess.CompletedProcess[str]:
    """`secure-hfl audit FILE FILE`, with these directories to import from."""
    return subprocess.run(
        [sys.executable, "-m", "secure_hfl", "audit", *map(str, paths)],
        env={**os.environ, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_two_processes_train_and_the_audit_shows_what_the_scheme_says_of_itself(
    transcripts: list[Path], site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(site)]))
    audited = audit(*transcripts)
    assert audited.returncode == 0, audited.stdout + audited.stderr
    assert audited.stdout.startswith("Everything holds: ")
    assert SENTENCE in audited.stdout.partition("learned")[2]
    assert "rounded (NOT ENCRYPTED)" in audited.stdout
    unseen = audited.stdout.partition("party0 was never sent")[2].partition("party1 (collaborator)")[0]
    assert "party1's features in the clear" not in unseen
    assert "the gradient of its features for every batch to 8 bits" in audited.stdout
    assert "RoundedFeatures" in audited.stdout


def test_an_audit_without_the_package_says_that_it_does_not_know_the_scheme(
    transcripts: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    audited = audit(*transcripts)
    assert audited.returncode == 1
    assert "there is no scheme 'rounded'; known here: bfv, masked, paillier, plain" in audited.stdout
    assert SENTENCE not in audited.stdout
    assert "Audit where scheme 'rounded' is installed" in audited.stdout
    assert "never sent" not in audited.stdout
    assert "scheme rounded is not installed here" in audited.stdout
    assert "Traceback" not in audited.stdout + audited.stderr


def test_a_collaborator_is_told_of_the_clear_text_before_it_joins(parties: Parties, plugged_in: None) -> None:
    certificates = {"party1": parties.identities["party1"].certificate_pem}
    at_host = parties.store("party0"), parties.identities["party0"]
    _, invite = create_task(*at_host, "quiet", "127.0.0.1:1", "rounded", certificates, "party0")
    with pytest.raises(SchemeMismatch, match=r"asks for scheme rounded: .*unencrypted.*--scheme rounded"):
        join_task(parties.store("party1"), parties.identities["party1"], invite)
    assert join_task(parties.store("party1"), parties.identities["party1"], invite, "rounded").scheme == "rounded"


def test_a_scheme_that_is_not_installed_is_joined_only_by_its_name(parties: Parties) -> None:
    certificates = {"party1": parties.identities["party1"].certificate_pem}
    at_host = parties.store("party0"), parties.identities["party0"]
    _, invite = create_task(*at_host, "unknown", "127.0.0.1:1", "rounded", certificates, "party0")
    with pytest.raises(SchemeMismatch, match="scheme rounded, which is not installed here"):
        join_task(parties.store("party1"), parties.identities["party1"], invite)


@pytest.fixture
def plugged_in(site: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The package is on this process's path, for one test."""
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "rounded"]:
        del sys.modules[name]


@pytest.mark.parametrize("names", [("patient",), ("patient", "shop")], ids=["2-parties", "3-parties"])
@pytest.mark.parametrize("trainable", [True, False], ids=["trained", "frozen"])
def test_a_whole_task_in_memory(
    names: tuple[str, ...], trainable: bool, plugged_in: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "rounded" in scheme_names()
    own = load_scheme("rounded").messages()
    monkeypatch.setattr(pump, "known_catalogue", lambda: Catalogue((*MESSAGE_TYPES, *own)))
    case = Case("rounded", trainable, names=names, has_projection=False, skip=1, tests_every_round=True)
    for line in Task(case).run().lines:
        features = line.features(case.batches[0], 0)
        step = float(abs(features).max()) / 127
        assert line.shown[0] == pytest.approx(features, abs=0.51 * step)
        assert (line.shown[0] != features).any()
        report = audit_run(*([lines_of([line.wire.files[sender]])] for sender in (H, C)))
        assert report.holds, [str(finding) for finding in report.findings]
        sent = {kind: count for (_, kind), (count, _) in report.by_type.items() if kind.startswith("Rounded")}
        # Two rounds of three batches, of which one was skipped; frozen features cross in the first alone.
        assert sent == ({"RoundedFeatures": 10, "RoundedGradient": 4} if trainable else {"RoundedFeatures": 5})


CLASH = """
from rounded.messages import RoundedFeatures, _Rounded
from rounded.scheme import Rounded
from protocols.core.wire_format import wire, wire_format
from protocols.schemes.registry import register_scheme
from dataclasses import dataclass

@wire(1000, ledger=wire_format(RoundedFeatures).ledger)
@dataclass(frozen=True)
class Other(_Rounded):
    '''Takes a number that is taken.'''

@register_scheme("clash")
class Clash(Rounded):
    def messages(self):
        return (RoundedFeatures, Other)
"""


def test_a_scheme_whose_messages_have_one_number_is_refused(
    site: Path, tmp_path: Path, plugged_in: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rounded_clash.py").write_text(CLASH)
    about = tmp_path / "rounded_clash-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(METADATA.replace("rounded", "rounded-clash"))
    (about / "entry_points.txt").write_text("[secure_hfl.schemes]\nclash = rounded_clash\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    clash = r"rounded\.messages\.RoundedFeatures and rounded_clash\.Other have one number, 1000"
    with pytest.raises(ConfigurationError, match=clash):
        load_scheme("clash")
    monkeypatch.delitem(sys.modules, "rounded_clash")


@dataclass(frozen=True)
class Greedy(Message):
    """Of another package, with a number of this project's."""


def test_numbers_of_this_project_are_not_for_others() -> None:
    with pytest.raises(InvalidInput, match="Greedy: its number must be from 1000"):
        wire(50, ledger=public("nothing"))(Greedy)
