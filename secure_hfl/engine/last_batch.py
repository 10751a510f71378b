"""A last batch of one sample, which BatchNorm cannot train on: said before training, not when a round is at its end."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn


def last_batch_problem(models: Mapping[str, nn.Module], samples: int, rows: int) -> str:
    """What is wrong with a round's last batch; empty if nothing is.

    Args:
        models: by name, in training mode where they are trained.
        samples: how many ids there are to train on.
        rows: of the first batch.
    """
    if rows < 2 or samples % rows != 1:
        return ""
    affected = [
        name
        for name, model in models.items()
        if any(isinstance(part, nn.BatchNorm1d) and part.training for part in model.modules())
    ]
    if not affected:
        return ""
    where = " and in ".join(affected)
    return (
        f"{samples:,} samples in batches of {rows} leave a last batch of 1, and BatchNorm1d in {where} cannot train on "
        "a single sample: give the loaders of all parties drop_last=True, or train on one sample less"
    )
