"""What the examples' parties agree on, and the catalogue's facts."""

from __future__ import annotations

from itertools import chain, combinations
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from secure_hfl import HeteroNNHostScheduler, RandomizedResponse
from secure_hfl.errors import ConfigurationError
from secure_hfl.examples import catalogue, samples
from secure_hfl.examples.breast_cancer import columns
from secure_hfl.examples.breast_cancer.host import Clinic
from secure_hfl.examples.digits import strips
from secure_hfl.examples.digits.host import DigitsHost
from tests.examples.central import common_ids

TASKS: dict[str, ModuleType] = {"breast_cancer": columns, "digits": strips}
each_task = pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)


@each_task
def test_no_party_holds_all_that_another_holds(task: ModuleType) -> None:
    held = [set(task.local_ids(party)) for party in task.PARTIES]
    for one, other in combinations(held, 2):
        assert one - other
        assert other - one


@each_task
def test_where_a_sample_goes_depends_on_its_id_alone(task: ModuleType) -> None:
    train, test = task.split(common_ids(task))
    some = {each for each in common_ids(task) if each.endswith(("1", "2", "3"))}
    assert task.split(some) == (train & some, test & some)
    assert not train & test


@each_task
def test_batches_line_up_and_are_shuffled_in_every_round(task: ModuleType) -> None:
    train, test = task.split(common_ids(task))
    orders = [
        [[ids for ids, _ in task.batches(party, train, train, number)] for party in task.PARTIES] for number in (1, 2)
    ]
    for by_party in orders:
        assert all(order == by_party[0] for order in by_party)
        assert sorted(chain(*by_party[0])) == sorted(train)
    assert orders[0] != orders[1]
    assert [each for ids, _ in task.batches(task.PARTIES[0], test, train) for each in ids] == sorted(test)


@each_task
def test_columns_are_standardised_over_the_training_rows(task: ModuleType) -> None:
    train, test = task.split(common_ids(task))
    for party in task.PARTIES:
        rows = torch.cat([rows for _, rows in task.batches(party, train, train)])
        parts = [rows] if task is strips else list(rows.T)
        assert all(abs(float(part.mean())) < 1e-5 for part in parts)
        assert all(float(part.std(unbiased=False)) == pytest.approx(1, abs=1e-5) for part in parts)
        fewer = torch.cat([rows for _, rows in task.batches(party, test, train)])
        assert abs(float(fewer.mean())) > 1e-5, "the test rows have no part in it"


def test_the_parties_columns_are_the_whole_table() -> None:
    train, _ = columns.split(common_ids(columns))
    widths = [next(iter(columns.batches(party, train, train)))[1].shape[1] for party in columns.PARTIES]
    assert widths == [12, 18]
    assert not set(columns.MEASUREMENTS["clinic"]) & set(columns.MEASUREMENTS["laboratory"])


def test_both_classes_weigh_the_same() -> None:
    train, _ = columns.split(common_ids(columns))
    logits = torch.zeros(len(train), requires_grad=True)
    labels = columns.labels(train)
    columns.loss_function(train)(logits, labels).backward()
    assert logits.grad is not None
    malignant, benign = logits.grad[labels == 1], logits.grad[labels == 0]
    assert float(malignant.sum()) == pytest.approx(-float(benign.sum()), rel=1e-5)
    assert abs(float(malignant[0])) > 1.5 * abs(float(benign[0])), "so the gradients of single samples are not alike"


def test_labels_may_be_protected(monkeypatch: pytest.MonkeyPatch) -> None:
    assert samples.label_privacy(10) is None
    environment = catalogue.with_label_privacy(catalogue.digits(), 3.0).host.environment
    assert not catalogue.digits().host.environment
    monkeypatch.setenv(*environment.popitem())
    assert samples.label_privacy(10) == RandomizedResponse(3.0, 10)
    monkeypatch.setenv("LABEL_EPSILON", "three")
    with pytest.raises(ConfigurationError, match="LABEL_EPSILON must be a number, not 'three'"):
        samples.label_privacy(10)


