"""The examples by name: which script each party runs, with which environment, on how many samples.

Importing this imports no example, and neither torch nor scikit-learn.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path

from secure_hfl.errors import ConfigurationError

_HERE = Path(__file__).parent

LABEL_EPSILON = "LABEL_EPSILON"
"""The variable by which a host's script protects its training labels; the tutorial's own listing does not know it."""


@dataclass(frozen=True)
class Script:
    """What one party runs: `secure-hfl host PATH` or `secure-hfl collaborator PATH`, in this environment.

    `name`: what a task of several collaborators must call it, its feature_key; empty: there is only one.
    """

    path: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    name: str = ""


@dataclass(frozen=True)
class Example:
    """One task.

    Args:
        name: what it is called here.
        host: the host's script.
        collaborators: theirs, in the order of their strips.
        local_ids: how many samples each party holds, the host first.
        train_ids: how many of those that all hold are trained on.
        test_ids: and tested on.
        classes: how many labels there are.
        batch_size: samples a batch; the last one has what is left.
        figures: what `test` writes to TensorBoard, as `test_results/<figure>`.
        library: what its scripts import that secure-hfl does not need itself.
        extra: of secure-hfl, which installs that.
    """

    name: str
    host: Script
    collaborators: tuple[Script, ...]
    local_ids: tuple[int, ...]
    train_ids: int
    test_ids: int
    classes: int
    batch_size: int
    figures: tuple[str, ...] = ("accuracy", "average_loss")
    library: str = ""
    extra: str = ""

    @property
    def scripts(self) -> tuple[Script, ...]:
        """The host's, then the collaborators'."""
        return (self.host, *self.collaborators)

    @property
    def parties(self) -> int:
        """With the host."""
        return 1 + len(self.collaborators)

    @property
    def batches(self) -> int:
        """Of training, in a round."""
        return math.ceil(self.train_ids / self.batch_size)

    @property
    def has_library(self) -> bool:
        """Whether what its scripts import is installed."""
        return not self.library or find_spec(self.library) is not None

    def check_library(self) -> None:
        """Before a run.

        Raises:
            ConfigurationError: its library is not installed; says how to install it.
        """
        if not self.has_library:
            raise ConfigurationError(
                f"the example {self.name} needs {self.library}: pip install 'secure-hfl[{self.extra}]'"
            )


def with_label_privacy(example: Example, epsilon: float) -> Example:
    """The same, the host's training labels protected for the whole task. Not for the tutorial's own listings."""
    environment = {**example.host.environment, LABEL_EPSILON: str(epsilon)}
    return replace(example, host=replace(example.host, environment=environment))


def mnist_halves() -> Example:
    """The tutorial's own two listings."""
    directory = _HERE / "mnist"
    return Example(
        "mnist_halves",
        Script(directory / "host.py"),
        (Script(directory / "collaborator.py"),),
        local_ids=(25000, 24000),
        train_ids=10000,
        test_ids=2000,
        classes=10,
        batch_size=128,
        library="torchvision",
        extra="mnist",
    )


def mnist_strips(
    parties: int = 4, width: int | None = None, features: int = 20, batch: int = 128, tests: bool = True
) -> Example:
    """MNIST for any number of parties.

    Args:
        parties: with the host.
        width: outputs of each projection layer; None: as many as features.
        features: of each party's bottom model.
        batch: samples a batch.
        tests: whether every round is followed by a test.
    """
    common = {
        "MNIST_STRIPS": str(parties),
        "MNIST_FEATURES": str(features),
        "MNIST_WIDTH": str(features if width is None else width),
        "MNIST_BATCH": str(batch),
        "MNIST_LOG_ROUNDS": str(int(tests)),
    }
    environments = [{**common, "MNIST_STRIP": str(strip)} for strip in range(parties)]
    directory = _HERE / "mnist"
    host = Script(directory / "strips_host.py", environments[0])
    others = (
        Script(directory / "strips_collaborator.py", environment, f"demo_collaborator_{strip}")
        for strip, environment in enumerate(environments[1:], start=1)
    )
    local_ids = (25000, *(23000 + 1000 * strip for strip in range(1, parties)))
    return replace(
        mnist_halves(),
        name="mnist_strips",
        host=host,
        collaborators=tuple(others),
        local_ids=local_ids,
        batch_size=batch,
    )


def breast_cancer() -> Example:
    """Columns of a table, two classes."""
    directory = _HERE / "breast_cancer"
    return Example(
        "breast_cancer",
        Script(directory / "host.py"),
        (Script(directory / "collaborator.py"),),
        local_ids=(505, 520),
        train_ids=350,
        test_ids=110,
        classes=2,
        batch_size=32,
        library="sklearn",
        extra="examples",
        figures=("accuracy", "auc", "average_loss"),
    )


def digits() -> Example:
    """Strips of small images, among four."""
    directory = _HERE / "digits"
    return Example(
        "digits",
        Script(directory / "host.py"),
        tuple(
            Script(directory / "collaborator.py", {"DIGITS_STRIP": str(strip)}, f"strip{strip}") for strip in (1, 2, 3)
        ),
        local_ids=(1606, 1609, 1602, 1605),
        train_ids=859,
        test_ids=291,
        classes=10,
        batch_size=64,
        library="sklearn",
        extra="examples",
    )


def images_and_labels() -> Example:
    """Small images at one site, their labels at another, which has nothing else."""
    directory = _HERE / "images_and_labels"
    return Example(
        "images_and_labels",
        Script(directory / "host.py"),
        (Script(directory / "collaborator.py"),),
        local_ids=(1612, 1599),
        train_ids=1072,
        test_ids=360,
        classes=10,
        batch_size=64,
        library="sklearn",
        extra="examples",
    )


_ALL = (mnist_halves(), mnist_strips(), breast_cancer(), digits(), images_and_labels())
EXAMPLES = {each.name: each for each in _ALL}


def find(name: str) -> Example:
    """The example of this name.

    Raises:
        ConfigurationError: there is none; the message lists those there are.
    """
    try:
        return EXAMPLES[name]
    except KeyError:
        raise ConfigurationError(f"no example {name!r}; known: {', '.join(EXAMPLES)}") from None
