"""One party of the tiny task, its models and rows on `DEVICE`; with `AMP` in float16, the Host with a GradScaler."""

import json
import os
from contextlib import AbstractContextManager
from typing import Any

import torch
from cases import Case
from tiny import TinyCollaborator, TinyHost, columns, labels_of
from torch import nn

case = Case(**json.loads(os.environ["TINY_CASE"]))
device, with_amp = torch.device(os.environ["DEVICE"]), bool(os.environ.get("AMP"))


def cast() -> AbstractContextManager[Any]:
    """Of this party's models."""
    return torch.autocast(device.type, torch.float16, enabled=with_amp)


class OnDevice:
    """The tiny task there."""

    def build_feature_model(self) -> nn.Module:
        model: nn.Module = super().build_feature_model().to(device)  # type: ignore[misc]
        return model

    def _batches(self, feature_model: nn.Module, ids: Any, batch_size: int = 0) -> Any:
        ordered = [int(each) for each in ids]
        for start in range(0, len(ordered), 32):
            rows = ordered[start : start + 32]
            with cast():
                yield rows, feature_model(columns(case.index, rows).to(device))


class Host(OnDevice, TinyHost):
    """The tiny host."""

    def build_infer_model(self) -> nn.Module:
        self.scaler = torch.amp.GradScaler(device.type, enabled=with_amp)
        model: nn.Module = super().build_infer_model().to(device)
        return model

    def _batch(self, rows: list[int], out: torch.Tensor) -> Any:
        return out, labels_of(rows).to(device)

    def train_a_batch(self, feature_projection: dict[str, torch.Tensor], labels: torch.Tensor) -> None:
        self.optimizer.zero_grad()
        with cast():
            fused = torch.cat([feature_projection["party0"], feature_projection["party1"]], 1)
            loss = nn.functional.cross_entropy(self.infer_model(fused), labels)
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.losses = [*getattr(self, "losses", []), loss.item()]


class Collaborator(OnDevice, TinyCollaborator):
    """The tiny collaborator."""


scheduler = (Collaborator if case.index else Host)(case)
scheduler.launch_task("YOUR_TASK_ID")
print(json.dumps(getattr(scheduler, "losses", [])))
