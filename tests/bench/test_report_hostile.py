"""The report of benchmarks and scores that say anything: names that are markup, figures that are none."""

from __future__ import annotations

import base64
import re
from math import inf, nan
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.privacy.figures import encoded
from secure_hfl.bench.model import Case, LinkProfile, Recommendation
from secure_hfl.bench.report.page import page, write_report
from tests.bench import sample_benchmark as made
from tests.bench.report_page import read

HOSTILE = '</title><script>alert("x")</script><img src=http://evil onerror=alert(1)>&amp;\'" $\\frac{$ \x1b[31m'
SHOWN = HOSTILE.replace("\x1b", "\N{REPLACEMENT CHARACTER}")
PRIVACY = ("labels", "pictures", "anchors")
PICTURE = encoded(np.linspace(0, 1, 3 * 28 * 14).reshape(3, 28, 14))


def test_no_name_becomes_markup(tmp_path: Path) -> None:
    link = LinkProfile(name=HOSTILE, megabits=3.0)
    point = made.standard(task=HOSTILE, link=link)
    plain, plug_in = made.case("schemes", "plain", point), made.case("schemes", HOSTILE, point, rounds=2)
    sample = plug_in.samples[0]
    rounds = tuple(each.model_copy(update={"work": {HOSTILE: {HOSTILE: 1.0, "wait": 2.0}}}) for each in sample.rounds)
    counts = tuple(count.model_copy(update={"type": HOSTILE + str(at)}) for at, count in enumerate(sample.messages))
    changes = {"rounds": rounds, "messages": counts, "peak_mb": {HOSTILE: 7.0}}
    plug_in = plug_in.model_copy(update={"samples": (sample.model_copy(update=changes),)})
    refusing = Case(sweep="width", scheme=HOSTILE, point=point, refused=HOSTILE)
    wide = (plain.model_copy(update={"sweep": "width"}), plug_in.model_copy(update={"sweep": "width"}), refusing)
    slow = tuple(case.model_copy(update={"sweep": "link"}) for case in (plain, plug_in))
    scores = {"task": HOSTILE, "defence": HOSTILE, "task AUC": 0.9, "strongest": 0.8, HOSTILE: 1.0}
    attacks = {
        "labels": [scores, scores | {"defence": f"Gaussian {HOSTILE}"}],
        "completion": [{"defence": HOSTILE, "completion": 0.5}],
        "inversion": [{"view": HOSTILE, HOSTILE: 0.3, "SSIM ridge, 5%": 0.2}],
        "pictures": {HOSTILE: PICTURE},
        "anchors": {HOSTILE: 0.5},
        "bfv beside plain": {"norm, plain": 0.5, "norm, bfv": 0.5, f"{HOSTILE}, relative difference": 0.5},
    }
    advice = Recommendation(
        link=link,
        scheme=HOSTILE,
        reason=HOSTILE,
        seconds={HOSTILE: 1.0},
        unprepared=HOSTILE + "2",
        basis={HOSTILE: HOSTILE},
    )
    benchmark = made.benchmark(
        created=HOSTILE,
        command=HOSTILE,
        machine={HOSTILE: HOSTILE, "packages": {HOSTILE: HOSTILE}},
        parameters={HOSTILE: HOSTILE},
        cases=(plain, plug_in, *wide, *slow),
        recommendations=(advice,),
        attacks=attacks,
        notes=(HOSTILE,),
    )
    text = page(benchmark)
    assert "<script" not in text
    assert "evil" not in re.sub(r"&#34;|&#39;|&amp;|&lt;|&gt;", "", re.sub(r">[^<]*<|\"[^\"]*\"", "", text))
    seen = read(benchmark)
    assert seen.text.count(SHOWN) > 30
    path = tmp_path / "report.html"
    write_report(benchmark, path)
    assert path.read_text(encoding="utf-8") == text


@pytest.mark.parametrize(
    "attacks",
    [
        {"labels": 3, "completion": {}, "inversion": "x", "pictures": [], "anchors": None, "bfv beside plain": 7},
        {"labels": [1, {}, {"task": 3, "defence": [], "task AUC": "x", "strongest": nan}], "pictures": {"a": 3}},
        {"labels": [{"task": "t", "defence": "d", "task AUC": True, "strongest": inf}], "inversion": [{"view": None}]},
        {"pictures": {"a": "not base64!", "b": base64.b64encode(b"<svg onload=alert(1)>").decode(), "c": ""}},
        {"completion": [{"defence": 3}], "anchors": {"x": "y"}, "bfv beside plain": {"norm, plain": "a"}},
    ],
)
def test_scores_of_another_form_are_left_out(attacks: dict[str, Any]) -> None:
    seen = read(made.benchmark(cases=(), recommendations=(), attacks=attacks))
    assert not {"labels", "pictures"} & set(seen.values("id"))
    assert "img" not in seen.tags


def test_scores_without_pictures_are_shown() -> None:
    attacks = {key: value for key, value in made.attacks().items() if key != "pictures"}
    seen = read(made.benchmark(cases=(), attacks=attacks))
    assert set(PRIVACY) <= set(seen.values("id"))
    assert "img" not in seen.tags
    assert "All 7 attacks are as strong as they should be" in seen.text
    weak = dict(attacks, anchors={"ICA, independent features: NMSE": 0.9})
    assert "5 of 6 attacks are as strong" in read(made.benchmark(cases=(), attacks=weak)).text


@pytest.mark.parametrize("value", [nan, inf, 0.0])
def test_runs_that_went_wrong_do_not_stop_the_report(value: float) -> None:
    one = made.sample("bfv", made.standard(), 0, 2)
    rounds = tuple(each.model_copy(update={"loss": value, "accuracy": value}) for each in one.rounds)
    losses = (value,) * len(one.batch_losses)
    sample = one.model_copy(update={"rounds": rounds, "batch_losses": losses, "offline_seconds": 0.0})
    case = Case(sweep="schemes", scheme="bfv", point=made.standard(), samples=(sample,))
    read(made.benchmark(cases=(case, made.case("schemes", "plain + projection", made.standard())), attacks=None))
