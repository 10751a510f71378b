"""Results as Markdown, for docs/performance.md."""

from __future__ import annotations

from typing import Any

from benchmarks.markdown import number, table

HEADINGS = ("processor seconds", "of each more", "MB before", "peak MB", "MB of each more", "threads")


def sizes_table(found: dict[str, Any]) -> str:
    """Tasks at once, then collaborators of one task. "Of each more": since the line above."""
    lines = [line for line in found["lines"] if not line["in_turns"]]
    by_size = {_order(line): line for line in reversed(lines)}  # the first, where a size was measured twice
    return table(
        ["tasks x collaborators", "scheme", *HEADINGS],
        [_row(line, lines) for _, line in sorted(by_size.items())],
    )


def many_table(found: dict[str, Any]) -> str:
    """All."""
    return f"{sizes_table(found)}\n{turns_table(found)}"


def turns_table(found: dict[str, Any]) -> str:
    """One task after another in one process: memory after the first, the third and the last."""
    rows = []
    for line in found["lines"]:
        if line["in_turns"]:
            after = line["mb_after_each"]
            seconds = line["cpu_seconds"] / line["tasks"]
            shown = [number(value) for value in (after[0], after[2], after[-1], line["peak_mb"])]
            rows.append([line["scheme"], str(line["tasks"]), *shown, number(seconds)])
    headings = ("MB after the first", "after the third", "after the last", "peak MB", "processor seconds a task")
    return table(["scheme", "tasks, one after another", *headings], rows)


def _order(line: dict[str, Any]) -> tuple[bool, int, int, int]:
    schemes = ("plain", "masked", "bfv", "paillier")
    return line["collaborators"] > 1, schemes.index(line["scheme"]), line["tasks"], line["collaborators"]


def _row(line: dict[str, Any], lines: list[dict[str, Any]]) -> list[str]:
    before = _before(line, lines)
    more = ["", ""]
    if before is not None:
        count = line["tasks"] * line["collaborators"] - before["tasks"] * before["collaborators"]
        more = [number((line[name] - before[name]) / count) for name in ("cpu_seconds", "peak_mb")]
    size = f"{line['tasks']} x {line['collaborators']}"
    memory = [number(line[name]) for name in ("peak_mb_before", "peak_mb")]
    return [size, line["scheme"], number(line["cpu_seconds"]), more[0], *memory, more[1], str(line["threads"])]


def _before(line: dict[str, Any], lines: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The next smaller one of its kind."""
    size = line["tasks"] * line["collaborators"]
    smaller = [
        each
        for each in lines
        if each["scheme"] == line["scheme"]
        and each["tasks"] * each["collaborators"] < size
        and (each["tasks"] == 1 if line["tasks"] == 1 else each["collaborators"] == 1)
    ]
    return max(smaller, key=lambda each: int(each["tasks"] * each["collaborators"]), default=None)
