"""Whole runs of real parties, after which every known secret is sought in everything they left, showed or sent.

The spy notes the secrets as they come into being; `PERMITS` says which of them may stand where, and why. Anything else
that is found fails, and so does a permit for something that is not there any more.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

import pytest

from tests.secrets.evidence import FAILURE, HOST, OTHER, RUNS, Evidence
from tests.secrets.search import Finding, Search


@dataclass(frozen=True)
class Permit:
    """A kind of secret that may stand in some places, both as patterns. `{own}` is the party whose secret it is."""

    label: str
    place: str
    reason: str

    def covers(self, finding: Finding) -> bool:
        """Whether it is this that was found."""
        owner, _, label = finding.label.partition(" ")
        place = self.place.replace("{own}", owner)
        return re.fullmatch(self.label, label) is not None and re.fullmatch(place, finding.place) is not None


ENCRYPTED = "(bfv|masked|paillier)"
NONCE = r"bytes of the system for (engine\.collaborator|task\.agreement)\..*"
LABEL_KEY = r"bytes of the system for checkpoints\.label_key\.open"
CHECKPOINT = r"home/{own}/tasks/(failing/checkpoints/checkpoint-\d+|\w+/results/state/checkpoint-1)\.bin"
ANY_CHECKPOINT = CHECKPOINT.replace("{own}", "party.")
PERMITS = (
    Permit("identity key", r"home/{own}/identity/key\.pem", "it is kept here"),
    Permit(
        "share of the weights",
        rf"home/{{own}}/tasks/{ENCRYPTED}/results/projection\.party1\.safetensors",
        "a party's half of the layer is its result; without the other half it is uniform",
    ),
    Permit(
        "weights of a model",
        r"home/{own}/tasks/\w+/results/(feature|infer)_model\.safetensors",
        "a party's own models are its result",
    ),
    Permit(
        "(share of the weights|weights of a model)",
        CHECKPOINT,
        "what an interrupted task goes on with; of a finished one the last, which predicts",
    ),
    Permit("sample id of both", ANY_CHECKPOINT, "the intersection is never found out twice"),
    Permit(
        r"(smoothing key|bytes of a stream for layer\.smoothing\.__init__)",
        CHECKPOINT,
        "a question that was answered before the interruption must get the same noise after it",
    ),
    Permit(
        LABEL_KEY,
        r"home/party0/tasks/failing/checkpoints/label-key\.json",
        "labels that were drawn stay drawn while the task is unfinished",
    ),
    Permit(NONCE, r"\w+/wire/party1/Hello", "the collaborator's nonce goes to the host"),
    Permit(NONCE, r"\w+/wire/party0/Manifest", "both nonces go to everybody"),
    Permit(
        r"(bytes of the system for he\.bfv\._public_seed|seed of a stream for he\.(bfv_wire|native\.core)\.\w+)",
        r"\w+/(wire/party./\w+|process/party./shown)",
        "a seed stands for c1 of a ciphertext, which is public",
    ),
    Permit("session id", r"\w+/wire/party./(Manifest|PsiOpen)", "all parties of a task have it in common"),
    Permit(
        r"ring elements for schemes\.(encrypted|masked)\.host\._check",
        r"\w+/wire/party0/(CheckQuery|MaskedCheck)",
        "the host's random combination is its question; what hides the answer are masks",
    ),
    Permit(
        r"(bytes of the system|seed of a stream) for schemes\.shares\.form_test\.\w+",
        r"\w+/wire/party./FormQuery",
        "which rows a test of the form pairs, and with which signs, is its question; what hides the answer are masks",
    ),
    Permit(
        r"ring elements for schemes\.shares\.share_marks\._fresh_mask",
        rf"({ANY_CHECKPOINT}|home/party./tasks/{ENCRYPTED}/results/projection\.party1\.safetensors)",
        "by what a party tests the other's share when the task goes on, or predicts; in a layer this narrow a row of "
        "the combination may be zero, and then the other keeps the mask alone, which it cannot tell",
    ),
    Permit(
        r"bytes of the system for progress_file\.__init__",
        r"home/{own}/tasks/\w+/progress\.jsonl",
        "the name of a run, by which one run's progress is told from the next one's",
    ),
    Permit("features", "plain/wire/party1/PlainFeatures", "plain hides nothing"),
    Permit("text of a user's error", r"stderr/party1", "what only concerns the party that failed is told to it"),
    Permit("text of a user's error", r"home/party1/(tasks/failing/log\.txt|secure-hfl\.log)", "and logged there"),
    Permit("text of a user's error", r"failing/process/party1/shown", "the error is alive there"),
)

KINDS = {
    *(
        "identity key",
        "PSI scalar",
        "PSI order",
        "PSI shared point",
        "hashed id",
        "sample id of both",
        "sample id of one",
        "session id",
    ),
    *("bfv key", "paillier key", "paillier exponent", "features", "weights of a model"),
    *("share of the weights", "factor of the weights", "mask of a triple", "share of a triple"),
    *("smoothing key", "smoothing noise", "seed of a stream for", "bytes of a stream for", "bytes of the system for"),
}
"""What the spy must have seen at both parties, or it looks in the wrong place."""


@pytest.fixture(scope="session")
def found(evidence: Evidence) -> set[Finding]:
    """Every secret that stands anywhere."""
    search = Search(evidence.secrets)
    return {finding for place, data in evidence.places.items() for finding in search.in_bytes(place, data)}


def test_the_runs_went_as_they_should(evidence: Evidence) -> None:
    for name in (HOST, OTHER):
        ended = evidence.ended[name]
        assert ended.code == 1, ended.err
        assert "Traceback" in ended.err
        (error,) = ended.errors
        assert error.startswith(FAILURE)
        verdicts = {run: evidence.places[f"command/{name}/audit {run}"].decode() for run in RUNS}
        assert all("holds" in text.lower() for run, text in verdicts.items() if run != "failing")


@pytest.mark.parametrize("name", [HOST, OTHER])
def test_the_spy_saw_every_kind_of_secret(evidence: Evidence, name: str) -> None:
    labels = Counter(secret.label for secret in evidence.secrets)
    unseen = [kind for kind in KINDS if not any(label.startswith(f"{name} {kind}") for label in labels)]
    assert not unseen


@pytest.mark.parametrize("run", RUNS)
def test_everything_was_there_to_be_searched(evidence: Evidence, run: str) -> None:
    for name in (HOST, OTHER):
        files = [f"home/{name}/tasks/{run}/log.txt", f"home/{name}/tasks.sqlite", f"report/{name}/{run}.html"]
        process = [f"{run}/process/{name}/{what}" for what in ("cmdline", "environ", "progress", "shown")]
        commands = [f"command/{name}/{what}" for what in ("--help", "doctor", f"task show {run}", f"audit {run}")]
        for place in [*files, *process, *commands, f"stderr/{name}", f"{run}/tcp", f"{run}/wire/{name}/PsiPoints"]:
            assert len(evidence.places[place]) > 20, place


def test_the_key_of_drawn_labels_is_gone_with_its_task(evidence: Evidence, found: set[Finding]) -> None:
    labels = Counter(secret.label for secret in evidence.secrets if re.fullmatch(f"party0 {LABEL_KEY}", secret.label))
    assert labels.total() == len(RUNS), "one for each"
    places = {finding.place for finding in found if re.fullmatch(f"party0 {LABEL_KEY}", finding.label)}
    assert places == {"home/party0/tasks/failing/checkpoints/label-key.json"}


def test_no_secret_stands_where_it_may_not(found: set[Finding]) -> None:
    unwanted = [finding for finding in found if not any(permit.covers(finding) for permit in PERMITS)]
    assert not unwanted, "\n".join(sorted(f"{each.label} as {each.encoding} in {each.place}" for each in unwanted))


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_one_more_in_a_log_would_be_seen(evidence: Evidence, kind: str) -> None:
    secret = next(each for each in evidence.secrets if each.label.startswith(f"{HOST} {kind}"))
    place = f"home/{HOST}/tasks/bfv/log.txt"
    log = evidence.places[place]
    shown = secret.data if secret.form in ("order", "float32") else secret.data.hex().encode()
    seen = Search([secret]).in_bytes(place, log[:100] + shown + log[100:])
    assert seen
    assert not [permit for permit in PERMITS if any(permit.covers(finding) for finding in seen)]


@pytest.mark.parametrize("permit", PERMITS, ids=lambda permit: f"{permit.label} in {permit.place}")
def test_no_permit_is_stale(found: set[Finding], permit: Permit) -> None:
    assert any(permit.covers(finding) for finding in found)


def test_modes_do_not_depend_on_the_umask(evidence: Evidence) -> None:
    """The parties ran with a umask of 0."""
    wide = {place for place, mode in evidence.modes.items() if place.startswith("home/") and mode & 0o077}
    # A certificate is public. TensorBoard makes its own directory, in one that nobody else can enter.
    assert {
        place for place in wide if not re.search(r"/identity/certificate\.pem$|/results/tensorboard", place)
    } == set()
