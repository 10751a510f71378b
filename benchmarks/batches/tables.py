"""Results as Markdown, for people and for docs/performance.md."""

from __future__ import annotations

from typing import Any

from benchmarks.markdown import number, table

HEADINGS = ("ms a batch", "processor ms, all parties", "kB a batch")

CORES = 2
"""That all parties of a measured task share."""


def widths_table(found: dict[str, Any]) -> str:
    """By width, then scheme."""
    rows = [
        [str(each["features"]), each["scheme"], *_times(each["rounds"][0])]
        for each in sorted(found["cases"], key=lambda each: (each["features"], _order(each)))
    ]
    return table(["features and width", "scheme", *HEADINGS], rows)


def collaborators_table(found: dict[str, Any]) -> str:
    """By the number of collaborators, then scheme."""
    rows = [
        [str(each["collaborators"]), each["scheme"], *_times(each["rounds"][0])]
        for each in sorted(found["cases"], key=lambda each: (each["collaborators"], _order(each)))
    ]
    return table(["collaborators", "scheme", *HEADINGS], rows)


def sustained_table(found: dict[str, Any]) -> str:
    """Rounds that follow each other: seconds of each, the processor's of all, and both against plain's.

    The last column is the first ratio if neither core had ever been idle: less is not possible with as much work.
    """
    plain = next((each for each in found["cases"] if each["scheme"] == "plain"), None)
    rows = []
    for each in sorted(found["cases"], key=_order):
        seconds, processor = _seconds(each), _processor(each)
        ratios = ["", "", ""]
        if plain is not None and each is not plain:
            least = processor / CORES / _seconds(plain)
            ratios = [number(seconds / _seconds(plain)), number(processor / _processor(plain)), number(least)]
        rounds = " ".join(number(one["train_seconds"]) for one in each["rounds"])
        rows.append([each["scheme"], rounds, number(seconds), ratios[0], number(processor), *ratios[1:]])
    headings = [
        "scheme",
        "seconds by round",
        "in all",
        "/ plain",
        "processor",
        "/ plain",
        "if no core were idle, / plain",
    ]
    return table(headings, rows)


TABLES = {"widths": widths_table, "collaborators": collaborators_table, "sustained": sustained_table}


def _times(done: dict[str, Any]) -> list[str]:
    names = ("batch_milliseconds", "processor_milliseconds")
    return [*(number(done[name]) for name in names), number(done["bytes_a_batch"] / 1e3)]


def _order(case: dict[str, Any]) -> int:
    known = ("plain", "masked", "bfv")
    return known.index(case["scheme"]) if case["scheme"] in known else len(known)


def _seconds(case: dict[str, Any]) -> float:
    return sum(float(each["train_seconds"]) for each in case["rounds"])


def _processor(case: dict[str, Any]) -> float:
    return sum(each["batches"] * each["processor_milliseconds"] for each in case["rounds"]) / 1e3
