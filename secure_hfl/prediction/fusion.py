"""Outputs of the top model for a batch: by the user's `predict_a_batch`, or read off the user's `test`.

How a Host fuses features is its own code. Where it has no `predict_a_batch`, its `test` is run for the batch, up to
where it calls `infer_model`: what that returns is the output, and the rest of `test` does not run.
"""

from __future__ import annotations

from typing import Any

import torch

from protocols.core.wording import plural
from secure_hfl.engine.contract import HostScheduler
from secure_hfl.engine.models import HostModels
from secure_hfl.engine.user_code import UserCode
from secure_hfl.errors import ConfigurationError, UserCodeError
from secure_hfl.log import logger

EXAMPLE = """implement it in the Host's class, for example:
    def predict_a_batch(self, feature_projection):
        fused = torch.cat([feature_projection[key] for key in ({keys})], dim=1)
        return self.infer_model(fused)"""


class _Seen(BaseException):
    """Ends `test` where the top model has returned. Not an `Exception`, so that the user's code does not swallow it."""

    def __init__(self, output: object) -> None:
        super().__init__()
        self.output = output


class Fusion:
    """The Host's.

    Args:
        user: calls the methods.
        scheduler: has them.
        models: the host's, in eval mode.
    """

    def __init__(self, user: UserCode, scheduler: HostScheduler, models: HostModels) -> None:
        self._user, self._scheduler, self._models = user, scheduler, models
        self._is_said = False

    def __call__(self, features: dict[str, torch.Tensor], labels: Any) -> torch.Tensor:
        """Outputs [rows, ...] for a batch.

        Raises:
            ConfigurationError: `test` does not show them. Says what to implement.
            UserCodeError: the user's method failed, or returns something else.
        """
        rows = len(next(iter(features.values())))
        with torch.no_grad():
            if self._scheduler.has_predict_a_batch:
                output: object = self._user.call("predict_a_batch", self._scheduler.predict_a_batch, features)
            else:
                output = self._seen_in_test(features, torch.zeros(rows, dtype=torch.long) if labels is None else labels)
        if not isinstance(output, torch.Tensor) or not output.ndim or len(output) != rows:
            got = list(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
            raise UserCodeError(
                f"predict_a_batch must return a tensor with one entry for each of {plural(rows, 'row')}, not {got}"
            )
        return output.detach().to("cpu", torch.float32)

    def _seen_in_test(self, features: dict[str, torch.Tensor], labels: Any) -> object:
        if not self._is_said:
            self._is_said = True
            logger.info("No predict_a_batch: predicting what infer_model returns inside test.")
        example = EXAMPLE.format(keys="".join(f"{key!r}, " for key in features).rstrip(" "))

        def stop(module: object, args: object, output: object) -> None:
            raise _Seen(output)

        hook = self._models.infer_model.register_forward_hook(stop)
        try:
            self._user.call("test", self._scheduler.test, [features], [labels])
        except _Seen as seen:
            return seen.output
        except UserCodeError as error:
            raise ConfigurationError(f"predict_a_batch cannot be read off test, where {error}; {example}") from error
        finally:
            hook.remove()
        raise ConfigurationError(f"predict_a_batch cannot be read off test, which does not call infer_model; {example}")
