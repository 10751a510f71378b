"""What a party keeps when a task has finished: its own models, its half of the projections, metrics, TensorBoard logs.

    <task directory>/results/
        feature_model.safetensors       this party's bottom model
        infer_model.safetensors         the top model (host)
        projection.<key>.safetensors    this party's half of each projection layer, if it holds one
        metrics.json                    `secure_hfl.metrics.RunMetrics`
        encoding.json                   of a table: what it was fitted to (secure_hfl/tables/encoding.py)
        state/                          the last checkpoint, from which predictions are made. SECRET
        tensorboard/                    what `tb_writer` wrote

Files are 0600: model weights are a party's own.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.numpy import save as save_arrays
from safetensors.torch import save as save_tensors
from torch import nn

from protocols.core.message import Array
from secure_hfl.files import write_private
from secure_hfl.metrics import RunMetrics

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


LAST_STATE = "state"
"""Where the last checkpoint of a finished task goes, among its results."""


def save_model(path: Path, model: nn.Module) -> Path:
    """A model's parameters and buffers under their state_dict names, those of what `torch.compile` was given."""
    tensors: dict[str, torch.Tensor] = {}
    for compiled_name, tensor in model.state_dict().items():
        name = compiled_name.replace("_orig_mod.", "")
        tensors[name] = tensor.detach().cpu().contiguous().clone()  # safetensors refuses tensors that share memory
    return write_private(path, save_tensors(tensors))


def projection_file(directory: Path, feature_key: str) -> Path:
    """Where this party's half of a collaborator's projection layer is."""
    name = re.sub(r"[^A-Za-z0-9._-]", "_", feature_key)
    return directory / f"projection.{name}.safetensors"


def save_results(
    directory: Path,
    models: Mapping[str, nn.Module],
    projections: Mapping[str, Mapping[str, Array]],
    metrics: RunMetrics,
) -> list[Path]:
    """Write everything but the TensorBoard logs, which are there already. Returns the files."""
    saved = [save_model(directory / f"{name}.safetensors", model) for name, model in models.items()]
    for key, arrays in projections.items():
        if arrays:
            data = save_arrays({part: np.ascontiguousarray(array) for part, array in arrays.items()})
            saved.append(write_private(projection_file(directory, key), data))
    text = metrics.model_dump_json(indent=1)  # writes NaN and infinity as null: they are not JSON
    saved.append(write_private(directory / "metrics.json", text.encode()))
    logs = sorted(path for path in (directory / "tensorboard").rglob("*") if path.is_file())
    for path in logs:
        path.chmod(0o600)
    return saved + logs


def recording_writer(directory: Path, scalars: Callable[[], dict[str, list[tuple[int, float]]]]) -> SummaryWriter:
    """A TensorBoard writer whose scalars are kept in `scalars()` as well: tag -> [(step, value)].

    What is there already, after an interruption, is written again, in place of what an earlier writer had written.
    """
    # TensorBoard takes half a second to import, and the collaborator rarely needs it.
    from torch.utils.tensorboard import SummaryWriter

    class RecordingWriter(SummaryWriter):
        """Also keeps what it writes."""

        def add_scalar(self, tag: str, scalar_value: Any, global_step: Any = None, *args: Any, **more: Any) -> None:
            """As `SummaryWriter.add_scalar`."""
            scalars().setdefault(tag, []).append((int(global_step or 0), float(scalar_value)))
            super().add_scalar(tag, scalar_value, global_step, *args, **more)

    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(mode=0o700)
    writer = RecordingWriter(str(directory))
    for tag, values in scalars().items():
        for step, value in values:
            SummaryWriter.add_scalar(writer, tag, value, step)
    return writer
