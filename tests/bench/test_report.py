"""The report: self-contained, each section where there is data, and the figures are the data's."""

from __future__ import annotations

import base64
import io
import re
import shutil
from itertools import pairwise
from math import nan
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from benchmarks.privacy.figures import GAP, encoded
from secure_hfl.bench.model import LINKS, Benchmark, Case, Recommendation, RoundSample, Sample
from secure_hfl.bench.numbers import parity, significant, typical_work
from secure_hfl.bench.report.page import page
from secure_hfl.bench.report.plots import apart
from secure_hfl.bench.report.svg import ON_FILL, THEME
from tests.audit.test_page import in_browser
from tests.bench import sample_benchmark as made
from tests.bench.report_page import Report, check, read, tables

SECTIONS = (
    "costs0",
    "take",
    "accuracy",
    "time",
    "offline",
    "traffic",
    "width",
    "batch",
    "collaborators",
    "link",
    "memory",
)
PRIVACY = ("labels", "pictures", "anchors")
PICTURE = encoded(np.linspace(0, 1, 3 * 28 * 14).reshape(3, 28, 14))


@pytest.fixture(scope="module")
def everything() -> Benchmark:
    return made.benchmark(attacks=made.attacks() | {"pictures": {"original": PICTURE, "o = d, trained": PICTURE}})


@pytest.fixture(scope="module")
def html(everything: Benchmark) -> str:
    return page(everything)


@pytest.fixture(scope="module")
def whole(html: str) -> Report:
    return check(html)


# What is there -------------------------------------------------------------------------------------------------------


def test_every_section_is_there(whole: Report) -> None:
    assert {*SECTIONS, *PRIVACY, "how"} <= set(whole.values("id"))
    assert whole.tags.count("figure") > 20
    assert whole.tags.count("img") == 2
    for text in (
        "Privacy costs",
        "secure-hfl bench --all",
        "torch 2.13.0",
        "3072 bits",
        "paillier was measured over 10",
    ):
        assert text in whole.text


@pytest.mark.parametrize("sweep", ["width", "batch", "collaborators", "link"])
def test_a_series_that_was_not_measured_is_not_there(everything: Benchmark, sweep: str) -> None:
    kept = tuple(case for case in everything.cases if case.sweep == sweep)
    seen = read(everything.model_copy(update={"cases": kept, "attacks": None, "recommendations": ()}))
    assert {sweep, "how"} <= set(seen.values("id"))
    assert not {*SECTIONS, *PRIVACY} - {sweep} & set(seen.values("id"))


def test_without_attacks_nothing_is_said_of_privacy(everything: Benchmark) -> None:
    seen = read(everything.model_copy(update={"attacks": None, "cases": everything.of("schemes")}))
    assert not set(PRIVACY) & set(seen.values("id"))
    assert "How much leaks" not in seen.text


@pytest.mark.parametrize("scheme", ["one process", "plain", "bfv", "a plug-in"])
def test_one_case_is_enough(scheme: str) -> None:
    one = made.case("schemes", scheme, made.standard())
    seen = read(made.benchmark(cases=(one,), recommendations=(), attacks=None, parameters={}, machine={}, notes=()))
    assert scheme in seen.text
    assert "costs0" in seen.values("id")


def test_a_benchmark_without_cases_still_has_a_page() -> None:
    seen = read(made.benchmark(cases=(), recommendations=(), attacks=None))
    assert "how" in seen.values("id")
    assert "not measured side by side" in seen.text


def test_refusals_are_marked_and_explained(everything: Benchmark, whole: Report) -> None:
    for case in everything.cases:
        if case.refused:
            assert case.refused in whole.text
    said = " ".join(whole.text.split())
    assert "bfv refuses at d = 512" in said
    assert said.count("paillier refuses") == 3, "in two plots and below them"
    refusing = Case(sweep="schemes", scheme="bfv", point=made.standard(), refused="no room")
    seen = read(made.benchmark(cases=(made.case("schemes", "plain", made.standard()), refusing), attacks=None))
    assert "cannot run here: no room" in seen.text
    assert read(made.benchmark(cases=(refusing,), attacks=None)).text.count("no room") == 1


def test_each_task_has_its_own_figures() -> None:
    points = (made.standard(), made.standard(task="digits", features=12, collaborators=3))
    cases = tuple(made.case("schemes", scheme, point) for point in points for scheme in ("plain", "bfv"))
    seen = read(made.benchmark(cases=cases, attacks=None))
    assert {"costs0", "costs1"} <= set(seen.values("id"))
    assert "collaborator3" in seen.text


def test_plain_is_the_measure_of_a_scheme_whose_width_alone_is_known() -> None:
    plain = made.case("schemes", "plain", made.standard(projection=None))
    bfv = made.case("schemes", "bfv", made.standard())
    seen = read(made.benchmark(cases=(plain, bfv), attacks=None))
    assert f"Privacy costs {bfv.batch_seconds / plain.batch_seconds:.1f} \N{MULTIPLICATION SIGN} plain" in seen.text


