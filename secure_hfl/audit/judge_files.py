"""`secure-hfl audit --judge`: reads openings and transcripts that are files, and prints what the judge says."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from protocols.core.errors import SecureHflError
from protocols.judge.judge import judge
from protocols.judge.opening import read_opening
from protocols.judge.verdict import Judgement, Outcome, Verdict
from protocols.transcript.format import lines_of
from secure_hfl.audit.file_chunks import chunks_of
from secure_hfl.audit.find_run import find_scheme_of, run_of
from secure_hfl.cli.output import plain, table

_STYLES = {Outcome.CONSISTENT: "green", Outcome.CONVICTS: "bold red", Outcome.UNDECIDED: "yellow"}
_SHOWN = 8
"""Verdicts of one kind that are printed one by one; a file of JSON has all."""


class JudgementFailed(SecureHflError):
    """The files cannot be judged."""


def judge_files(openings: Sequence[Path], transcripts: Iterable[Path], trusted: Collection[str]) -> Judgement:
    """Judge the round that was opened.

    Args:
        openings: one, or both parties'.
        transcripts: of the run, of one end or both; those of its other conversations are found beside each.
        trusted: fingerprints that the parties are known to have.

    Raises:
        SecureHflError: a file cannot be read, or the files do not belong together.
    """
    try:
        read = [read_opening(str(path), path.read_bytes()) for path in openings]
    except OSError as error:
        raise JudgementFailed(f"{error.filename}: {error.strerror}") from error
    files = {path: None for given in transcripts for path in run_of(given).paths}
    for path in files:
        for at, line in zip(range(2), lines_of(chunks_of(path))):
            if at:
                find_scheme_of(line)
    return judge(read, [(str(path), lines_of(chunks_of(path))) for path in files], trusted=trusted)


def print_judgement(out: Console, judgement: Judgement, is_trusted: bool) -> None:
    """Headline, refused openings, a table by message, and every verdict that is not "consistent"."""
    out.print(plain(_headline(judgement), "bold red" if judgement.convicted else "bold"))
    for refusal in judgement.refused:
        out.print(plain(str(refusal), "red"))
    counts = Counter((each.message, each.sender, each.outcome) for each in judgement.verdicts)
    grid = table("Message", "Sent by", "Verdict", "Messages")
    for (message, sender, outcome), number in counts.items():
        grid.add_row(message, sender, plain(outcome.value, _STYLES[outcome]), str(number))
    out.print(grid)
    for outcome in (Outcome.CONVICTS, Outcome.UNDECIDED):
        _print_each(out, judgement.of(outcome))
    if not is_trusted:
        out.print(
            plain("Certificates were taken from the transcripts. Give those you know with --fingerprint: whoever made")
        )
        out.print(plain("up all files could have made up the certificates, too."))


def _headline(judgement: Judgement) -> str:
    where = f"round {judgement.round} of task {judgement.task_id}, opened by {_names(judgement.openers) or 'nobody'}"
    if judgement.convicted:
        return f"{_names(sorted(judgement.convicted))} cheated in {where}"
    if judgement.holds:
        return f"Every message that can be judged is as it should be in {where}"
    return f"Nobody is convicted; not everything could be decided in {where}"


def _names(names: Iterable[str]) -> str:
    return " and ".join(names)


def _print_each(out: Console, verdicts: Sequence[Verdict]) -> None:
    for each in verdicts[:_SHOWN]:
        out.print(plain(str(each), _STYLES[each.outcome]))
    if len(verdicts) > _SHOWN:
        out.print(plain(f"... and {len(verdicts) - _SHOWN} more like these"))


def to_json(judgement: Judgement) -> str:
    """Everything."""
    return json.dumps({"convicted": sorted(judgement.convicted), **asdict(judgement)}, indent=1)
