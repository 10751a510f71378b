"""The Host's part of what was trained, for other programs: its bottom model, its top model, and its fallback head.

<directory>/feature_model.safetensors, .pt2, .onnx      from the Host's own inputs to its features
<directory>/infer_model.safetensors, .pt2, .onnx        from what the Host's code fuses to the outputs
<directory>/fallback_model.safetensors, .pt2, .onnx     from the Host's features to outputs, if one was trained

A `.pt2` is a program of `torch.export`. Between bottom and top model lie what collaborators add, and the Host's own
code that fuses it: those are not in these files, and a collaborator's projections come from a session only.
"""

from __future__ import annotations

import importlib.util
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from protocols.core.errors import MissingExtra
from protocols.task.manifest import SUM_KEY
from secure_hfl.engine.contract import HostScheduler
from secure_hfl.errors import ConfigurationError
from secure_hfl.prediction.assignment import find_prediction
from secure_hfl.prediction.host_side import HostSide
from secure_hfl.results import save_model

PROGRAM, ONNX = ".pt2", ".onnx"
SAMPLES = 2
"""Rows by which a model is traced: one row would be taken for a number of rows that is fixed."""

TOLERANCE = 1e-4


@dataclass(frozen=True)
class Exported:
    """What became of one model in one format.

    Attributes:
        file: where it is, or would be.
        problem: why it could not be written; empty: it was.
    """

    file: Path
    problem: str = ""


@dataclass(frozen=True)
class Call:
    """How a model was called: its arguments, as rows of a batch."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    @property
    def rows(self) -> int:
        """Of the first tensor."""
        first = next((each for each in self._tensors() if each.ndim), None)
        return 0 if first is None else len(first)

    def _tensors(self) -> list[torch.Tensor]:
        return [each for each in (*self.args, *self.kwargs.values()) if isinstance(each, torch.Tensor)]

    def with_samples(self) -> Call:
        """The same with at least `SAMPLES` rows."""
        if self.rows != 1:
            return self

        def more(value: Any) -> Any:
            is_batch = isinstance(value, torch.Tensor) and value.ndim and len(value) == 1
            return torch.cat([value] * SAMPLES) if is_batch else value

        return Call(tuple(map(more, self.args)), {name: more(each) for name, each in self.kwargs.items()})

    def dynamic_shapes(self) -> tuple[Any, dict[str, Any]]:
        """The number of rows may differ from call to call."""
        batch = torch.export.Dim("batch")

        def shape(value: Any) -> Any:
            is_batch = isinstance(value, torch.Tensor) and value.ndim and len(value) == self.rows
            return {0: batch} if is_batch else None

        return tuple(map(shape, self.args)), {name: shape(each) for name, each in self.kwargs.items()}


def check_onnx() -> None:
    """Raise `MissingExtra` unless ONNX files can be written here."""
    if any(importlib.util.find_spec(name) is None for name in ("onnx", "onnxscript")):
        raise MissingExtra("ONNX files need onnx and onnxscript: pip install 'secure-hfl[onnx]'")


def export_host(scheduler: HostScheduler, reference: str, directory: Path, onnx: bool = False) -> list[Exported]:
    """Write the Host's models of a finished task.

    Args:
        scheduler, reference: as for a prediction.
        directory: made if need be.
        onnx: ONNX files too.

    Returns:
        What was written, and what could not be, and why.

    Raises:
        MissingExtra: onnx is not installed.
        SecureHflError: there is no such finished task, or the Host's own code failed.
    """
    if onnx:
        check_onnx()
    return export_models(HostSide(scheduler, *find_prediction(scheduler, "host", reference)), directory, onnx)


def export_models(side: HostSide, directory: Path, onnx: bool) -> list[Exported]:
    """See `export_host`."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"{directory} cannot be made: {error.strerror}") from error
    calls, written = _calls(side), []
    for name, model in side.models.by_name().items():
        written.append(Exported(save_model(directory / f"{name}.safetensors", model)))
        written += _programs(model, calls.get(name), directory / name, onnx)
    return written