# Its figures are the data's ------------------------------------------------------------------------------------------


def test_the_table_of_costs_says_what_was_measured(everything: Benchmark, html: str) -> None:
    cases = {case.scheme: case for case in everything.of("schemes")}
    rows = {row[0].split(" hides")[0].split(" over")[0]: row for row in tables(html)[0][1:]}
    assert list(rows) == list(made.SCHEMES)
    for scheme, row in rows.items():
        case = cases[scheme]
        assert row[2] == f"{case.batch_seconds / cases['plain'].batch_seconds:.{0 if scheme == 'paillier' else 1}f}"
        if case.is_whole:
            assert row[1].startswith(f"{case.epoch_seconds:.2f} s")
            assert row[5] == f"{100 * (case.samples[0].rounds[-1].accuracy or 0):.2f} %"
    whole_epoch = cases["paillier"].batch_seconds * made.BATCHES
    assert rows["paillier"][1] == f"about {whole_epoch:.1f} s"
    assert rows["paillier"][5] == "-", "an accuracy after ten batches says nothing"
    assert rows["masked"][3] == "6.30 s"
    assert rows["bfv"][4] == "1.9 MB"
    assert rows["bfv"][6] == "3.0e-05"
    assert [rows[scheme][6] for scheme in ("one process", "plain", "plain + projection")] == ["-"] * 3
    assert rows["bfv"][7:] == ["514 MB", "509 MB"]


def test_a_part_of_an_epoch_is_not_called_one() -> None:
    """Without a whole epoch to go by, all is said of a batch, what is done ahead as well."""
    cases = tuple(made.case("schemes", scheme, made.standard(), batches=20) for scheme in ("plain", "masked", "bfv"))
    seen = read(made.benchmark(cases=cases, recommendations=(), attacks=None))
    assert "an epoch takes" not in seen.text
    masked = cases[1]
    before = 1e3 * masked.offline_seconds / 20
    said = f"a batch takes {1e3 * masked.batch_seconds:.1f} ms after {before:.1f} ms of work ahead"
    assert said in seen.text
    assert "accuracy" not in seen.values("id")
    labels = [each for each in seen.texts if "milliseconds a batch" in each or "seconds an epoch" in each]
    assert labels
    assert not [each for each in labels if "epoch" in each]


def test_without_plain_the_same_with_the_layer_is_the_measure() -> None:
    cases = tuple(
        made.case("schemes", scheme, made.standard()) for scheme in ("one process", "plain + projection", "bfv")
    )
    against = cases[2].batch_seconds / cases[1].batch_seconds
    seen = read(made.benchmark(cases=cases, attacks=None))
    assert f"Privacy costs {against:.1f} \N{MULTIPLICATION SIGN} plain + projection with bfv" in seen.text


def test_links_are_shown_beside_none() -> None:
    """The standard point has no link; a series over links that lacks it takes it from there."""
    cases = [made.case("schemes", scheme, made.standard()) for scheme in ("plain", "bfv", "masked")]
    cases += [made.case("link", scheme, made.standard(link=LINKS[2])) for scheme in ("plain", "bfv")]
    text = page(made.benchmark(cases=tuple(cases), attacks=None))
    check(text)
    assert ["scheme", "loopback", LINKS[2].name] in [found[0] for found in tables(text)]


def test_the_numbers_of_a_series_are_the_cases(everything: Benchmark, html: str) -> None:
    found = next(t for t in tables(html) if t[0][:3] == ["scheme", "8", "16"])
    cases = {(case.scheme, case.point.features): case for case in everything.of("width")}
    for row in found[1:]:
        for width, shown in zip(found[0][1:], row[1:], strict=True):
            case = cases[row[0], int(width)]
            assert shown == ("refused" if case.refused else significant(1e3 * case.batch_seconds))


def test_the_work_adds_up_to_the_median_epoch(everything: Benchmark) -> None:
    bfv = next(case for case in everything.of("schemes") if case.scheme == "bfv")
    for own in typical_work(bfv).values():
        assert sum(own.values()) == pytest.approx(bfv.epoch_seconds)


def test_sentences_follow_the_figures() -> None:
    """The largest part of what a scheme adds to plain is named, not assumed."""

    def with_work(scheme: str, work: dict[str, float]) -> Case:
        one = RoundSample(
            batches=10, train_seconds=sum(work.values()), bytes_sent=5, bytes_received=5, work={"host": work}
        )
        sample = Sample(rounds=(one,), batch_losses=(1.0,))
        return Case(sweep="schemes", scheme=scheme, point=made.standard(), samples=(sample,))

    plain = with_work("plain", {"top": 1.0, "wait": 1.0})
    bfv = with_work("bfv", {"top": 1.0, "decrypt": 3.0, "product": 1.0, "wait": 5.0})
    seen = read(made.benchmark(cases=(plain, bfv), recommendations=(), attacks=None))
    assert "bfv costs 5.0 \N{MULTIPLICATION SIGN} plain, 75 % of what it adds is decryption" in seen.text
    assert "No memory" not in seen.text
    assert not {"memory", "traffic", "accuracy", "take"} & set(seen.values("id"))


