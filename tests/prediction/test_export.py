"""The Host's models as files for other programs: they give what the models give, for any number of rows."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from benchmarks.harness.scripts import tiny
from protocols.core.errors import MissingExtra
from secure_hfl.prediction.export import Call, check_onnx, export_models
from secure_hfl.prediction.host_side import HostSide
from secure_hfl.run_options import RunOptions
from tests.engine.memory_parties import HOST, MemoryParties
from tests.prediction.memory_sessions import Sessions

needs_onnx = pytest.mark.skipif(importlib.util.find_spec("onnxscript") is None, reason="needs the extra onnx")
NAMES = ("feature_model", "infer_model", "fallback_model")


@pytest.fixture(scope="module")
def side(tmp_path_factory: pytest.TempPathFactory) -> HostSide:
    directory = tmp_path_factory.mktemp("trained")
    cases: Any = {HOST: {"arguments": {"fallback": True, "projection": 3}}}
    parties = MemoryParties(directory, "masked", RunOptions(rounds=1), cases)
    parties.schedulers[HOST].build_infer_model = lambda: nn.Linear(tiny.FEATURES + 3, 2)
    parties.execute()
    assert not parties.errors, parties.errors
    scheduler: Any = parties.schedulers[HOST]
    return HostSide(scheduler, *Sessions._assigned(parties.runs[HOST].bench.assignment))


def inputs_of(name: str) -> torch.Tensor:
    widths = {"feature_model": 3, "infer_model": tiny.FEATURES + 3, "fallback_model": tiny.FEATURES}
    return torch.randn(7, widths[name], generator=torch.Generator().manual_seed(3))


@needs_onnx
def test_files_give_what_the_models_give(side: HostSide, tmp_path: Path) -> None:
    from onnx.reference import ReferenceEvaluator

    written = export_models(side, tmp_path / "out", onnx=True)
    assert not [each.problem for each in written if each.problem]
    endings = (".safetensors", ".pt2", ".onnx")
    assert [each.file.name for each in written] == [name + ending for name in NAMES for ending in endings]
    assert sorted((tmp_path / "out").iterdir()) == sorted(each.file for each in written)
    for name in NAMES:
        model, rows = side.models.by_name()[name], inputs_of(name)
        with torch.no_grad():
            expected = model(rows)
        program = torch.export.load(tmp_path / "out" / f"{name}.pt2").module()
        assert torch.allclose(program(rows), expected, atol=1e-6)
        runner = ReferenceEvaluator(str(tmp_path / "out" / f"{name}.onnx"))
        (found,) = runner.run(None, {runner.input_names[0]: rows.numpy()})
        assert torch.allclose(torch.from_numpy(found), expected, atol=1e-5)
        assert (tmp_path / "out" / f"{name}.onnx").stat().st_mode & 0o077 == 0


def test_a_model_that_cannot_be_traced_says_why_and_others_are_written(
    side: HostSide, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def branches(rows: torch.Tensor) -> torch.Tensor:
        return rows if rows.sum().item() > 0 else -rows

    monkeypatch.setattr(side.models.fallback.model, "forward", branches)  # type: ignore[union-attr]
    written = {each.file.name: each.problem for each in export_models(side, tmp_path, onnx=False)}
    problem = written.pop("fallback_model.pt2")
    assert problem.startswith("torch.export cannot trace it: ")
    assert "data-dependent" in problem
    assert not any(written.values())
    assert not (tmp_path / "fallback_model.pt2").exists()
    assert (tmp_path / "infer_model.pt2").exists()


def test_one_row_is_no_fixed_number_of_rows() -> None:
    call = Call((torch.zeros(1, 3), 2), {"mask": torch.ones(1, 4)}).with_samples()
    assert [call.args[0].shape, call.args[1], call.kwargs["mask"].shape] == [(2, 3), 2, (2, 4)]


def test_onnx_without_its_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"secure-hfl\[onnx\]"):
        check_onnx()
