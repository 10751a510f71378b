"""The report's sections on privacy, from what `python -m benchmarks.privacy --json FILE` wrote.

That file is read as it comes: a part that is missing, or of another form than expected, is left out.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any

from markupsafe import Markup

from secure_hfl.bench.numbers import listed, percent
from secure_hfl.bench.report import plots
from secure_hfl.pages import pieces

Found = Mapping[str, Any]
ONE_BATCH = ("norm", "cosine")
CALLED = {"nothing": "no noise", "no layer": "no noise, no layer (plain)"}
"""What the benchmark calls otherwise."""

AFFORDABLE = 0.01
"""Of the task's AUC: what noise may cost in the sentence above the plot."""

MOST_PICTURE_BYTES = 1 << 20
PNG = b"\x89PNG\r\n\x1a\n"


def privacy(attacks: Found | None) -> list[tuple[str, Markup]]:
    """All sections: their anchors and themselves. Those without content are empty."""
    found = attacks or {}
    parts = (
        ("labels", "How much leaks: labels, from the gradients", _labels(found)),
        ("pictures", "How much leaks: features and pictures, from the projections", _inversion(found)),
        ("anchors", "Are the attacks any good?", _anchors(found)),
    )
    return [(anchor, pieces.section(anchor, heading, content)) for anchor, heading, content in parts]


def _lines(found: Found, name: str, texts: Sequence[str], figures: Sequence[str] = ()) -> list[dict[str, Any]]:
    """A list of scores: those lines that have these texts and numbers."""
    own = found.get(name)
    return [
        line
        for line in (own if isinstance(own, list) else [])
        if isinstance(line, dict)
        and all(isinstance(line.get(key), str) for key in texts)
        and all(_is_number(line.get(key)) for key in figures)
    ]


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and isfinite(value)


def _number(line: Found, key: str) -> float | None:
    value = line.get(key)
    return float(value) if isinstance(value, (int, float)) and _is_number(value) else None


