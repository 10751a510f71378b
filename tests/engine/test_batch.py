"""One training batch at the host: what leaves, in which order, and what the loss is said to be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from protocols.core.errors import OutOfRange
from secure_hfl.engine.batch import HostBatch
from secure_hfl.engine.training_watch import TrainingWatch
from secure_hfl.errors import ConfigurationError, StepError

ROWS = np.arange(6, dtype=np.float32).reshape(3, 2)


class Recorder:
    """A link and a layer in one, that note what is asked of them."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.has_rest = False

    def backward(self, gradient: NDArray[np.float32], learning_rate: float) -> Any:
        """See `HostLayer`."""
        assert self.has_rest, "it would wait for what the gradient needs"
        return "backward", gradient.copy(), learning_rate

    def receive_rest(self) -> Any:
        """See `HostLayer`."""
        return ("rest",)

    def skip(self) -> Any:
        """See `HostLayer`."""
        return ("skip",)

    def start(self, steps: Any) -> Recorder:
        """See `Link`."""
        self.calls.append(steps)
        return self

    def run(self, steps: Any) -> None:
        """See `Link`."""
        self.has_rest = self.has_rest or steps == ("rest",)
        if steps != ("rest",):
            self.calls.append(steps)

    def pass_tests(self) -> None:
        """See `Conversation`."""
        self.calls.append(("tests",))

    def finish(self) -> None:
        """See `Conversation`."""
        self.calls.append(("finish",))


def batch_of(
    own: torch.Tensor, noise: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None
) -> tuple[HostBatch, Recorder]:
    """A batch of the host and one collaborator."""
    recorder = Recorder()
    parts: Any = {"bank": recorder}
    return HostBatch("host", own, {"bank": ROWS}, parts, parts, noise), recorder  # type: ignore[arg-type]


def test_gradients_leave_before_the_host_goes_backward_itself() -> None:
    weight = torch.ones(2, requires_grad=True)
    batch, recorder = batch_of(weight * torch.ones(3, 2))
    (2 * batch.leaves["bank"] + 3 * batch.leaves["host"]).sum().backward()

    def step_local() -> None:
        recorder.calls.append(("own", None if weight.grad is None else weight.grad.tolist()))

    batch.step({"bank": 0.25}, step_local)
    (kind, gradient, rate), *rest = recorder.calls
    assert (kind, rate) == ("backward", 0.25)
    assert gradient.tolist() == [[2.0, 2.0]] * 3
    assert rest == [("tests",), ("own", [9.0, 9.0]), ("finish",)]


def test_all_summands_get_one_gradient_with_one_noise_and_each_its_own_rate() -> None:
    recorders: Any = {"bank": Recorder(), "shop": Recorder()}
    noised: list[Any] = []

    def noise(gradients: Mapping[str, Any]) -> Mapping[str, Any]:
        noised.append(list(gradients))
        return {key: gradient + np.float32(len(noised)) for key, gradient in gradients.items()}

    rows: Any = {"sum": ROWS}
    batch = HostBatch("host", torch.ones(3, 2), rows, recorders, recorders, noise, is_summed=True)  # type: ignore[arg-type]
    assert set(batch.leaves) == {"host", "sum"}
    (2 * batch.leaves["sum"]).sum().backward()
    batch.step({"bank": 0.25, "shop": 0.5}, lambda: None)
    assert noised == [["sum"]]
    for key, rate in (("bank", 0.25), ("shop", 0.5)):
        (kind, gradient, used), *_ = recorders[key].calls
        assert (kind, used) == ("backward", rate)
        assert gradient.tolist() == [[3.0, 3.0]] * 3


def test_a_frozen_bottom_model_is_left_alone_and_a_layer_without_a_rate_stands_still() -> None:
    batch, recorder = batch_of(torch.ones(3, 2))
    batch.leaves["bank"].sum().backward()
    batch.step({}, lambda: None)
    assert recorder.calls[0][2] == 0.0


def test_features_that_the_loss_did_not_use_have_a_gradient_of_zeros() -> None:
    batch, recorder = batch_of(torch.ones(3, 2))
    batch.leaves["host"].sum().backward()
    batch.step({}, lambda: None)
    assert not recorder.calls[0][1].any()


def test_without_a_backward_pass_nothing_leaves() -> None:
    batch, recorder = batch_of(torch.ones(3, 2))
    batch.leaves["bank"].sum().backward()
    batch.zero_grad()
    with pytest.raises(StepError, match="step\\(\\) without backward"):
        batch.step({}, lambda: None)
    assert recorder.calls == []


@pytest.mark.parametrize("comes_from_noise", [False, True])
def test_a_gradient_that_is_not_finite_does_not_leave(comes_from_noise: bool) -> None:
    def noise(outgoing: Mapping[str, Any]) -> Mapping[str, Any]:
        return {key: values * np.float32("nan") for key, values in outgoing.items()}

    batch, recorder = batch_of(torch.ones(3, 2), noise if comes_from_noise else None)
    (batch.leaves["bank"].sum() * (1.0 if comes_from_noise else float("inf"))).backward()
    with pytest.raises(OutOfRange, match=r"feature_projection\['bank'\]"):
        batch.step({}, lambda: None)
    assert recorder.calls == []


def test_what_leaves_carries_the_noise() -> None:
    batch, recorder = batch_of(torch.ones(3, 2), lambda outgoing: {key: own + 1 for key, own in outgoing.items()})
    batch.leaves["bank"].sum().backward()
    batch.step({}, lambda: None)
    assert recorder.calls[0][1].tolist() == [[2.0, 2.0]] * 3


def test_a_batch_without_a_step_is_dropped_at_the_collaborators_too() -> None:
    batch, recorder = batch_of(torch.ones(3, 2))
    batch.skip()
    assert recorder.calls == [("skip",)]


@pytest.mark.parametrize(
    ("returned", "value"),
    [(None, 3.0), (True, 3.0), ("text", 3.0), (7, 7.0), (2.5, 2.5), (torch.tensor([4.0]), 4.0), (torch.ones(2), 3.0)],
    ids=str,
)
def test_the_loss_is_what_is_returned_or_what_went_backward(returned: object, value: float) -> None:
    with TrainingWatch() as recorder:
        for part in (1.0, 2.0):
            torch.tensor(part, requires_grad=True).backward()
    assert recorder.value(returned) == value


def test_a_loss_that_nobody_saw_is_not_a_number() -> None:
    assert np.isnan(TrainingWatch().value(None))


def test_no_rate_above_what_a_collaborator_allows_leaves_the_host() -> None:
    recorder = Recorder()
    parts: Any = {"bank": recorder}
    batch = HostBatch("host", torch.ones(3, 2), {"bank": ROWS}, parts, parts, rate_limits={"bank": 0.1, "shop": 0.0})
    batch.leaves["bank"].sum().backward()
    batch.step({"bank": 0.1}, lambda: None)
    before = list(recorder.calls)
    with pytest.raises(ConfigurationError, match=r"bank allows at most 0.1, and an LR scheduler has made it 0.2"):
        batch.step({"bank": 0.2, "shop": 5.0}, lambda: None)
    assert recorder.calls == before
