"""The models and optimizers of one party, as the user's methods build them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from secure_hfl.engine.fallback import FALLBACK, FallbackHead, Loss
from secure_hfl.engine.user_code import UserCode
from secure_hfl.optimizer import SecureOptimizer


class Models:
    """A party's bottom model.

    Attributes:
        feature_model: there once it is built; the methods that build the rest may look at it.
        is_built: whether all is there.
    """

    feature_model: nn.Module

    def __init__(self, user: UserCode) -> None:
        self._user = user
        self.is_built = False

    def _build_feature_part(self) -> torch.optim.Optimizer | None:
        """The bottom model and its optimizer; None when it is frozen, or there is nothing to be a model of."""
        if not self._user.is_feature_holder:
            self.feature_model = nn.Identity()
            return None
        self.feature_model = self._user.build_model("build_feature_model")
        if not self._user.is_trainable:
            return None
        return self._user.build_optimizer("build_feature_optimizer", self.feature_model)

    def by_name(self) -> dict[str, nn.Module]:
        """Models by the name of their file."""
        return {"feature_model": self.feature_model} if self._user.is_feature_holder else {}

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Optimizers by name."""
        return {}

    def set_mode(self, training: bool) -> None:
        """Train or eval mode. A frozen bottom model stays in eval mode: it is a fixed function."""
        self.feature_model.train(training and self._user.is_trainable)


class CollaboratorModels(Models):
    """The bottom model and its optimizer, which is None where there is nothing to train."""

    optimizer: torch.optim.Optimizer | None

    def build(self) -> None:
        """By the user's methods."""
        self.optimizer = self._build_feature_part()
        self.forget_gradients()
        self.is_built = True

    def forget_gradients(self) -> None:
        """Of what came before the next batch."""
        if self.optimizer is not None:
            self.optimizer.zero_grad()

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """See the base."""
        return {} if self.optimizer is None else {"feature_optimizer": self.optimizer}


class HostModels(Models):
    """The bottom and the top model, and the optimizer over all that a batch trains.

    Attributes:
        fallback: the head over this party's own features alone, if there is one.
    """

    infer_model: nn.Module
    optimizer: SecureOptimizer
    fallback: FallbackHead | None = None

    def build(
        self,
        layers: Sequence[str],
        learning_rate: float,
        others: Sequence[str] = (),
        fallback_loss: Loss | None = None,
    ) -> None:
        """By the user's methods.

        Args:
            layers: feature keys of the collaborators that have a projection layer.
            learning_rate: of these layers.
            others: feature keys of the collaborators that have none.
            fallback_loss: of the fallback head; None: there is none.
        """
        feature_optimizer = self._build_feature_part()
        self.infer_model = self._user.build_model("build_infer_model")
        infer_optimizer = self._user.build_optimizer("build_infer_optimizer", self.infer_model)
        self.optimizer = SecureOptimizer(feature_optimizer, infer_optimizer, layers, learning_rate, others)
        if fallback_loss is not None:
            self.fallback = FallbackHead(self._user, fallback_loss)
        self.is_built = True

    def by_name(self) -> dict[str, nn.Module]:
        """See the base."""
        head = {} if self.fallback is None else {FALLBACK: self.fallback.model}
        return {**super().by_name(), "infer_model": self.infer_model, **head}

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """See the base."""
        head = None if self.fallback is None else self.fallback.optimizer
        return {"optimizer": self.optimizer} | ({} if head is None else {"fallback_optimizer": head})

    def set_mode(self, training: bool) -> None:
        """The top model follows."""
        super().set_mode(training)
        self.infer_model.train(training)
