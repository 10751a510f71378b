"""Every scheme on the tutorial's task, interleaved in one run, beside the same models in one process.

    python -m benchmarks.schemes [--schemes plain bfv masked] [--rounds 1] [--runs 3] [--json FILE] [--plot FILE]

"one process" trains both bottom models and the top model of the tutorial's listings in one process on all cores:
same data loading, same batches, same optimizers. Ratios are of medians over the runs; all runs of one kind use the
same seed. Losses of each scheme are compared with plain training that has the projection layer, from the same seed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.machine import machine
from secure_hfl.demo.report import report
from secure_hfl.examples.catalogue import mnist_halves
from secure_hfl.local_parties import LocalParties, RunSettings

SEED = 7
BASELINE = "one process"
REFERENCE = "plain + projection"


def main() -> None:
    """Run, print, save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--schemes", nargs="*", default=["plain", REFERENCE, "bfv", "masked", "paillier"])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write all figures here")
    parser.add_argument("--plot", type=Path, help="write the loss and accuracy curves here (needs matplotlib)")
    options = parser.parse_args()
    console = Console()
    names = [BASELINE, *options.schemes]
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for number in range(options.runs):
        for name in names:
            result = _one_process(options.rounds) if name == BASELINE else _scheme(name, options.rounds)
            runs[name].append(result)
            console.print(f"run {number + 1}: {name}: {[round(r['train_seconds'], 2) for r in result['rounds']]} s")
    lines = [_line(name, runs[name]) for name in names]
    _compare(lines, runs)
    _print(console, lines)
    if options.json:
        kept = {name: results[0] for name, results in runs.items()}
        options.json.write_text(json.dumps({"machine": machine(), "lines": lines, "first_runs": kept}, indent=1))
    if options.plot:
        _plot(options.plot, runs)


def _scheme(name: str, rounds: int) -> dict[str, Any]:
    scheme = name.split()[0]
    projection = None if scheme != "plain" else name == REFERENCE
    with tempfile.TemporaryDirectory() as directory:
        settings = RunSettings(scheme, rounds, seed=SEED, projection=projection)
        demo = LocalParties(mnist_halves().scripts, settings, Path(directory) / "run")
        demo.directory.mkdir(mode=0o700)
        demo.prepare()
        for _ in demo.run():
            pass
        return report(demo)


def _one_process(rounds: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.one_process", str(rounds), str(SEED)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    result: dict[str, Any] = json.loads(output.splitlines()[-1])
    return result


def _line(name: str, results: list[dict[str, Any]]) -> dict[str, Any]:
    last = results[0]
    batches = sum(each["batches"] for each in last["rounds"])
    bytes_ = sum(each.get("host_bytes_sent", 0) + each.get("host_bytes_received", 0) for each in last["rounds"])
    return {
        "name": name,
        "epoch_seconds": median([each["train_seconds"] for result in results for each in result["rounds"]]),
        "test_seconds": median([each["test_seconds"] or 0.0 for result in results for each in result["rounds"]]),
        "offline_seconds": median([result.get("offline_seconds", 0.0) for result in results]),
        "checkpoint_seconds": median([result.get("checkpoint_seconds", 0.0) for result in results]),
        "accuracy": last["rounds"][-1]["accuracy"],
        "bytes_a_batch": bytes_ / batches,
        "host_mb": max((result.get("peak_rss_mb", {}).get("host", 0.0) for result in results), default=0.0),
        "batch_losses": last["batch_losses"],
    }


def _compare(lines: list[dict[str, Any]], runs: dict[str, list[dict[str, Any]]]) -> None:
    by_name = {line["name"]: line for line in lines}
    plain = by_name.get("plain", by_name[BASELINE])["epoch_seconds"]
    reference = by_name.get(REFERENCE)
    for line in lines:
        line["ratio_to_plain"] = line["epoch_seconds"] / plain
        line["ratio_to_one_process"] = line["epoch_seconds"] / by_name[BASELINE]["epoch_seconds"]
        if reference and line["name"] not in (BASELINE, "plain"):
            pairs = list(zip(line["batch_losses"], reference["batch_losses"], strict=True))
            first = len(runs[line["name"]][0]["batch_losses"]) // len(runs[line["name"]][0]["rounds"])
            line["largest_loss_difference_first_epoch"] = max(abs(a - b) for a, b in pairs[:first])
            line["largest_loss_difference"] = max(abs(a - b) for a, b in pairs)


def _print(console: Console, lines: list[dict[str, Any]]) -> None:
    table = Table(title="Tutorial task, batch 128, 20 features a party")
    headings = (
        "scheme",
        "epoch",
        "x plain",
        "x one process",
        "offline",
        "checkpoints",
        "a batch",
        "accuracy",
        "loss differs",
        "host",
    )
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "scheme" else "right")
    for line in lines:
        difference = line.get("largest_loss_difference_first_epoch")
        table.add_row(
            line["name"],
            f"{line['epoch_seconds']:.2f} s",
            f"{line['ratio_to_plain']:.2f}",
            f"{line['ratio_to_one_process']:.2f}",
            f"{line['offline_seconds']:.1f} s",
            f"{line['checkpoint_seconds']:.2f} s",
            f"{line['bytes_a_batch'] / 1000:.0f} kB",
            "-" if line["accuracy"] is None else f"{line['accuracy']:.2%}",
            "-" if difference is None else f"{difference:.1e}",
            f"{line['host_mb']:.0f} MB",
        )
    console.print(table)


def _plot(path: Path, runs: dict[str, list[dict[str, Any]]]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, (losses, accuracy) = plt.subplots(1, 2, figsize=(11, 4))
    for name, results in runs.items():
        if name != BASELINE:
            losses.plot(results[0]["batch_losses"], label=name, linewidth=0.8)
            accuracy.plot([each["accuracy"] for each in results[0]["rounds"]], marker=".", label=name)
    losses.set(xlabel="batch", ylabel="loss")
    accuracy.set(xlabel="round", ylabel="accuracy")
    accuracy.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    started = time.perf_counter()
    main()
    print(f"{time.perf_counter() - started:.0f} s in all")
