"""The tutorial's models trained in one PyTorch process; prints JSON.

    python -m secure_hfl.examples.mnist.one_process ROUNDS SEED [BATCHES]

The baseline that split training is measured against: the tutorial's two bottom models and top model (taken from its
listings), each image loaded once, the tutorial's order of samples, all cores.
"""

from __future__ import annotations

import ast
import json
import sys
import time
from hashlib import md5
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

from secure_hfl.examples import mnist
from secure_hfl.torchvision_ops import declare_missing_operators

declare_missing_operators()

import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
import torchvision  # noqa: E402
from torch.utils.data import DataLoader, Subset  # noqa: E402


def listing_models() -> dict[str, Any]:
    """`ConvNet` and `InferModule` as the tutorial's host listing defines them, without running the listing."""
    path = Path(mnist.__file__).parent / "host.py"
    tree = ast.parse(path.read_text())
    names = ("ConvNet", "InferModule")
    wanted: list[ast.stmt] = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name in names]
    found: dict[str, Any] = {"torch": torch, "nn": torch.nn, "F": F}
    exec(compile(ast.Module(wanted, []), str(path), "exec"), found)  # noqa: S102 - our own file
    return found


def main(rounds: int, seed: int, limit: int | None = None) -> dict[str, Any]:
    """Train and test, at most `limit` batches a round; fields named as a run's metrics."""
    torch.manual_seed(seed)
    models = listing_models()
    left, right, top = models["ConvNet"](), models["ConvNet"](), models["InferModule"]()
    optimizers = [torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9) for model in (left, right, top)]
    transform = torchvision.transforms.Compose(
        [torchvision.transforms.ToTensor(), torchvision.transforms.Normalize((0.1307,), (0.3081,))]
    )
    data = {t: torchvision.datasets.MNIST(mnist.data_dir(), train=t, transform=transform) for t in (True, False)}
    losses: list[float] = []
    results: list[dict[str, Any]] = []
    for number in range(1, rounds + 1):
        for model in (left, right, top):
            model.train()
        started = time.perf_counter()
        ends = [started]
        ids = sorted(range(10000, 20000), key=lambda i: md5(bytes(i + number), usedforsecurity=False).digest())
        for images, labels in islice(DataLoader(Subset(data[True], ids), batch_size=128), limit):
            features = torch.cat((left(images[:, :, :, :14]), right(images[:, :, :, 14:])), dim=1)
            for optimizer in optimizers:
                optimizer.zero_grad()
            loss = F.nll_loss(top(features), labels)
            loss.backward()
            for optimizer in optimizers:
                optimizer.step()
            losses.append(loss.item())
            ends.append(time.perf_counter())
        trained = time.perf_counter()
        for model in (left, right, top):
            model.eval()
        correct = 0
        with torch.no_grad():
            for images, labels in DataLoader(Subset(data[False], range(3000, 5000)), batch_size=128):
                out = top(torch.cat((left(images[:, :, :, :14]), right(images[:, :, :, 14:])), dim=1))
                correct += int((out.argmax(1) == labels).sum())
        results.append(
            {
                "round": number,
                "batches": len(ends) - 1,
                "batch_seconds": [end - begin for begin, end in pairwise(ends)],
                "train_seconds": trained - started,
                "test_seconds": time.perf_counter() - trained,
                "accuracy": correct / 2000,
            }
        )
    return {"rounds": results, "batch_losses": losses}


if __name__ == "__main__":
    print(json.dumps(main(*(int(argument) for argument in sys.argv[1:]))))
