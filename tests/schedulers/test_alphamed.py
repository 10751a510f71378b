"""The AlphaMed platform's names: its two classes, their arguments, and its other names of what users implement."""

from __future__ import annotations

from typing import Any

import pytest

import secure_hfl
from benchmarks.harness.scripts.tiny import Tiny, TinyHost
from secure_hfl import (
    HeteroNNHostScheduler,
    RunLimits,
    SecureHeteroNNCollaboratorScheduler,
    SecureHeteroNNHostScheduler,
    hetero_nn,
)
from secure_hfl.errors import ConfigurationError
from secure_hfl.schedulers.other_names import OTHER_NAMES

ROWS = [("host", 8, 8), ("clinic", 20, 12)]
METHODS = ("load_local_ids", "split_dataset", "iterate_train_feature", "iterate_test_feature", "train_a_batch")


def implementing(base: type, *names: str) -> type:
    """A subclass whose methods of these names return their name and their arguments."""
    return type("Mine", (base,), {name: lambda self, *given, name=name: (name, *given) for name in names})


SecureHost: Any = implementing(SecureHeteroNNHostScheduler, *METHODS, *OTHER_NAMES)
SecureCollaborator: Any = implementing(SecureHeteroNNCollaboratorScheduler, *METHODS, *list(OTHER_NAMES)[:2])


@pytest.mark.parametrize("name", ["SecureHeteroNNHostScheduler", "SecureHeteroNNCollaboratorScheduler"])
def test_both_import_paths_give_one_class(name: str) -> None:
    assert getattr(secure_hfl, name) is getattr(hetero_nn, name)


def test_the_host_takes_the_platforms_arguments_in_its_order() -> None:
    host = SecureHost("host", ROWS, 0.05, 7, 100, 20, 2, False, name="study", scheme="masked")
    host.validate_context()
    given = (host.projection, host.projection_lr, host.max_rounds, host.calculation_timeout, host.schedule_timeout)
    assert given == ({"clinic": 12}, 0.05, 7, 100, 20)
    assert (host.log_rounds, host.is_feature_trainable, host.name, host.scheme) == (2, False, "study", "masked")
    assert (host.project_layer_config, host.project_layer_lr) == (ROWS, 0.05)


def test_the_collaborator_takes_the_platforms_arguments_in_its_order() -> None:
    clinic = SecureCollaborator("clinic", 0.05, "study", schedule_timeout=20, is_feature_trainable=False)
    clinic.validate_context()
    assert (clinic.feature_key, clinic.project_layer_lr, clinic.name) == ("clinic", 0.05, "study")
    assert (clinic.schedule_timeout, clinic.is_feature_trainable) == (20, False)


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ([], "must be a list"),
        ({"clinic": 12}, "must be a list"),
        (None, "must be a list"),
        ([("clinic", 20)], "a row .* must be"),
        ([("clinic", 20, "12")], "a row .* must be"),
        ([(b"clinic", 20, 12)], "a row .* must be"),
        (["abc"], "a row .* must be"),
        ([("clinic", 0, 12)], "widths of 'clinic' must be 1 to"),
        ([("clinic", 20, 1 << 20)], "widths of 'clinic' must be 1 to"),
        ([("clinic", True, 12)], "widths of 'clinic' must be 1 to"),
        ([("clinic", 20, 12), ("clinic", 20, 12)], "two rows for 'clinic'"),
        ([("host", 8, 6)], "'host' from 8 to 6.*make the last layer"),
    ],
)
def test_a_config_that_makes_no_sense_is_refused(config: Any, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        SecureHost("host", config, 0.05, 1)


@pytest.mark.parametrize("rate", [-1.0, float("nan"), 1e9])
def test_a_learning_rate_that_makes_no_sense_is_refused(rate: float) -> None:
    with pytest.raises(ConfigurationError, match="projection_lr must be a learning rate"):
        SecureHost("host", ROWS, rate, 1).validate_context()


def test_real_widths_are_compared_with_the_config() -> None:
    host = SecureHost("host", [("host", 8, 8), ("clinic", 20, 12)], 0.05, 1)
    host.check_feature_width("host", 8)
    host.check_feature_width("clinic", 20)
    with pytest.raises(ConfigurationError, match="says that 'clinic' has features of width 20, but they are 21 wide"):
        host.check_feature_width("clinic", 21)
    with pytest.raises(ConfigurationError, match="says that 'host' has features of width 8, but they are 9 wide"):
        host.check_feature_width("host", 9)
    with pytest.raises(ConfigurationError, match=r"no row for 'lab', .* add \('lab', 3, 3\)"):
        host.check_feature_width("lab", 3)
    SecureHost("host", [("clinic", 20, 12)], 0.05, 1).check_feature_width("host", 9)


@pytest.mark.parametrize(("ours", "theirs"), OTHER_NAMES.items())
def test_a_method_under_its_other_name_is_called(ours: str, theirs: str) -> None:
    some = {name: name for name in OTHER_NAMES} | {ours: theirs}
    host: Any = implementing(HeteroNNHostScheduler, *METHODS, *some.values())("host", 1)
    assert getattr(host, ours)(1, 2) == (theirs, 1, 2)


def test_a_method_under_its_other_name_may_come_from_a_mixin_and_be_overridden() -> None:
    class Tests:
        def run_test(self, features: list[Any], labels: list[Any]) -> str:
            return "mixin's"

    class Host(Tests, implementing(HeteroNNHostScheduler, *METHODS, *list(OTHER_NAMES)[:4])):  # type: ignore[misc]
        pass

    class Special(Host):
        def run_test(self, features: list[Any], labels: list[Any]) -> str:
            return f"not the {super().run_test(features, labels)}"

    assert Host("host", 1).test([], []) == "mixin's"
    assert Special("host", 1).test([], []) == "not the mixin's"


def test_our_name_wins_where_a_class_has_both() -> None:
    host: Any = implementing(TinyHost, "run_test")
    assert host.test is TinyHost.test


def test_a_method_under_neither_name_is_still_missing() -> None:
    class Host(Tiny, HeteroNNHostScheduler):
        def build_infer_model(self) -> Any:
            return None

        def build_infer_optimizer(self, infer_model: Any) -> Any:
            return None

        def train_a_batch(self, feature_projection: Any, labels: Any) -> None:
            return None

    with pytest.raises(TypeError, match=r"abstract method '?test"):
        Host(None)  # type: ignore[abstract,arg-type]


@pytest.mark.parametrize("wrong", ["clinic", {"clinic": True}, [1]], ids=str)
def test_may_train_must_be_names(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="may_train must be a set of names"):
        SecureHost("host", ROWS, 0.05, 1, may_train=wrong).validate_context()
    for right in (None, (), {"clinic"}):
        SecureHost("host", ROWS, 0.05, 1, may_train=right).validate_context()


def test_run_limits_are_of_their_type() -> None:
    clinic = SecureCollaborator("clinic", 0.05, run_limits=RunLimits(width=10))
    clinic.validate_context()
    assert clinic.run_limits == RunLimits(width=10)
    with pytest.raises(ConfigurationError, match=r"run_limits must be RunLimits\(...\)"):
        SecureCollaborator("clinic", 0.05, run_limits={"width": 10}).validate_context()