def _score(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _called(defence: object) -> str:
    return CALLED.get(str(defence), str(defence))


# Labels --------------------------------------------------------------------------------------------------------------


def _labels(found: Found) -> Markup:
    lines = _lines(found, "labels", ("task", "defence"), ("task AUC", "strongest"))
    tasks = list(dict.fromkeys(line["task"] for line in lines))
    drawn = []
    for number, task in enumerate(tasks):
        own = [line for line in lines if line["task"] == task]
        title = f"{task}: {_affordable(own)}"
        alt = f"AUC of the task against AUC of the strongest attack. {title}. " + "; ".join(
            f"{_called(line['defence'])}: attack {line['strongest']:.2f}, task {line['task AUC']:.3f}" for line in own
        )
        drawn.append(pieces.figure(title, plots.tradeoff_svg(f"labels{number}", alt, own)))
    completed = _completion(found)
    if not drawn:
        return completed
    explained = (
        "A collaborator that trains its bottom model sees gradients, and gradients tell labels, under every scheme "
        "alike. Encryption does not help here. Noise that the Host adds (gradient_noise) lowers what these attacks "
        "score, and a frozen bottom model is shown no gradient. Only drawn labels (label_privacy, not in this table) "
        "have a bound for a whole run. AUC of an attack is a score: 0.5 is guessing, 1 is knowing."
    )
    shown = pieces.group("plots", pieces.many(drawn))
    return pieces.many([pieces.paragraph(explained), shown, _label_table(lines, tasks), completed])


def _affordable(own: Sequence[Found]) -> str:
    """The most that noise achieves without costing the task much."""
    by_name = {line["defence"]: line for line in own}
    nothing = by_name.get("nothing")
    noisy = [line for line in own if line["defence"].startswith(tuple(plots.FAMILIES))]
    if nothing is None or not noisy:
        return "the attack against the task"
    cheap = [line for line in noisy if line["task AUC"] >= nothing["task AUC"] - AFFORDABLE]
    if not cheap:
        return f"without noise the labels are read at {nothing['strongest']:.2f}, and all noise costs the task"
    best = min(cheap, key=lambda line: line["strongest"])
    cost = nothing["task AUC"] - best["task AUC"]
    price = f"for {cost:.3f} of the task" if cost >= 0.0005 else "for nothing"
    return f"{best['defence']} takes the best attack from {nothing['strongest']:.2f} to {best['strongest']:.2f} {price}"


def _label_table(lines: Sequence[Found], tasks: Sequence[str]) -> Markup:
    by_place = {(line["task"], line["defence"]): line for line in lines}
    heads = ["defence"]
    for task in tasks:
        heads += [f"{task}: task#", "accuracy#", "one batch#", "all epochs#"]

    def row(defence: str) -> list[str]:
        cells = [_called(defence)]
        for task in tasks:
            line = by_place.get((task, defence), {})
            cells += [_score(_number(line, "task AUC")), percent(_number(line, "accuracy")), *_attacks(line)]
        return cells

    note = (
        "AUC of the task and of the attacks: one batch, the better of norm and cosine (Li et al., ICLR 2022); all "
        "epochs, the best that adds up what it sees of a sample in every epoch. The number behind a defence is its "
        "strength."
    )
    rows = [row(defence) for defence in dict.fromkeys(line["defence"] for line in lines)]
    return pieces.many([pieces.table(heads, rows), pieces.note(note)])


def _attacks(line: Found) -> tuple[str, str]:
    one = [value for key in ONE_BATCH if (value := _number(line, key)) is not None]
    many = [value for key in line if key.endswith("all epochs") and (value := _number(line, key)) is not None]
    nothing = "nothing to see" if line and not one and not many else "-"
    return (_score(max(one)) if one else nothing), (_score(max(many)) if many else nothing)


def _completion(found: Found) -> Markup:
    lines = _lines(found, "completion", ("defence",), ("completion",))
    if not lines:
        return Markup()
    keys = [
        key
        for key in ("task accuracy", "completion", "scratch")
        if any(_number(line, key) is not None for line in lines)
    ]
    names = {
        "task accuracy": "the task#",
        "completion": "from its trained bottom model#",
        "scratch": "from a fresh one#",
    }
    rows = [[_called(line["defence"]), *(percent(_number(line, key)) for key in keys)] for line in lines]
    explained = (
        "Model completion (Fu et al., USENIX Security 2022): the share of the other labels that a collaborator gets "
        "right which knows a few of each class. What a fresh bottom model gets is what those labels tell anyhow."
    )
    table = pieces.table(["defence", *(names[key] for key in keys)], rows, "narrow")
    heading = pieces.subheading("Labels, from the model itself")
    return pieces.many([heading, pieces.paragraph(explained), table])


# Features and pictures -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Strip:
    name: str
    png: str
    score: str = ""


def _inversion(found: Found) -> Markup:
    lines = _lines(found, "inversion", ("view",))
    strips = list(_strips(found.get("pictures")))
    if not lines and not strips:
        return Markup()
    explained = (
        "What the Host makes of the numbers that it gets for each sample, if it knows features or pictures of some. "
        "With no layer those are the features themselves (plain), else their projection by weights that nobody knows, "
        "as wide as the features (o = d) or narrower (o < d). Normalised squared error: 0 is all, 1 is nothing. SSIM: "
        "1 is the same picture; that of the mean picture is what no attack at all gets."
    )
    sentence = _inversion_title(lines)
    said = [pieces.paragraph(explained), *([pieces.bold(sentence)] if sentence else [])]
    return pieces.many([*said, _inversion_table(lines), _pictures(strips, lines)])


def _fraction(lines: Sequence[Found]) -> str:
    """The largest fraction of known samples that the scores are of, as they write it."""
    fractions = {key.removeprefix("SSIM ridge, ") for line in lines for key in line if key.startswith("SSIM ridge, ")}
    return max(fractions, key=lambda each: (len(each), each), default="")


def _best(line: Found, score: str, fraction: str) -> float | None:
    values = [_number(line, f"{score} {attack}, {fraction}") for attack in ("ridge", "decoder")]
    known = [value for value in values if value is not None]
    return (max(known) if score == "SSIM" else min(known)) if known else None


def _inversion_title(lines: Sequence[Found]) -> str:
    fraction = _fraction(lines)
    found = {line["view"]: best for line in lines if (best := _best(line, "SSIM", fraction)) is not None}
    if not found:
        return ""
    means = [mean for line in lines if (mean := _number(line, f"SSIM mean, {fraction}")) is not None]
    said = listed([f"{ssim:.2f} ({view})" for view, ssim in found.items()])
    beside = f"; the mean picture has {max(means):.2f}" if means else ""
    return f"With {fraction} of the samples known, the pictures come back with an SSIM of {said}{beside}."


def _inversion_table(lines: Sequence[Found]) -> Markup:
    if not lines:
        return Markup()
    fraction = _fraction(lines)
    heads = ["view", "features: error, some known#", "error, none known (ICA)#"]
    heads += [f"pictures: error, {fraction} known#", "SSIM#", "SSIM of the mean#", "the task#"]

    def row(line: Found) -> list[str]:
        known = next((_number(line, key) for key in line if key.startswith("features") and "known" in key), None)
        values = [known, _number(line, "features, ICA"), _best(line, "NMSE", fraction), _best(line, "SSIM", fraction)]
        values.append(_number(line, f"SSIM mean, {fraction}"))
        return [line["view"], *map(_score, values), percent(_number(line, "accuracy"))]

    keys = list(
        dict.fromkeys(key for line in lines for key in line if key != "view" and _number(line, key) is not None)
    )
    every = [[key, *(_score(_number(line, key)) for line in lines)] for key in keys]
    note = pieces.note("The better of a ridge regression and a small decoder network.")
    scores = pieces.numbers(["score", *(f"{line['view']}#" for line in lines)], every)
    return pieces.many([pieces.table(heads, [row(line) for line in lines]), note, scores])


def _strips(pictures: object) -> Iterator[_Strip]:
    """The pictures that are PNGs."""
    for name, value in pictures.items() if isinstance(pictures, dict) else ():
        try:
            data = base64.b64decode(value, validate=True) if isinstance(value, str) else b""
        except (binascii.Error, ValueError):
            continue
        if data.startswith(PNG) and len(data) <= MOST_PICTURE_BYTES:
            yield _Strip(str(name), base64.b64encode(data).decode())


def _pictures(strips: Sequence[_Strip], lines: Sequence[Found]) -> Markup:
    if not strips:
        return Markup()
    fraction = _fraction(lines)
    scores = {line["view"]: _best(line, "SSIM", fraction) for line in lines}

    scored = [
        replace(strip, score="" if (ssim := scores.get(strip.name)) is None else f"SSIM {ssim:.2f}") for strip in strips
    ]
    return pieces.pictures("The same pictures, as the collaborator has them and as the Host reconstructs them", scored)


# Anchors -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Anchor:
    """An attack where it is known to work: what it scored, and from where on that is as strong as it should be."""

    what: str
    score: str
    expected: str
    is_reached: bool


def _anchors(found: Found) -> Markup:
    anchors = [*_label_anchors(found), *_completion_anchor(found), *_made_anchors(found)]
    content = []
    if anchors:
        reached = sum(anchor.is_reached for anchor in anchors)
        all_of = (
            f"All {len(anchors)} attacks are" if reached == len(anchors) else f"{reached} of {len(anchors)} attacks are"
        )
        explained = (
            f"{all_of} as strong as they should be where nothing protects: only then do their failures mean anything."
        )
        rows = [(each.what, each.score, each.expected, pieces.mark(each.is_reached)) for each in anchors]
        heads = ("attack", "score#", "to be expected", "")
        content = [pieces.paragraph(explained), pieces.table(heads, rows)]
    return pieces.many([*content, _beside(found.get("bfv beside plain"))])


def _label_anchors(found: Found) -> Iterator[_Anchor]:
    for line in _lines(found, "labels", ("task", "defence")):
        if line["defence"] == "no layer":
            for attack in ONE_BATCH:
                value = _number(line, f"{attack} 95%")
                if value is not None:
                    what = f"{attack} attack on plain, {line['task']}: AUC, 95th percentile of the batches"
                    yield _Anchor(what, _score(value), "close to 1 (Li et al.)", value >= 0.95)


def _completion_anchor(found: Found) -> Iterator[_Anchor]:
    for line in _lines(found, "completion", ("defence",), ("completion", "scratch")):
        if line["defence"] == "nothing":
            value, fresh = line["completion"], line["scratch"]
            expected = f"well above a fresh model's {percent(fresh)} (Fu et al.)"
            yield _Anchor("model completion on plain: other labels", percent(value), expected, value >= fresh + 0.1)


def _made_anchors(found: Found) -> Iterator[_Anchor]:
    """Where the data was made for the attack."""
    own = found.get("anchors")
    for key, value in own.items() if isinstance(own, dict) else ():
        if _is_number(value):
            is_error = key.endswith("NMSE")
            expected = "close to 0: made for it" if is_error else "close to 1: nothing was lost"
            yield _Anchor(str(key), _score(value), expected, value <= 0.05 if is_error else value >= 0.95)


def _beside(scores: object) -> Markup:
    """The same attacks on the same seed under encryption."""
    own = scores if isinstance(scores, dict) else {}
    pairs = [(attack, _number(own, f"{attack}, plain"), _number(own, f"{attack}, bfv")) for attack in ONE_BATCH]
    known = [(attack, plain, bfv) for attack, plain, bfv in pairs if plain is not None and bfv is not None]
    if not known:
        return Markup()
    rows = [(attack, _score(plain), _score(bfv)) for attack, plain, bfv in known]
    most = max(abs(plain - bfv) for _, plain, bfv in known)
    said = (
        f"On bfv the attacks score within {most:.1g} of what they do on plain, from the same seed."
        if most
        else ("On bfv the attacks score what they do on plain, from the same seed.")
    )
    end = ", relative difference"
    views = [(key.removesuffix(end), _number(own, key)) for key in own if isinstance(key, str) and key.endswith(end)]
    differences = [f"{name} by {100 * value:.1g} %" for name, value in views if value is not None]
    if differences:
        said += f" What they see differs by the smoothing noise: {listed(differences)}."
    table = pieces.table(("attack", "plain#", "bfv#"), rows, "narrow")
    return pieces.many([pieces.subheading("Under encryption"), pieces.paragraph(said), table])
