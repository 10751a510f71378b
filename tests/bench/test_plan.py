"""Which cases a request leads to, what is cut short, and that it says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from secure_hfl.bench.model import LINKS, Sweep
from secure_hfl.bench.plan import BATCHES, COLLABORATORS, CURVE_ROUNDS, SWEEPS, WIDTHS, Job, Plan, Request, make_plan
from secure_hfl.errors import ConfigurationError
from secure_hfl.examples.catalogue import EXAMPLES


def schemes_of(plan: Plan) -> list[str]:
    return [job.scheme for job in plan.jobs if "schemes" in job.sweeps]


def series(plan: Plan, sweep: Sweep, scheme: str) -> list[Job]:
    return [job for job in plan.jobs if sweep in job.sweeps and job.scheme == scheme]


def test_by_default_all_fast_schemes_run_whole_epochs_and_the_slow_one_is_said_to_be_missing():
    plan = make_plan(Request())
    assert schemes_of(plan) == ["one process", "plain", "plain + projection", "masked", "bfv"]
    assert {job.batches for job in plan.jobs} == {None}
    assert plan.epoch_batches == 79
    assert len(plan.notes) == 1
    assert "paillier is not measured" in plan.notes[0]


def test_a_slow_scheme_runs_part_of_an_epoch_and_says_so_unless_all_of_it_is_wanted():
    plan = make_plan(Request(schemes=("all",)))
    (paillier,) = (job for job in plan.jobs if job.scheme == "paillier")
    assert plan.jobs[-1] is paillier
    assert paillier.batches == 8
    assert "paillier runs 8 batches a round, not an epoch" in plan.notes[0]
    whole = make_plan(Request(schemes=("all",), is_whole=True))
    assert {job.batches for job in whole.jobs} == {None}
    assert not whole.notes


def test_one_limit_holds_for_all_unless_the_epoch_is_shorter():
    assert {job.batches for job in make_plan(Request(batches=5)).jobs} == {5}
    assert {job.batches for job in make_plan(Request(batches=79)).jobs} == {None}


def test_the_plain_runs_differ_by_the_layer_only():
    plain, reference = make_plan(Request(schemes=("plain", "bfv"), has_one_process=False)).jobs[:2]
    assert (plain.registered, plain.asks_for_projection) == ("plain", False)
    assert (reference.registered, reference.asks_for_projection) == ("plain", True)
    assert schemes_of(make_plan(Request(schemes=("plain", "bfv"), has_reference=False, has_one_process=False))) == [
        "plain",
        "bfv",
    ]
    assert schemes_of(make_plan(Request(schemes=("plain",), has_one_process=False))) == ["plain"]


@pytest.mark.parametrize("task", ["breast_cancer", "digits"])
def test_every_task_of_the_catalogue_can_be_measured(task: str):
    plan = make_plan(Request(task=task))
    assert schemes_of(plan) == ["plain", "plain + projection", "masked", "bfv"]
    assert {job.point.collaborators for job in plan.jobs} == {len(EXAMPLES[task].collaborators)}


def test_every_series_has_its_points_and_the_common_one_is_measured_once():
    plan = make_plan(Request(sweeps=SWEEPS))
    assert sorted(job.point.features for job in series(plan, "width", "bfv")) == list(WIDTHS)
    assert sorted(job.point.batch for job in series(plan, "batch", "bfv")) == list(BATCHES)
    assert sorted(job.point.collaborators for job in series(plan, "collaborators", "bfv")) == list(COLLABORATORS)
    assert [job.point.link for job in series(plan, "link", "bfv")] == list(LINKS)
    (common,) = (job for job in series(plan, "width", "bfv") if job.point.features == 20)
    assert common.sweeps == ("width", "batch", "collaborators")


def test_scripts_of_a_series_are_told_its_parameters_and_have_no_test():
    (job,) = (
        job for job in series(make_plan(Request(sweeps=("width",))), "width", "masked") if job.point.features == 64
    )
    told = job.scripts[1].environment
    assert (told["MNIST_FEATURES"], told["MNIST_WIDTH"], told["MNIST_LOG_ROUNDS"]) == ("64", "64", "0")
    (job,) = (
        job for job in series(make_plan(Request(sweeps=("batch",))), "batch", "masked") if job.point.batch == 1024
    )
    assert job.scripts[0].environment["MNIST_BATCH"] == "1024"
    assert job.batches == 9  # the tenth is a small one


def test_slow_schemes_are_swept_only_so_far_and_the_plan_says_so():
    plan = make_plan(Request(schemes=("all",), sweeps=SWEEPS))
    assert max(job.point.features or 0 for job in series(plan, "width", "paillier")) == 32
    assert max(job.point.batch or 0 for job in series(plan, "batch", "paillier")) == 256
    assert any("swept up to 32 features" in note for note in plan.notes)


def test_links_that_were_named_are_measured_with_the_task_itself():
    plan = make_plan(Request(task="breast_cancer", schemes=("masked",), links=(LINKS[3],)))
    (job,) = series(plan, "link", "masked")
    assert (job.point.task, job.point.link) == ("breast_cancer", LINKS[3])


def test_own_scripts_are_a_task_of_unknown_size(tmp_path: Path):
    paths = (tmp_path / "host.py", tmp_path / "one.py", tmp_path / "two.py")
    plan = make_plan(Request(scripts=paths))
    assert schemes_of(plan) == ["plain", "plain + projection", "masked", "bfv"]
    assert [script.path for script in plan.jobs[0].scripts] == list(paths)
    assert [script.name for script in plan.jobs[0].scripts[1:]] == ["one", "two"]
    assert plan.jobs[0].point.collaborators == 2
    assert plan.epoch_batches is None


def test_what_does_not_exist_is_refused_before_anything_runs(tmp_path: Path):
    with pytest.raises(ConfigurationError, match="no scheme 'rot13'; known: bfv, masked, paillier, plain"):
        make_plan(Request(schemes=("plain", "rot13")))
    with pytest.raises(ConfigurationError, match="no example 'iris'"):
        make_plan(Request(task="iris"))
    with pytest.raises(ConfigurationError, match="the host's script, and one or more"):
        make_plan(Request(scripts=(tmp_path / "host.py",)))


def test_a_series_is_measured_once_and_the_standard_point_in_every_run():
    plan = make_plan(Request(sweeps=("rounds", "link")))
    repeated = [job for job in plan.jobs if job.is_repeated]
    assert {job.sweeps for job in repeated} == {("schemes",)}
    assert plan.measurements(3) == len(plan.jobs) + 2 * len(repeated)


def test_the_rounds_series_has_the_same_jobs_over_more_rounds_less_the_slow_and_the_baseline():
    plan = make_plan(Request(schemes=("all",), sweeps=("rounds",)))
    curves = [job for job in plan.jobs if job.sweeps == ("rounds",)]
    assert [job.scheme for job in curves] == ["plain", "plain + projection", "masked", "bfv"]
    assert {(job.rounds, job.batches) for job in curves} == {(CURVE_ROUNDS, None)}
