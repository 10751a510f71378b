"""What the terminal shows of a made-up benchmark, and that its JSON comes back as it was."""

from __future__ import annotations

import io

from rich.console import Console

from secure_hfl.bench.model import LINKS, Benchmark
from secure_hfl.bench.recommend import recommend
from secure_hfl.bench.terminal_tables import print_benchmark
from tests.bench.made_up import STANDARD, benchmark, case, sample

WIDE = STANDARD.model_copy(update={"task": "mnist_strips", "features": 64, "projection": 64})
CASES = (
    case("one process", sample(0.5)),
    case("plain", sample(1.0, bytes_per_batch=22_000)),
    case("plain + projection", sample(1.0, losses=(1.0, 0.5))),
    case("masked", sample(2.0, offline=6.0, offline_bytes=10**6, bytes_per_batch=150_000, losses=(1.0, 0.5001))),
    case("paillier", sample(3.0, batches=5, bytes_per_batch=360_000, round_trips=3.0, losses=(1.0, 0.5)), batches=5),
    case("masked", sample(1.0), sweep="width", point=STANDARD),
    case("masked", sample(4.0), sweep="width", point=WIDE),
    case("bfv", sweep="width", point=WIDE, refused="too wide for the ring"),
)


def shown(found: Benchmark) -> str:
    console = Console(file=io.StringIO(), width=160)
    print_benchmark(console, found)
    return console.file.getvalue()


def row(text: str, name: str) -> list[str]:
    """The cells of the first row of this name."""
    line = next(line for line in text.splitlines() if line.strip().startswith(f"{name} "))
    return [cell.strip() for cell in line.strip().removeprefix(name).split("  ") if cell.strip()]


def test_figures_stand_side_by_side_and_ratios_are_those_of_a_batch():
    text = shown(benchmark(*CASES))
    assert row(text, "epoch") == ["500 ms", "1.00 s", "1.00 s", "2.00 s", "-"]
    assert row(text, "a batch") == ["50.0 ms", "100 ms", "100 ms", "200 ms", "600 ms"]
    assert row(text, "times plain") == ["0.5", "1.0", "1.0", "2.0", "6.0"]
    assert row(text, "times one process") == ["1.0", "2.0", "2.0", "4.0", "12"]
    assert row(text, "bytes a batch, both ways") == ["-", "22.0 kB", "-", "150.0 kB", "360.0 kB"]
    assert row(text, "loss differs at most") == ["-", "-", "-", "1.0e-04", "0"]
    assert "paillier, 5 batches" in text


def test_rows_that_do_not_speak_for_themselves_are_explained_where_they_are():
    text = shown(benchmark(*CASES))
    assert (
        "Times another: by whole epochs, or where either of the two is a part of one, by that median of both." in text
    )
    assert "for masked, the wall seconds of making triples with the other party, the test set's as well" in text
    assert "of the party that spent most" in text
    assert "Bytes a batch: of a run's rounds the least" in text
    whole = shown(benchmark(case("one process", sample(0.5))))
    assert not [word for word in ("Times another", "Offline", "Bytes a batch") if word in whole]


def test_a_scheme_that_diverges_is_said_to():
    cases = (case("plain + projection", sample(1.0, losses=(1.0, 0.5))), case("bfv", sample(1.0, losses=(1.0, None))))
    assert row(shown(benchmark(*cases)), "loss differs at most") == ["-", "diverged"]


def test_a_row_without_any_figure_is_left_out():
    text = shown(benchmark(case("masked", sample(2.0))))
    assert "times plain" not in text
    assert "times one process" not in text


def test_seconds_are_broken_down_by_kind_of_work_for_both_sides():
    text = shown(benchmark(case("bfv", sample(2.0))))
    assert "Where the host's training goes" in text
    assert row(text, "wait") == ["2.00 s"]
    assert row(text, "product") == ["1.00 s"]


def test_messages_are_listed_by_bytes():
    text = shown(benchmark(CASES[3]))
    assert text.index("Projection") < text.index("TripleProduct")
    assert "1.5 MB" in text


def test_series_refusals_notes_and_recommendations_are_said():
    found = benchmark(*CASES, notes=("Something was left out.",))
    found = found.model_copy(update={"recommendations": recommend(found.cases, LINKS)})
    text = shown(found)
    assert row(text, "64") == ["400 ms, 0 bytes"]
    assert "bfv refuses mnist_strips, d = 64 to o = 64, 128 samples a batch" in text
    assert "too wide for the ring" in text
    assert "Something was left out." in text
    for link in LINKS:
        assert f"{link.name}: masked" in text


def test_json_comes_back_as_it_was():
    found = benchmark(*CASES)
    found = found.model_copy(update={"recommendations": recommend(found.cases, LINKS), "attacks": {"auc": [0.5]}})
    assert Benchmark.model_validate_json(found.model_dump_json()) == found
