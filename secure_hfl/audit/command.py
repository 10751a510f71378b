"""`secure-hfl audit`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from secure_hfl.audit.audit_files import Audited

_FINGERPRINT_DIGITS = 64

Transcript = Annotated[Path, typer.Argument(metavar="TRANSCRIPT", help="A party's transcript; `task show` names it.")]
Peer = Annotated[
    Path | None, typer.Argument(metavar="[PEER_TRANSCRIPT]", help="That of the other end of the same run.")
]
Others = Annotated[
    list[Path] | None,
    typer.Option("--other", metavar="RUN", help="A transcript of another run, to find what was used in both; repeat."),
]
Fingerprints = Annotated[
    list[str] | None,
    typer.Option(
        "--fingerprint", metavar="SHA256", help="A party's certificate, as you know it from elsewhere; once for each."
    ),
]
JsonFile = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write everything here as JSON.")]
HtmlFile = Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write one self-contained page here.")]
Openings = Annotated[
    list[Path] | None,
    typer.Option(
        "--judge",
        metavar="OPENING",
        help="Judge a round that a party has opened (`task open-round`); once for each party that has.",
    ),
]
IsLive = Annotated[bool, typer.Option("--live", help="Follow the transcript of a running task, then audit it.")]


def audit(
    transcript: Transcript,
    peer: Peer = None,
    other: Others = None,
    fingerprint: Fingerprints = None,
    json_file: JsonFile = None,
    html_file: HtmlFile = None,
    live: IsLive = False,
    openings: Openings = None,
) -> None:
    """Check what crossed the wire in a run, and say who learned what.

    The verdict is the first line and the last one. Exit code 0 only if everything holds.
    """
    from secure_hfl.audit.audit_files import Verdict, audit_files
    from secure_hfl.audit.terminal import print_audit, print_verdict
    from secure_hfl.audit.watch import watch
    from secure_hfl.cli.output import console, plain
    from secure_hfl.errors import ConfigurationError

    if openings:
        if live or html_file is not None or other:
            raise ConfigurationError("--judge goes with transcripts, --fingerprint and --json only")
        _judge(openings, [transcript, *([peer] if peer else [])], fingerprint or [], json_file)
        return
    others = other or []
    trusted = tuple(_fingerprint(text) for text in fingerprint or [])
    outputs = [path for path in (json_file, html_file) if path is not None]
    inputs = [transcript, *([peer] if peer else []), *others]
    for path in outputs:
        if any(_is_same(path, each) for each in inputs):
            raise ConfigurationError(f"{path} is a transcript; write the report to another file")
    out = console()
    if live:
        if peer or others:
            raise ConfigurationError("--live follows one transcript; compare it with others when the run is over")
        audited = watch(transcript, out, trusted, with_timeline=html_file is not None)
    else:
        audited = audit_files(transcript, peer, others, trusted, with_timeline=html_file is not None)
    print_audit(out, audited)
    _write(audited, json_file, html_file)
    for path in outputs:
        out.print(plain(f"Written: {path}"))
    print_verdict(out, audited)
    if audited.verdict is not Verdict.HOLDS:
        raise typer.Exit(1)


def _judge(openings: list[Path], transcripts: list[Path], fingerprints: list[str], json_file: Path | None) -> None:
    from secure_hfl.audit.judge_files import judge_files, print_judgement, to_json
    from secure_hfl.cli.output import console
    from secure_hfl.errors import ConfigurationError

    if json_file is not None and any(_is_same(json_file, each) for each in (*openings, *transcripts)):
        raise ConfigurationError(f"{json_file} is one of the files to judge; write the report to another file")
    trusted = [_fingerprint(text) for text in fingerprints]
    judgement = judge_files(openings, transcripts, trusted)
    print_judgement(console(), judgement, bool(trusted))
    if json_file is not None:
        try:
            json_file.write_text(to_json(judgement) + "\n", encoding="ascii")
        except OSError as error:
            raise ConfigurationError(f"the report cannot be written: {error.filename}: {error.strerror}") from error
    if not judgement.holds:
        raise typer.Exit(1)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("audit")(audit)


def _write(audited: Audited, json_file: Path | None, html_file: Path | None) -> None:
    from secure_hfl.audit.page import page
    from secure_hfl.audit.report_text import to_json
    from secure_hfl.errors import ConfigurationError

    try:
        if json_file is not None:
            json_file.write_text(json.dumps(to_json(audited), indent=1) + "\n", encoding="ascii")
        if html_file is not None:
            html_file.write_text(page(audited), encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"the report cannot be written: {error.filename}: {error.strerror}") from error


def _fingerprint(text: str) -> str:
    from secure_hfl.errors import ConfigurationError

    digits = text.replace(":", "").lower()
    if len(digits) != _FINGERPRINT_DIGITS or not set(digits) <= set("0123456789abcdef"):
        raise ConfigurationError(f"--fingerprint {text}: a SHA-256 fingerprint has {_FINGERPRINT_DIGITS} hex digits")
    return digits


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return one.absolute() == other.absolute()