def test_a_scheme_that_learns_something_else_is_not_said_to_learn_the_same() -> None:
    def losing(scheme: str, loss: float) -> Case:
        sample = made.sample(scheme, made.standard(), 0, 1).model_copy(update={"batch_losses": (loss,) * made.BATCHES})
        return Case(sweep="schemes", scheme=scheme, point=made.standard(), samples=(sample,))

    reference = losing("plain + projection", 2.0)
    seen = read(made.benchmark(cases=(reference, losing("bfv", 2.0), losing("masked", nan)), attacks=None))
    assert "In the first epoch masked diverged from plain + projection." in seen.text
    assert "They learn the same" not in seen.text
    for loss, is_same in ((2.001, True), (2.5, False)):
        case = losing("bfv", loss)
        assert parity(case, reference) == pytest.approx(loss - 2.0)
        seen = read(made.benchmark(cases=(reference, case), attacks=None))
        assert ("They learn the same" in seen.text) is is_same


def test_the_recommendations_are_the_benchmarks(everything: Benchmark, html: str, whole: Report) -> None:
    found = next(t for t in tables(html) if t[0][:2] == ["link", "take"])
    for row, each in zip(found[1:], everything.recommendations, strict=True):
        assert row[0].startswith(each.link.name)
        assert "paillier 59.9 s , worked out" in row[2] or each.link != LINKS[0]
        assert row[1].startswith(each.scheme)
        assert row[3] == each.reason
    assert (
        "Take masked, whichever of these links you have. Where nothing can be done ahead: bfv on loopback" in whole.text
    )
    two = tuple(
        Recommendation(link=link, scheme=scheme, reason="because", seconds={scheme: 1.0})
        for link, scheme in zip(LINKS, ("masked", "bfv", "bfv", "paillier"), strict=True)
    )
    seen = read(everything.model_copy(update={"recommendations": two, "attacks": None, "cases": ()}))
    assert "Take masked on loopback; bfv on 1 Gbit, 1 ms and on 100 Mbit, 20 ms; paillier on 20 Mbit" in seen.text


def test_the_scores_are_the_attacks(html: str) -> None:
    found = next(t for t in tables(html) if t[0][0] == "defence" and len(t[0]) == 9)
    lines = {line["defence"]: line for line in made.attacks()["labels"] if line["task"] == "breast cancer"}
    rows = {row[0]: row for row in found[1:]}
    assert rows["Gaussian 1"][1] == f"{lines['Gaussian 1']['task AUC']:.3f}"
    assert rows["Gaussian 1"][3] == f"{max(lines['Gaussian 1']['norm'], lines['Gaussian 1']['cosine']):.3f}"
    assert rows["frozen bottom model"][3:5] == ["nothing to see"] * 2


def test_it_says_what_its_figures_are(whole: Report) -> None:
    said = " ".join(whole.text.split())
    for meaning in (
        "Where either had only some batches, both are taken by the median from batch to batch",
        "for masked, the wall seconds of making triples with the other party, the test set's as well",
        "of the party that spent most",
        "A batch's are those of the round that had the fewest, and not the median",
    ):
        assert meaning in said


# How it looks --------------------------------------------------------------------------------------------------------


def test_all_text_in_plots_changes_with_the_theme(html: str) -> None:
    fills = set(re.findall(r'<text [^>]*?fill="([^"]+)"', html))
    assert fills
    assert fills <= {*THEME, ON_FILL}
    assert not re.findall(r"<text (?![^>]*fill=)", html)


@given(st.lists(st.floats(0, 1), max_size=12), st.floats(0.01, 0.2))
def test_labels_are_moved_apart(places: list[float], gap: float) -> None:
    before = sorted(places)
    after = apart(before, gap)
    assert all(high - low >= gap - 1e-9 for low, high in pairwise(after))
    assert sum(after) == pytest.approx(sum(before), abs=1e-6)
    if all(high - low >= gap for low, high in pairwise(before)):
        assert after == pytest.approx(before)


def test_encoded_pictures_are_the_pictures_side_by_side() -> None:
    pictures = np.linspace(-0.5, 1.5, 2 * 4 * 3).reshape(2, 4, 3)
    strip = np.asarray(Image.open(io.BytesIO(base64.b64decode(encoded(pictures)))))
    assert strip.shape == (4, 2 * 3 + GAP)
    expected = np.rint(255 * np.clip(pictures, 0, 1))
    assert np.array_equal(strip[:, :3], expected[0])
    assert np.array_equal(strip[:, 3 + GAP :], expected[1])


def test_a_browser_shows_it(html: str, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text(html, encoding="utf-8")
    shown = path.read_text(encoding="utf-8")
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is not None:
        shown, complaints = in_browser(browser, path)
        assert "Security Policy" not in complaints
    assert Report(shown).tags.count("figure") > 20
