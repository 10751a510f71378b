"""The tutorial's task, trained and then asked about digits that came later, beside the same models in one process.

    python -m benchmarks.tutorial_predictions [--schemes plain masked bfv paillier] [--batches N] [--json FILE]

Host and Collaborator are the tutorial's listings in processes of their own, over mutual TLS on loopback. After the
training both hold the test digits 107000 to 109999 too: of each listing one range of ids grows, and nothing else. The
Host asks about these and about some that nobody holds. The models are then put together from both parties' results, and
predict the same digits in the clear.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.markdown import Markdown
from safetensors.torch import load_file as load_weights

from benchmarks.harness.parties import Parties
from benchmarks.harness.weights import projection_weight
from benchmarks.markdown import number, table
from benchmarks.step_timings import write_json
from secure_hfl.bench.machine import machine
from secure_hfl.examples import mnist
from secure_hfl.examples.mnist.one_process import listing_models

SCHEMES = ("plain", "masked", "bfv", "paillier")
LISTINGS = ("host.py", "collaborator.py")
GROWN = {"range(100000, 105000)": "range(100000, 110000)", "range(103000, 107000)": "range(103000, 110000)"}
NEW, STRANGERS = range(107000, 110000), range(110000, 110010)


def grown(directory: Path) -> list[Path]:
    """The listings with the ids that came later."""
    scripts = []
    for name in LISTINGS:
        text = Path(mnist.__file__).with_name(name).read_text(encoding="utf-8")
        for before, after in GROWN.items():
            text = text.replace(before, after)
        scripts.append(directory / name)
        scripts[-1].write_text(text, encoding="utf-8")
    return scripts


def predicted(directory: Path, scheme: str, batches: int) -> tuple[list[Path], dict[str, list[float]], dict[str, str]]:
    """The results' directories of both parties, outputs by id, and why other ids have none."""
    parties = Parties(directory)
    task = parties.new_task(scheme=scheme)
    environment = {mnist.DATA_VARIABLE: str(directory / "data"), "OMP_NUM_THREADS": "1"}
    mnist.unpack(directory / "data")
    host, collaborator = parties.names
    ids, out = directory / "ids.txt", directory / "out.csv"
    ids.write_text("\n".join(map(str, [*NEW, *STRANGERS])), encoding="utf-8")
    try:
        listings = [Path(mnist.__file__).with_name(name) for name in LISTINGS]
        options = ["--batches", str(batches)] if batches else []
        training = [
            parties.start(name, str(script), *(options if name == host else []), environment=environment)
            for name, script in zip(parties.names, listings)
        ]
        _check(each.ended(3600) for each in training)
        own, other = grown(directory)
        parties.start(collaborator, str(other), command="serve", environment=environment)
        asking = "--ids", str(ids), "--out", str(out)
        _check([parties.start(host, str(own), *asking, command="predict", environment=environment).ended(3600)])
    finally:
        parties.stop()
    with out.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    outputs = {row["id"]: [float(row[f"output_{at}"]) for at in range(10)] for row in rows if not row["reason"]}
    results = [parties.homes[name] / "tasks" / task / "results" for name in parties.names]
    return results, outputs, {row["id"]: row["reason"] for row in rows if row["reason"]}


def _check(ended: Any) -> None:
    for each in ended:
        if each.code:
            raise RuntimeError(each.err)


def in_the_clear(results: list[Path], images: torch.Tensor) -> torch.Tensor:
    """Outputs of the models and weights in both parties' results."""
    models, features = listing_models(), []
    for directory, half in zip(results, (images[..., :14], images[..., 14:])):
        bottom = models["ConvNet"]().eval()
        bottom.load_state_dict(load_weights(directory / "feature_model.safetensors"))
        features.append(bottom(half))
    weight = projection_weight(results[0], results[1], "demo_collaborator")
    if weight is not None:
        features[1] = features[1] @ weight.T
    top = models["InferModule"]().eval()
    top.load_state_dict(load_weights(results[0] / "infer_model.safetensors"))
    outputs: torch.Tensor = top(torch.cat(features, dim=1))
    return outputs


def digits(root: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """The new ones, [n, 1, 28, 28] as the listings make them, and what they are."""
    import torchvision

    data = torchvision.datasets.MNIST(str(root), train=False)
    at = [each - 100000 for each in NEW]
    return (data.data[at][:, None].float() / 255 - 0.1307) / 0.3081, data.targets[at]


def measure(scheme: str, batches: int) -> dict[str, Any]:
    """One scheme: how far both are apart, and how often both are right."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        results, outputs, reasons = predicted(directory, scheme, batches)
        if [*outputs] != [str(each) for each in NEW] or [*reasons] != [str(each) for each in STRANGERS]:
            raise RuntimeError(f"not just the new digits were predicted: {len(outputs)}, and {len(reasons)} were not")
        images, labels = digits(directory / "data")
        with torch.no_grad():
            clear = in_the_clear(results, images)
        metrics = json.loads((results[0] / "metrics.json").read_bytes())
    joint = torch.tensor([*outputs.values()])
    return {
        "scheme": scheme,
        "batches": len(metrics["batch_losses"]),
        "digits": len(labels),
        "largest_difference": float((joint - clear).abs().max()),
        "other_classes": int((joint.argmax(1) != clear.argmax(1)).sum()),
        "accuracy": float((joint.argmax(1) == labels).float().mean()),
        "accuracy_in_the_clear": float((clear.argmax(1) == labels).float().mean()),
    }


def parity_table(found: dict[str, Any]) -> str:
    """By scheme."""
    rows = [
        [
            f"`{each['scheme']}`",
            str(each["batches"]),
            number(each["largest_difference"]),
            f"{each['other_classes']} of {each['digits']:,}",
            f"{each['accuracy']:.4f}",
            f"{each['accuracy_in_the_clear']:.4f}",
        ]
        for each in found["schemes"]
    ]
    apart = "largest difference of an output", "other class predicted"
    return table(["scheme", "batches trained", *apart, "accuracy, together", "in the clear"], rows)


def main() -> None:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tutorial_predictions", description=__doc__)
    parser.add_argument("--schemes", nargs="+", choices=SCHEMES, default=SCHEMES)
    parser.add_argument("--batches", type=int, default=0, help="of the training; default: all of a round")
    parser.add_argument("--json", type=Path, help="write the figures there")
    asked = parser.parse_args()
    about, found = machine(), {"schemes": [measure(each, asked.batches) for each in asked.schemes]}
    Console().print(Markdown(parity_table(found)))
    if asked.json is not None:
        write_json(asked.json, "python -m benchmarks.tutorial_predictions", about, found)


if __name__ == "__main__":
    main()
