"""MNIST cut into any number of vertical strips: what the strip scripts share.

Party 0 is the host and holds the leftmost strip and the labels. `MNIST_STRIP` says which strip a script holds,
`MNIST_STRIPS` how many there are, `MNIST_FEATURES` how many features each makes of its own, `MNIST_WIDTH` how wide the
projection layers are (default: as the features), `MNIST_BATCH` how many samples a batch has, and `MNIST_LOG_ROUNDS`
after how many rounds there is a test (0: none).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from hashlib import md5

from secure_hfl.torchvision_ops import declare_missing_operators

declare_missing_operators()

import torch  # noqa: E402
import torch.nn as nn  # noqa: E402
import torch.nn.functional as F  # noqa: E402
import torchvision  # noqa: E402
from torch.utils.data import DataLoader, Subset  # noqa: E402

STRIP = int(os.environ.get("MNIST_STRIP", "0"))
STRIPS = int(os.environ.get("MNIST_STRIPS", "4"))
IMAGE_WIDTH = 28
FEATURES = int(os.environ.get("MNIST_FEATURES", "20"))
PROJECTION_WIDTH = int(os.environ.get("MNIST_WIDTH", str(FEATURES)))
BATCH_SIZE = int(os.environ.get("MNIST_BATCH", "128"))
LOG_ROUNDS = int(os.environ.get("MNIST_LOG_ROUNDS", "1"))
JOIN_SECONDS = 120
"""Many parties that start on one machine at once take a while."""


def feature_key(strip: int) -> str:
    """The name under which the host finds a strip's features."""
    return "demo_host" if strip == 0 else f"demo_collaborator_{strip}"


def columns(strip: int) -> slice:
    """The image columns of a strip."""
    return slice(IMAGE_WIDTH * strip // STRIPS, IMAGE_WIDTH * (strip + 1) // STRIPS)


def local_ids(strip: int) -> list[str]:
    """Training ids, then test ids above 100000; all parties share 10000 and 2000 of them."""
    if strip == 0:
        return [str(i) for i in (*range(20000), *range(100000, 105000))]
    return [str(i) for i in (*range(10000, 29000 + 1000 * strip), *range(103000, 107000))]


def split(id_intersection: set[str]) -> tuple[set[int], set[int]]:
    """The tutorial's rule."""
    ids = sorted(int(i) for i in id_intersection)
    return set(ids[:10000]), set(ids[10000:])


class StripNet(nn.Module):
    """The tutorial's bottom model, for strips of any width."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 10, kernel_size=(5, 3), padding=(0, 1))
        self.conv2 = nn.Conv2d(10, 20, kernel_size=(5, 3), padding=(0, 1))
        self.drop = nn.Dropout2d()
        self.pool = nn.AdaptiveMaxPool2d((4, 1))
        self.fc1 = nn.Linear(80, 50)
        self.fc2 = nn.Linear(50, FEATURES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[batch, 1, 28, width] -> [batch, FEATURES]."""
        x = F.relu(F.max_pool2d(self.conv1(x), (2, 1)))
        x = F.relu(self.pool(self.drop(self.conv2(x)))).flatten(1)
        x = F.dropout(F.relu(self.fc1(x)), training=self.training)
        features: torch.Tensor = self.fc2(x)
        return features


def batches(
    root: str, ids: set[int], train: bool, round_number: int
) -> Iterator[tuple[list[int], torch.Tensor, torch.Tensor]]:
    """The ids, this party's strip and the labels of each batch, in an order that all parties share."""
    images = torchvision.datasets.MNIST(
        root,
        train=train,
        download=False,
        transform=torchvision.transforms.Compose(
            [torchvision.transforms.ToTensor(), torchvision.transforms.Normalize((0.1307,), (0.3081,))]
        ),
    )
    order = list(ids)
    if train:
        order.sort(key=lambda row: md5(f"{row}/{round_number}".encode(), usedforsecurity=False).digest())
    rows = [row if train else row - 100000 for row in order]
    for number, (data, labels) in enumerate(DataLoader(Subset(images, rows), batch_size=BATCH_SIZE)):
        yield order[number * BATCH_SIZE :][: len(data)], data[:, :, :, columns(STRIP)], labels
