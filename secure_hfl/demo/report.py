"""What the demo says at the end: a table for people, JSON for programs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from protocols.core.wording import plural
from protocols.transcript.report import AuditReport
from secure_hfl.audit.audit_files import audit_files
from secure_hfl.audit.report_text import summarise
from secure_hfl.local_parties import HOST, LocalParties
from secure_hfl.work_clock import WORK

LOSS = (
    "loss: the test's average_loss, as the Host's script writes it. The tutorial's adds up means of batches and "
    "divides them by the number of samples."
)
"""What stands under the rounds: the last loss of a round, above them, is a batch's mean."""

WORK_COLUMNS = 4
"""Parties whose time is shown."""


def report(demo: LocalParties) -> dict[str, Any]:
    """The run as plain data. Times in seconds, memory in MB, bytes as counted at the host."""
    host = demo.parties[0].metrics
    psi = dict(host["psi"])
    if len(psi["collaborator_ids"]) == 1:
        psi["collaborator_ids"] = next(iter(psi["collaborator_ids"].values()))
    rounds = [
        {
            **{name: each[name] for name in ("round", "batches", "train_seconds", "test_seconds")},
            **{name: each[name] for name in ("accuracy", "average_loss")},
            "host_bytes_sent": each["bytes_sent"],
            "host_bytes_received": each["bytes_received"],
            "round_trips": each["round_trips"],
            "work": {party.name: party.metrics["rounds"][at]["work"] for party in demo.parties},
        }
        for at, each in enumerate(host["rounds"])
    ]
    memory = {party.name: party.metrics["peak_rss_mb"] for party in demo.parties}
    memory.setdefault("collaborator", max(mb for name, mb in memory.items() if name != HOST))
    return {
        "task_id": demo.task_id,
        "scheme": host["scheme"],
        "arithmetic": {party.name: party.metrics["arithmetic"] for party in demo.parties},
        "seed": host["seed"],
        "label_epsilon": host["label_epsilon"],
        "collaborators": len(demo.parties) - 1,
        "psi": psi,
        "rounds": rounds,
        "batch_losses": host["batch_losses"],
        "messages": host["messages"],
        "seconds": host["seconds"],
        "online_seconds": sum(each["train_seconds"] + (each["test_seconds"] or 0.0) for each in host["rounds"]),
        "offline_seconds": max(party.metrics["offline_seconds"] for party in demo.parties),
        "checkpoint_seconds": max(party.metrics["checkpoint_seconds"] for party in demo.parties),
        "bytes_sent": host["bytes_sent"],
        "bytes_received": host["bytes_received"],
        "peak_rss_mb": memory,
    }


def print_report(console: Console, demo: LocalParties, result: dict[str, Any]) -> None:
    """The tables at the end of the demo."""
    console.print(_intersection(result["psi"]))
    console.print(_rounds_table(result))
    if arithmetic := set(filter(None, result["arithmetic"].values())):
        console.print(f"[bold]Encryption[/bold]: bfv arithmetic: {'; '.join(sorted(arithmetic))}")
    console.print(f"[bold]Training labels[/bold]: {_label_claim(result['label_epsilon'])}")
    console.print(_work_table(result["rounds"][-1]["work"]))
    console.print(_messages_table(result["messages"]))
    memory = ", ".join(f"{party.name} {result['peak_rss_mb'][party.name]:.0f} MB" for party in demo.parties)
    console.print(
        f"[bold]Memory[/bold]: {memory}.  [bold]From joining to the end[/bold]: {result['seconds']:.1f} s, "
        f"{decimal(result['bytes_sent'] + result['bytes_received'])} over the wire"
    )