@pytest.mark.parametrize(("host", "task"), [(Clinic, columns), (DigitsHost, strips)])
def test_protected_labels_are_used_nowhere_else(
    monkeypatch: pytest.MonkeyPatch, host: type[HeteroNNHostScheduler], task: ModuleType
) -> None:
    """Weights of classes would tell true labels."""
    response = RandomizedResponse(1.0, catalogue.find(task.__name__.split(".")[-2]).classes)
    scheduler: Any = host(task.PARTIES[0], max_rounds=1, label_privacy=response)
    scheduler._run = SimpleNamespace(train_ids=task.split(common_ids(task))[0])
    asked: list[str] = []
    labels = task.labels
    monkeypatch.setattr(task, "labels", lambda ids: asked.extend(ids) or labels(ids))
    scheduler.build_infer_model()
    assert not asked
    assert scheduler.training_loss == response.loss


def test_the_ids_of_mnists_batches_are_those_of_its_rows(tmp_path: Path) -> None:
    from secure_hfl.examples.mnist import strips as mnist
    from secure_hfl.examples.mnist import unpack

    root = str(unpack(tmp_path))
    by_id = [
        {
            each: (int(label), float(row.sum()))
            for ids, data, labels in batches
            for each, row, label in zip(ids, data, labels)
        }
        for batches in (mnist.batches(root, set(range(300)), True, number) for number in (1, 2))
    ]
    assert by_id[0] == by_id[1]
    assert by_id[0].keys() == set(range(300))


@pytest.mark.parametrize("strip", ["0", "4", "x"])
def test_a_strip_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch, strip: str) -> None:
    monkeypatch.setenv("DIGITS_STRIP", strip)
    with pytest.raises(ConfigurationError, match="DIGITS_STRIP must be 1 to 3"):
        strips.own_strip()


@pytest.mark.parametrize("name", TASKS)
def test_the_catalogue_knows_the_numbers(name: str) -> None:
    task, example = TASKS[name], catalogue.find(name)
    train, test = task.split(common_ids(task))
    assert example.local_ids == tuple(len(task.local_ids(party)) for party in task.PARTIES)
    assert (example.train_ids, example.test_ids) == (len(train), len(test))
    assert example.batch_size == task.BATCH_SIZE
    assert example.batches == len(list(task.batches(task.PARTIES[0], train, train)))
    assert example.classes == len(task.labels(train | test).unique())
    logits = task.top_model()(torch.zeros(len(test), task.top_model()[0].in_features)).detach()
    assert {*task.figures(logits, task.labels(test)), "average_loss"} == set(example.figures)


@pytest.mark.parametrize("parties", [2, 4])
def test_the_catalogue_knows_the_numbers_of_mnist(parties: int) -> None:
    from secure_hfl.examples.mnist import strips as mnist

    example = catalogue.mnist_strips(parties)
    held = [mnist.local_ids(strip) for strip in range(parties)]
    train, test = mnist.split(set.intersection(*map(set, held)))
    assert example.local_ids == tuple(map(len, held))
    assert (example.train_ids, example.test_ids, example.batch_size) == (len(train), len(test), mnist.BATCH_SIZE)


@pytest.mark.parametrize("name", ["mnist_halves", "mnist_strips", "breast_cancer", "digits"])
def test_every_party_has_a_script_of_its_role(name: str) -> None:
    example = catalogue.find(name)
    assert example.name == name
    assert example.parties == len(example.local_ids)
    assert "HeteroNNHostScheduler" in example.host.path.read_text()
    assert all("HeteroNNCollaboratorScheduler" in each.path.read_text() for each in example.collaborators)
    settings = [(each.path, *sorted(each.environment.items())) for each in (example.host, *example.collaborators)]
    assert len(set(settings)) == example.parties


def test_an_unknown_example_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match="known: mnist_halves, mnist_strips, breast_cancer, digits"):
        catalogue.find("iris")
