"""The data of the attacks: scikit-learn's breast cancer table, and the MNIST files of the package.

The label tasks give the collaborator the columns that matter, because noise on its gradients would cost nothing
otherwise. The bottom models of the label tasks are small perceptrons, so that hundreds of runs take seconds.
"""

from __future__ import annotations

import gzip
from importlib.resources import files

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks.privacy.views import Task
from secure_hfl.examples import mnist

WIDTH = 20


def perceptron(inputs: int, outputs: int = WIDTH) -> nn.Module:
    """Two layers; its features keep their size whatever noise does to its weights."""
    return nn.Sequential(nn.Flatten(), nn.Linear(inputs, 64), nn.ReLU(), nn.Linear(64, outputs), nn.LayerNorm(outputs))


class ConvNet(nn.Module):
    """The tutorial's bottom model for half a digit, layer by layer."""

    def __init__(self) -> None:
        super().__init__()
        self.pictures = nn.Sequential(
            *(nn.Unflatten(1, (1, 28)), nn.Conv2d(1, 10, (5, 3)), nn.MaxPool2d(2), nn.ReLU()),
            *(nn.Conv2d(10, 20, 5), nn.Dropout2d(), nn.MaxPool2d(2), nn.ReLU()),
        )
        self.rest = nn.Sequential(nn.Flatten(), nn.Linear(80, 50), nn.ReLU(), nn.Dropout(), nn.Linear(50, WIDTH))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[n, 28, 14] -> [n, 20]."""
        features: torch.Tensor = self.rest(self.pictures(x))
        return features


def breast_cancer() -> Task:
    """Malignant or not: every fifth of the malignant samples, so that they are one in ten. The Host has the columns
    of standard errors."""
    from sklearn.datasets import load_breast_cancer

    data = load_breast_cancer()
    x, y = data.data, 1 - data.target
    keep = np.flatnonzero(y == 0).tolist() + np.flatnonzero(y == 1)[::5].tolist()
    keep = np.random.default_rng(0).permutation(keep)
    x, y = ((x - x.mean(0)) / x.std(0))[keep].astype(np.float32), y[keep].astype(np.int64)
    columns = {"host": list(range(10, 20)), "other": [*range(10), *range(20, 30)]}
    return Task(
        name="breast cancer",
        host=torch.from_numpy(x[:, columns["host"]]),
        other=torch.from_numpy(x[:, columns["other"]]),
        labels=torch.from_numpy(y),
        train=280,
        host_bottom=lambda: perceptron(10, 8),
        other_bottom=lambda: perceptron(20, 8),
        widths=(8, 8),
        rows=56,
        epochs=30,
        learning_rate=0.05,
    )


def is_it_a_zero(train: int = 4000, test: int = 2000) -> Task:
    """MNIST, one in ten is positive. The Host has the eight leftmost columns of pixels."""
    pictures, digits = mnist_rows(train + test)
    return Task(
        name="MNIST, is it a 0",
        host=torch.from_numpy(pictures[:, :, :8].copy()),
        other=torch.from_numpy(pictures[:, :, 8:].copy()),
        labels=torch.from_numpy((digits == 0).astype(np.int64)),
        train=train,
        host_bottom=lambda: perceptron(28 * 8),
        other_bottom=lambda: perceptron(28 * 20),
        widths=(WIDTH, WIDTH),
        rows=128,
        epochs=6,
        learning_rate=0.05,
    )


def halves(tutorial: bool, train: int = 4000, test: int = 1000, epochs: int = 4) -> Task:
    """The tutorial's task: ten digits, the right half at the collaborator; its bottom model or a perceptron."""
    pictures, digits = mnist_rows(train + test)
    return Task(
        name="MNIST halves",
        host=torch.from_numpy(pictures[:, :, :14].copy()),
        other=torch.from_numpy(pictures[:, :, 14:].copy()),
        labels=torch.from_numpy(digits),
        train=train,
        host_bottom=ConvNet if tutorial else lambda: perceptron(28 * 14),
        other_bottom=ConvNet if tutorial else lambda: perceptron(28 * 14),
        widths=(WIDTH, WIDTH),
        rows=128,
        epochs=epochs,
        learning_rate=0.05,
    )


def mnist_rows(count: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Pictures [count, 28, 28] in [0, 1] and digits."""
    folder = files(mnist) / "data"
    pixels, digits = (
        np.frombuffer(gzip.decompress((folder / f"train-{kind}-ubyte.gz").read_bytes()), np.uint8, offset=offset)
        for kind, offset in (("images-idx3", 16), ("labels-idx1", 8))
    )
    pictures = pixels.reshape(-1, 28, 28)[:count].astype(np.float32) / 255
    return pictures, digits[:count].astype(np.int64)