def _intersection(psi: Mapping[str, Any]) -> str:
    others = psi["collaborator_ids"]
    sizes = (
        ", ".join(f"{name}'s {size:,}" for name, size in others.items())
        if isinstance(others, dict)
        else f"the other's {others:,}"
    )
    return (
        f"\n[bold]Private set intersection[/bold]: {plural(psi['intersection'], 'id')} in common, of the host's "
        f"{psi['host_ids']:,} and {sizes}, in {psi['seconds']:.2f} s and "
        f"{decimal(psi['bytes_sent'] + psi['bytes_received'])}"
    )


def _rounds_table(result: Mapping[str, Any]) -> Table:
    count = len(result["rounds"])
    rounds = plural(count, "round")
    table = Table(
        title=f"Scheme {result['scheme']}: {rounds}", title_justify="left", caption=LOSS, caption_justify="left"
    )
    for heading in ("round", "batches", "train", "test", "accuracy", "loss", "host sent", "host received"):
        table.add_column(heading, justify="right")
    for each in result["rounds"]:
        table.add_row(
            str(each["round"]),
            str(each["batches"]),
            f"{each['train_seconds']:.2f} s",
            "-" if each["test_seconds"] is None else f"{each['test_seconds']:.2f} s",
            "-" if each["accuracy"] is None else f"{each['accuracy']:.2%}",
            "-" if each["average_loss"] is None else f"{each['average_loss']:.4f}",
            decimal(each["host_bytes_sent"]),
            decimal(each["host_bytes_received"]),
        )
    return table


def _messages_table(messages: Mapping[str, Mapping[str, int]]) -> Table:
    table = Table(title="What crossed the wire, as the host counts it", title_justify="left")
    for heading in ("message", "sent", "bytes", "received", "bytes"):
        table.add_column(heading, justify="left" if heading == "message" else "right")
    for name, ways in sorted(messages.items(), key=lambda item: -_bytes(item[1])):
        table.add_row(
            name,
            str(ways.get("sent_messages", "")),
            decimal(ways["sent_bytes"]) if "sent_bytes" in ways else "",
            str(ways.get("received_messages", "")),
            decimal(ways["received_bytes"]) if "received_bytes" in ways else "",
        )
    return table


def _label_claim(epsilon: float | None) -> str:
    """What a task's training tells of labels."""
    if epsilon is None:
        return "no bound on what training tells of them"
    return f"epsilon {epsilon:g} for each, over the whole task, against all collaborators together"


def _work_table(work: Mapping[str, Mapping[str, float]]) -> Table:
    """Where the training of a round went, at as many parties as fit."""
    shown = list(work)[:WORK_COLUMNS]
    table = Table(title="Where the last round went (seconds)", title_justify="left")
    table.add_column("work")
    for name in shown:
        table.add_column(name, justify="right")
    for kind in WORK:
        table.add_row(kind, *(f"{work[name][kind]:.2f}" for name in shown))
    return table


def audit_transcripts(demo: LocalParties, fingerprints: Collection[str]) -> list[AuditReport]:
    """Audit both ends' transcripts of every pair of host and collaborator, as `secure-hfl audit` would."""
    return [audit_files(own, peer, trusted=fingerprints).report for own, peer in demo.transcripts()]


def print_audits(console: Console, demo: LocalParties, reports: Sequence[AuditReport], are_kept: bool) -> None:
    """What the audits found: the verdict, and who learned what; and where the files are, if they are kept."""
    for audited, (own, peer) in zip(reports, demo.transcripts()):
        names = " and ".join(party.name for party in audited.parties)
        console.print(f"\n[bold]Audit of both transcripts[/bold] of {names}")
        for line in summarise(audited):
            console.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)
        if are_kept:
            console.print(f"  Again, in detail: secure-hfl audit {own} {peer} --html audit.html", soft_wrap=True)
    if are_kept:
        console.print(f"\nHomes, logs, results and transcripts: {demo.directory}", soft_wrap=True)
    else:
        console.print("\nHomes, logs, results and transcripts are removed; --keep DIRECTORY keeps them.")


def _bytes(ways: Mapping[str, int]) -> int:
    return ways.get("sent_bytes", 0) + ways.get("received_bytes", 0)
