"""What benchmarks.psi_scale makes of what it has measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.psi_scale import _sizes, _thinned, extrapolated
from benchmarks.psi_scale_figures import draw
from benchmarks.psi_scale_tables import scale_markdown

LINE: dict[str, Any] = {
    "host_ids": 10_000_000,
    "collaborator_ids": 10_000_000,
    "buckets": 39,
    "seconds": 130.0,
    "seconds_a_bucket": 3.0,
    "megabytes": 800.0,
    "psi_peak_mb": [900.0, 800.0],
    "run_peak_mb": [1000.0, 900.0],
    "curve": [[float(at), 400.0 + at, 410.0 + at] for at in range(20)],
    "phases": [["psi", 1.0], ["train", 15.0]],
}


def test_what_is_computed_says_so_and_grows_with_the_buckets() -> None:
    more = extrapolated(LINE)
    assert more is not None
    assert more["is_extrapolated"]
    assert more["buckets"] == 382
    assert 382 * 3.0 + 130 < more["seconds"] < 390 * 3.0 + 135  # buckets are a little fuller
    assert extrapolated({**LINE, "seconds_a_bucket": None}) is None
    assert extrapolated({**LINE, "host_ids": 1000}) is None


def test_the_table_marks_what_was_not_measured() -> None:
    spu = {"ids": 10_000_000, "failed": "it ended with 9"}
    text = scale_markdown({"lines": [LINE], "extrapolated": extrapolated(LINE), "spu": spu})
    assert "10,000,000 x 10,000,000 | 39 | 130 | 800 | 900 | 1,000" in text
    assert "100,000,000 x 100,000,000, **extrapolated**" in text
    assert "spu |  | failed" in text
    measured = {"name": "psi", "seconds": 140.0, "bytes": 7 * 10**8}
    spu = {"ids": 10_000_000, "steps": [measured], "peak_mb": {"host": 800.0, "collaborator": 700.0}}
    assert "spu |  | 140 | 700 | 800 |" in scale_markdown({"lines": [], "spu": spu})


def test_sizes_and_curves(tmp_path: Path) -> None:
    assert _sizes("5") == (5, 5)
    assert _sizes("5x70") == (5, 70)
    curve = [(at / 2, {"host": 1.0, "collaborator": 2.0}) for at in range(1000)]
    assert 100 <= len(_thinned(curve)) <= 130
    draw(LINE, tmp_path / "curve.png")
    assert (tmp_path / "curve.png").stat().st_size > 10_000
