"""A model card of a finished task: who trained what with whom, under which protection, and how good it is.

Everything in it is what this party has signed or measured: terms from its transcripts, which are audited for the card,
metrics from its results, and an evaluation if there is one. It holds no id, weight or prediction.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from secure_hfl.audit.audit_files import audit_files
from secure_hfl.errors import ConfigurationError
from secure_hfl.pages import page
from secure_hfl.prediction.evaluation import Evaluation, NumberEvaluation, shown_figures
from secure_hfl.prediction.trained import Training
from secure_hfl.tasks import TaskRecord, TaskStore
from secure_hfl.transcript import transcripts_of
from secure_hfl.version import __version__

FORMAT = 1


def model_card(
    store: TaskStore, record: TaskRecord, evaluation: Evaluation | NumberEvaluation | None = None
) -> dict[str, Any]:
    """The card as plain JSON data. Raises `TaskError` if its transcripts or metrics are not there."""
    directory = store.directory(record.task_id)
    training = Training.of(directory, record)
    terms = training.terms
    metrics = training.metrics()
    parties = record.participants
    peers = [each.name for each in (record.collaborators if record.role == "host" else (record.host,))]
    last = metrics.rounds[-1] if metrics.rounds else None
    return {
        "format": FORMAT,
        "task": {"id": record.task_id, "name": record.name, "written_by": record.role},
        "software": f"secure-hfl {__version__}",
        "parties": [{"name": each.name, "role": each.role, "certificate": each.fingerprint} for each in parties],
        "training": {
            "manifest": terms.manifest_digest,
            "rounds": len(metrics.rounds),
            "batches": sum(each.batches for each in metrics.rounds),
            "seconds": round(metrics.seconds, 1),
            "samples_in_common": None if metrics.psi is None else metrics.psi.intersection,
            "accuracy": None if last is None else last.accuracy,
            "average_loss": None if last is None else last.average_loss,
            "has_fallback": training.has_fallback,
        },
        "protection": {
            "scheme": terms.scheme,
            "parameters": terms.scheme_parameters,
            "label_epsilon": terms.label_epsilon or None,
            "agreed": {key: each.for_pair() for key, each in training.by_peer.items()},
        },
        "data_check": None if record.data_check is None else record.data_check.model_dump(mode="json"),
        "evaluation": None if evaluation is None else evaluation.model_dump(mode="json"),
        "transcripts": {name: _audited(directory, name, [each.fingerprint for each in parties]) for name in peers},
    }


def _audited(directory: Path, peer: str, certificates: Sequence[str]) -> dict[str, Any]:
    """What an audit of this party's transcripts with a peer comes to, and what they are."""
    paths = transcripts_of(directory / "transcripts", peer)
    audited = audit_files(paths[-1], trusted=certificates)
    digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
    return {"verdict": audited.verdict.value, "findings": len(audited.report.findings), "sha256": digests}


def read_evaluation(path: Path) -> Evaluation | NumberEvaluation:
    """What `secure-hfl evaluate --json` has written. Raises `ConfigurationError`."""
    try:
        return _EVALUATION.validate_json(path.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from error
    except ValidationError:  # whose text would show what else is in the file
        raise ConfigurationError(f"{path} is no evaluation that secure-hfl evaluate --json wrote") from None


_EVALUATION: TypeAdapter[Evaluation | NumberEvaluation] = TypeAdapter(Evaluation | NumberEvaluation)


def card_page(card: Mapping[str, Any]) -> str:
    """The card as one self-contained page of HTML."""
    training, protection, check = card["training"], card["protection"], card["data_check"]
    epsilon = protection["label_epsilon"]
    facts = {
        "Task": card["task"]["id"],
        "Scheme": protection["scheme"],
        "Training labels": "as they are" if epsilon is None else f"epsilon {epsilon:g} for each, over the whole task",
        "Rounds": training["rounds"],
        "Batches": training["batches"],
        "Samples in common": _said(training["samples_in_common"]),
        "Accuracy in the last test": _said(training["accuracy"]),
        "Fallback head": "trained, over the Host's own features" if training["has_fallback"] else "none here",
        "Data check": "not done"
        if check is None
        else f"{'passed' if check['passed'] else 'FAILED'}: {check['message']}",
        "Last manifest": training["manifest"],
    }
    kept = card["transcripts"].items()
    rows = [(peer, each["verdict"], *file) for peer, each in kept for file in each["sha256"].items()]
    return page(
        "model_card.html.j2",
        card=card,
        facts=facts,
        parties=[(each["name"], each["role"], each["certificate"]) for each in card["parties"]],
        terms=[(key, *said) for key, agreed in protection["agreed"].items() for said in agreed.items()],
        transcripts=rows,
        **_evaluated(card["evaluation"]),
    )


def _evaluated(evaluation: Mapping[str, Any] | None) -> dict[str, Any]:
    if evaluation is None:
        return {"figures": {}, "confusion": ((), []), "reliability": []}
    figures = shown_figures(_EVALUATION.validate_python(evaluation))
    if "rmse" in evaluation:
        return {"figures": figures, "confusion": ((), []), "reliability": []}
    headings = ("True class", *(f"as {at}#" for at in range(evaluation["classes"])))
    confusion = [(at, *row) for at, row in enumerate(evaluation["confusion"])]
    reliability = [(f"{mean:.3f}", f"{right:.3f}", count) for mean, right, count in evaluation["reliability"]]
    return {"figures": figures, "confusion": (headings, confusion), "reliability": reliability}


def _said(value: float | None) -> str:
    return "not known" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
