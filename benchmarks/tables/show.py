"""What was measured, as a table of the documentation."""

from __future__ import annotations

from typing import Any

from benchmarks.markdown import table

HEADINGS = {"accuracy": "accuracy", "auc": "AUC", "r2": "R²"}
WAYS = {
    "one_process": "the same networks in one process, joined table",
    "host_alone": "the Host's columns alone",
    "collaborator_alone": "the Collaborator's columns alone, with the Host's labels",
    "boosting": "gradient boosting, joined table",
    "boosting_host_alone": "gradient boosting, the Host's columns alone",
}


def markdown(result: dict[str, Any]) -> str:
    """A row for each way, a column for each task's figure."""
    tasks = result["tasks"]
    figures = {name: _figure(task) for name, task in tasks.items()}
    headings = ["", *(f"{name}: {HEADINGS[figures[name]]}" for name in tasks)]
    schemes = list(dict.fromkeys(scheme for task in tasks.values() for scheme in task["together"]))
    rows = [
        [f"together, `{scheme}`", *(_cell(task["together"].get(scheme), figures[name]) for name, task in tasks.items())]
        for scheme in schemes
    ]
    rows += [
        [said, *(_cell(task.get(way), figures[name]) for name, task in tasks.items())] for way, said in WAYS.items()
    ]
    rows.append(["samples trained on, tested on", *(_counts(task["sizes"]) for task in tasks.values())])
    rows.append(["rounds", *(str(task["rounds"]) for task in tasks.values())])
    return table(headings, rows)


def _figure(task: dict[str, Any]) -> str:
    """By which a task is judged."""
    known = next(iter(task["together"].values()))["figures"]
    return next(name for name in ("auc", "r2", "accuracy") if name in known)


def _cell(found: dict[str, Any] | None, figure: str) -> str:
    if found is None:
        return ""
    spread = found.get("deviation", {}).get(figure)
    return f"{found['figures'][figure]:.3f}" + ("" if spread is None else f" ± {spread:.3f}")


def _counts(sizes: dict[str, int]) -> str:
    return f"{sizes['train']:,}, {sizes['test']:,}"
