"""What the demo trains: the tutorial's task, MNIST in strips, or two tables."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from secure_hfl.examples import mnist
from secure_hfl.examples.catalogue import Example, Script, mnist_halves, mnist_strips, with_label_privacy

COMMON = 400
"""Samples that both tables have."""


@dataclass(frozen=True)
class DemoTask:
    """One task.

    Args:
        title: what it is.
        scripts: the host's, then every collaborator's.
        batches: of a round.
        environment: for all parties.
    """

    title: str
    scripts: Sequence[Script]
    batches: int
    environment: Mapping[str, str] = field(default_factory=dict)


def mnist_example(collaborators: int, width: int | None, label_epsilon: float | None) -> Example:
    """The tutorial's own two listings where they fit, else strips. Raises unless what reads MNIST is installed."""
    is_tutorial = collaborators == 1 and width is None and label_epsilon is None
    example = mnist_halves() if is_tutorial else mnist_strips(1 + collaborators, width)
    if label_epsilon is not None:
        example = with_label_privacy(example, label_epsilon)
    example.check_library()
    return example


def mnist_task(example: Example, directory: Path) -> DemoTask:
    """One of MNIST, whose files are unpacked there."""
    data = {mnist.DATA_VARIABLE: str(mnist.unpack(directory / "data"))}
    return DemoTask(f"MNIST in {example.parties} strips", example.scripts, example.batches, data)


def table_task(directory: Path, console: Console) -> DemoTask:
    """Two CSV files, as `secure-hfl table` runs them: says what is found in each, and writes the scripts."""
    from secure_hfl.examples.tables import CLINIC, ID, LABEL, LABORATORY
    from secure_hfl.tables import networks
    from secure_hfl.tables.inspection import Wishes, inspect
    from secure_hfl.tables.script import TableScript
    from secure_hfl.tables.sources import open_source
    from secure_hfl.tables.summary import print_summary

    scripts = []
    for role, path, label in (("host", CLINIC, LABEL), ("collaborator", LABORATORY, None)):
        source = open_source(path)
        found = inspect(source, Wishes(ID, label))
        print_summary(console, path.name, found)
        arguments = {"feature_key": role, "max_rounds": networks.rounds(found.rows)} if label else {"feature_key": role}
        script = TableScript(role, found.spec, str(path), None, arguments).write(directory / "scripts", overwrite=True)
        scripts.append(Script(script))
    train = round(COMMON * (1 - found.spec.test_share))
    batches = math.ceil(train / networks.batch_size(train))
    return DemoTask("two tables, a clinic's and a laboratory's", scripts, batches)
