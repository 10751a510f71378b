"""Which scheme to take, for each link: from what was measured over it, or worked out from what was measured without.

    an epoch over a link, worked out = batches x (seconds + bytes / rate + round trips x round trip time)

as if nothing overlapped. Seconds are those on this machine over loopback, bytes those of both ways, and with several
collaborators those of one: each has a link of its own. What "masked" makes ahead takes its offline seconds (for the
test set as well), and the time of its bytes. Of a part of an epoch, seconds are its median batch, without the first
ones, times an epoch's batches.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from secure_hfl.bench.model import ONE_PROCESS, PLAIN, REFERENCE, Case, LinkProfile, Recommendation, hides_features
from secure_hfl.bench.numbers import memory, seconds, size

MEASURED, WORKED_OUT = "measured", "worked out"


@dataclass(frozen=True)
class Estimate:
    """One scheme over one link. Seconds and bytes are an epoch's; `ahead` is what a single one takes before it."""

    scheme: str
    seconds: float
    ahead: float
    ahead_bytes: float
    first: float
    basis: str
    case: Case

    @property
    def single(self) -> float:
        """An epoch for which nothing has been prepared."""
        return self.ahead + self.first


def recommend(
    cases: Sequence[Case], links: Iterable[LinkProfile], epoch_batches: int | None = None
) -> tuple[Recommendation, ...]:
    """One for each link; none if no scheme was measured that protects anything.

    Args:
        cases: of the series "schemes", and of "link" if it was measured.
        links: to recommend for.
        epoch_batches: of a whole epoch; None: as many as were measured.
    """
    standard = [case for case in cases if case.sweep == "schemes" and case.samples]
    if not any(hides_features(case.scheme) for case in standard):
        return ()
    batches = epoch_batches or max(each.batches for case in standard for each in case.rounds)
    over = {(case.scheme, case.point.link): case for case in cases if case.sweep == "link" and case.samples}
    found = []
    for link in links:
        estimates = [
            _estimate(case, over.get((case.scheme, link)), link, batches)
            for case in standard
            if case.scheme != ONE_PROCESS
        ]
        found.append(_recommend(link, estimates, batches))
    return tuple(found)


def _estimate(standard: Case, over: Case | None, link: LinkProfile, batches: int) -> Estimate:
    if not link.is_shaped and standard.is_whole:
        over = None  # an epoch tells more than some batches of the same
    case = over or standard
    if over is None and link.is_shaped:
        return _worked_out(standard, link, batches)
    scale = 1.0 if case.is_whole else batches / max(1, median([each.batches for each in case.rounds]))
    if case.is_whole:
        basis, epoch = MEASURED, case.epoch_seconds
        first = median([sample.rounds[0].train_seconds for sample in case.samples])
    else:
        basis = f"from {case.batches} batches, {MEASURED}"
        first = epoch = batches * case.batch_seconds
    ahead = scale * case.offline_seconds if case.offline_bytes else 0.0
    return Estimate(case.scheme, epoch, ahead, scale * case.offline_bytes, first, basis, case)


def _worked_out(case: Case, link: LinkProfile, batches: int) -> Estimate:
    here = _estimate(case, None, LinkProfile(name="here"), batches)
    byte_seconds = 8e-6 / link.megabits if link.megabits else 0.0
    byte_seconds /= case.point.collaborators
    round_trip = (link.round_trip_milliseconds or 0.0) / 1e3
    wire = batches * (case.bytes_per_batch * byte_seconds + case.round_trips_per_batch * round_trip)
    ahead = here.ahead + here.ahead_bytes * byte_seconds
    basis = WORKED_OUT if case.is_whole else f"{WORKED_OUT} from {case.batches} batches"
    return Estimate(case.scheme, here.seconds + wire, ahead, here.ahead_bytes, here.first + wire, basis, case)


def _recommend(link: LinkProfile, estimates: Sequence[Estimate], batches: int) -> Recommendation:
    private = [each for each in estimates if hides_features(each.scheme)]
    best = min(private, key=lambda each: each.seconds)
    unprepared = min(private, key=lambda each: each.single)
    plain = next((each for name in (PLAIN, REFERENCE) for each in estimates if each.scheme == name), None)
    sentences = [_fastest(best, batches), *_without_protection(plain), *_ahead(best, unprepared), _memory(private)]
    return Recommendation(
        link=link,
        scheme=best.scheme,
        reason=" ".join(sentences),
        seconds={each.scheme: each.seconds for each in estimates},
        unprepared=unprepared.scheme,
        with_offline={each.scheme: each.single for each in estimates},
        basis={each.scheme: each.basis for each in estimates},
    )


def _fastest(best: Estimate, batches: int) -> str:
    return (
        f"{best.scheme} has the fastest epoch that protects anything: {seconds(best.seconds)} for {batches} batches "
        f"({best.basis})."
    )


def _without_protection(plain: Estimate | None) -> Iterable[str]:
    if plain is not None:
        yield f"{plain.scheme} takes {seconds(plain.seconds)} ({plain.basis}), and protects nothing."


def _ahead(best: Estimate, unprepared: Estimate) -> Iterable[str]:
    if not best.ahead:
        return
    at_most = "" if best.case.is_whole else "at most "
    yield (
        f"Its one-time masks take {at_most}{seconds(best.ahead)} and {size(best.ahead_bytes)} more, before an epoch or "
        "beside the one before it."
    )
    if unprepared.scheme == best.scheme:
        yield f"Even with them it is the fastest: {seconds(best.single)}."
    else:
        # With several epochs measured, their seconds contain what they waited for masks.
        several = len(best.case.samples[0].rounds) > 1
        when = "a single epoch" if several else "a single epoch, or for epochs without a pause between them"
        yield (
            f"For {when}, take {unprepared.scheme}: {seconds(unprepared.single)} ({unprepared.basis}) "
            f"against {seconds(best.single)}."
        )


def _memory(private: Sequence[Estimate]) -> str:
    peaks = [(each.scheme, max(memory(each.case).values(), default=0.0)) for each in private]
    return f"Memory of a party: {', '.join(f'{scheme} {mb:.0f} MB' for scheme, mb in peaks)}."
