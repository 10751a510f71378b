"""Whether what a party holds grows behind its warm-up."""

from __future__ import annotations

from typing import Any

from benchmarks.harness.vitals import growth, thinned

WARM_UP = 0.4

RECORD_BYTES = {"round": 3000, "batch": 32}
"""What the record of a run takes in memory by design, which becomes `metrics.json`: of each round and of each batch."""

ALLOWED = {"MB": 3.0, "threads": 0.5, "descriptors": 0.5, "files": 0.5}
"""From the end of the warm-up to the end of the run; memory beside its record."""

PARTIES = ("host", "collaborator")


def judged(found: dict[str, Any]) -> dict[str, Any]:
    """What a run has found, with how much each thing grew, what is wrong, and no more samples than a plot needs."""
    samples = [
        sample for sample in found.pop("samples") if sample["batches"] and all(name in sample for name in PARTIES)
    ]
    seconds = [sample["seconds"] for sample in samples]
    curves: dict[str, dict[str, list[float]]] = {}
    for name in PARTIES:
        held = [sample[name] for sample in samples]
        record = [_record(sample) for sample in samples]
        curves[name] = {
            "MB": [each[0] - beside for each, beside in zip(held, record)],
            "threads": [each[1] for each in held],
            "descriptors": [each[2] for each in held],
        }
    curves["both"] = {"files": [sample["files"] for sample in samples]}
    lines = []
    for who, each in curves.items():
        for what, values in each.items():
            grown = growth(list(zip(seconds, values)), WARM_UP)
            lines.append({"party": who, "of": what, "growth": round(grown, 3)})
    problems = [
        f"{found['scheme']}: {line['of']} of {line['party']} grew by {line['growth']:g} behind the warm-up, and may by "
        f"{ALLOWED[line['of']]:g}"
        for line in lines
        if line["growth"] > ALLOWED[line["of"]]
    ]
    if found["resumes"] < found["cuts_in_all"]:
        problems.append(f"{found['scheme']}: {found['cuts_in_all']} cuts, and only {found['resumes']} resumptions")
    return {
        **found,
        "seconds": seconds[-1] - seconds[0],
        "transcripts": samples[-1]["transcripts"],
        "growth": lines,
        "problems": problems,
        "curves": {name: _plotted(samples, name) for name in PARTIES},
    }


def _record(sample: dict[str, Any]) -> float:
    """MB that the record of a run takes so far."""
    return (sample["rounds"] * RECORD_BYTES["round"] + sample["batches"] * RECORD_BYTES["batch"]) / 1e6


def _plotted(samples: list[dict[str, Any]], name: str) -> list[list[float]]:
    """[seconds, MB, threads, descriptors], thinned."""
    parts = [thinned([(sample["seconds"], sample[name][at]) for sample in samples]) for at in range(3)]
    return [[round(x, 1), *(round(part[at][1], 2) for part in parts)] for at, (x, _) in enumerate(parts[0])]