def _programs(model: nn.Module, call: Call | None, stem: Path, onnx: bool) -> Iterator[Exported]:
    program, file = None, stem.with_suffix(PROGRAM)
    if call is None:
        yield Exported(
            file, f"the Host's code calls {stem.name} in a way of its own, not as a module: nothing to trace"
        )
        return
    plain: nn.Module = getattr(model, "_orig_mod", model)  # what torch.compile was given
    try:
        program = _traced(plain, call)
        _kept(file, lambda partial: torch.export.save(program, partial))
    except Exception as error:  # whatever torch says of a user's model
        yield Exported(file, f"torch.export cannot trace it: {_first_line(error)}")
        return
    yield Exported(file)
    if onnx:
        file = stem.with_suffix(ONNX)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # torch's, of itself
                made = torch.onnx.export(program, dynamo=True, verbose=False)
            _kept(file, made.save)  # type: ignore[union-attr]
        except Exception as error:
            yield Exported(file, f"it has no form in ONNX: {_first_line(error)}")
            return
        yield Exported(file)


def _traced(model: nn.Module, call: Call) -> torch.export.ExportedProgram:
    """As a program, which gives what the model gives."""
    shapes, named = call.dynamic_shapes()
    with torch.no_grad():
        expected = model(*call.args, **call.kwargs)
        dynamic: Any = (*shapes, *named.values()) if named else shapes
        program = torch.export.export(model, call.args, call.kwargs, dynamic_shapes=dynamic)
        found = program.module()(*call.args, **call.kwargs)
    torch.testing.assert_close(found, expected, rtol=TOLERANCE, atol=TOLERANCE)
    return program


def _kept(file: Path, write: Callable[[Path], Any]) -> None:
    """For this user alone, and whole or not at all."""
    partial = file.with_name(f"partial.{file.name}")
    try:
        os.close(os.open(partial, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600))
        write(partial)
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)


def _calls(side: HostSide) -> Mapping[str, Call]:
    """How the Host's own code calls each model, for a few rows of its own and made-up projections."""
    user, models = side.bench.user, side.models
    user.interrupter = user.interrupter.renewed()
    try:
        with _watched(models.by_name()) as seen:
            held = side.held()
            ids = [f"row {at}" for at in range(SAMPLES)] if held is None else sorted(held)[:SAMPLES]
            if not ids:
                raise ConfigurationError("the Host's table has no row now, so its models cannot be traced")
            rows = side.party.features.of(ids)
            made_up = {key: torch.zeros(len(ids), width).numpy() for key, width in _widths(side).items()}
            side.fused(rows, slice(0, len(ids)), made_up)
            if models.fallback is not None:
                models.fallback.outputs(rows.plain)
    finally:
        user.interrupter.stop()
    return {name: call.with_samples() for name, call in seen.items()}


def _widths(side: HostSide) -> dict[str, int]:
    """Of what the Host's code finds beside its own features: each collaborator's projection, or the sum of all."""
    widths = side.party.training.widths()
    snapshot = side.party.state.snapshot
    for key, width in widths.items():
        if not width:
            if snapshot is None:
                raise ConfigurationError(
                    f"how wide the features of {key} are is not among the results of a task that finished so long ago"
                )
            widths[key] = snapshot.at_set_up().shapes[key][1]
    return {SUM_KEY: next(iter(widths.values()))} if side.party.training.terms.is_summed else widths


@contextmanager
def _watched(models: Mapping[str, nn.Module]) -> Iterator[dict[str, Call]]:
    """The call with most rows of each model, by its name."""
    seen: dict[str, Call] = {}

    def hook_of(name: str) -> Callable[..., None]:
        def look(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            call = Call(args, kwargs)
            if name not in seen or call.rows > seen[name].rows:
                seen[name] = call

        return look

    hooks = [model.register_forward_pre_hook(hook_of(name), with_kwargs=True) for name, model in models.items()]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else 'no reason given'}"
