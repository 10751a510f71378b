"""What torch holds at one party, and how it is given back bit for bit.

Kept beyond what `state_dict` has: buffers that are not persistent, which parameters are trained, gradients (a user may
gather them over several batches), the versions of modules, and optimizer state in its own dtype, which torch casts to
the parameter's. How models are built is not kept: the user's code builds them again, and what it builds must fit.
"""

from __future__ import annotations

import copy
import random
from collections import OrderedDict, deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer

from secure_hfl.errors import CheckpointRefused, UserCodeError
from secure_hfl.log import logger
from secure_hfl.optimizer import SecureOptimizer


class Keeper(Protocol):
    """A user's scheduler, as checkpoints see it: an object with attributes, and what else it wants kept."""

    def get_extra_state(self) -> Mapping[str, Any]:
        """What else a checkpoint must keep."""

    def set_extra_state(self, state: Mapping[str, Any]) -> None:
        """Take it back."""


ENGINES_OWN = ("_run", "_server", "_context_is_valid")
"""Attributes of a scheduler that are not the user's."""

BUILDERS = ("build_infer_optimizer", "build_feature_optimizer")
"""Where a user makes LR schedulers and the like, at a Host and at a Collaborator."""

GENERATORS = (torch.Generator, np.random.Generator, np.random.RandomState, random.Random)

Parts = Mapping[str, Mapping[str, Any]]
"""What has a state, by group and name."""


class LocalState:
    """The state of the models, the optimizers and the user's scheduler of one party.

    Args:
        models: by name.
        optimizers: by name.
        scheduler: the user's. Kept of it: every attribute (also directly in a list, tuple or dict) that is a generator
            of torch, numpy or Python or has `state_dict` and `load_state_dict`, and what `get_extra_state` returns.
    """

    def __init__(self, models: Mapping[str, nn.Module], optimizers: Mapping[str, Optimizer], scheduler: Keeper) -> None:
        self._models = dict(models)
        self._optimizers = dict(optimizers)
        self._scheduler = scheduler

    def capture(self) -> dict[str, Any]:
        """A copy of everything, on the CPU, as a tree that `pack` takes.

        Raises:
            UserCodeError: `get_extra_state`, or something that hangs on the scheduler, failed.
        """
        try:
            extra = self._scheduler.get_extra_state()
            if not isinstance(extra, Mapping):
                raise TypeError(f"it returned a {type(extra).__name__}, not a mapping")
            copied = _copied(dict(extra))
        except Exception as error:
            raise UserCodeError(f"get_extra_state raised {type(error).__name__}: {error}") from error
        return {**_capture(self._parts()), "extra": copied}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Give everything back, or nothing.

        Raises:
            CheckpointRefused: something does not fit, and everything is as it was before; only what the user's
                `set_extra_state` did before it failed is not taken back.
        """
        parts = self._parts()
        self._check(parts, state)
        before = _capture(parts)
        try:
            _restore(parts, state)
            with _refusing("set_extra_state"):
                self._scheduler.set_extra_state(_copied(state["extra"]))
        except CheckpointRefused:
            _restore(parts, before)
            raise

    # Inner parts -----------------------------------------------------------------------------------------------------

    def _parts(self) -> Parts:
        """Everything that has a state, in the order in which it is restored."""
        return {"models": self._models, "optimizers": self._optimizers, "attributes": self._attributes()}

    def _attributes(self) -> dict[str, Any]:
        known: list[object] = [module for model in self._models.values() for module in model.modules()]
        for optimizer in self._optimizers.values():
            known.append(optimizer)
            if isinstance(optimizer, SecureOptimizer):
                known += [optimizer.feature_optimizer, optimizer.infer_optimizer]
        taken = {id(thing) for thing in known}
        return {where: thing for where, thing in _things_of(self._scheduler).items() if id(thing) not in taken}

    def _check(self, parts: Parts, state: Mapping[str, Any]) -> None:
        """What torch would not notice, or notice too late."""
        if not {*parts, "extra"} <= set(state):
            raise CheckpointRefused("the checkpoint does not hold the state of a party")
        for group in ("models", "optimizers"):
            kept, own = sorted(state[group]), sorted(parts[group])
            if kept != own:
                raise CheckpointRefused(f"the checkpoint keeps the {group} {kept}, this party has {own}")
        for name in state["attributes"]:
            if name not in parts["attributes"]:
                raise _missing(self._scheduler, name)
        for name in set(parts["attributes"]) - set(state["attributes"]):
            logger.warning(f"The checkpoint keeps no state of self.{name}, which starts anew.")
        for group, things in parts.items():
            for name, kept in state[group].items():
                _check_kind(_label(group, name), things[name], kept)


def capture_generators(scheduler: Keeper | None = None) -> dict[str, Any]:
    """The states of torch's generators (CPU, and CUDA if it is in use), Python's `random` and numpy's global one.

    Args:
        scheduler: its own generators (attributes, as in `LocalState`) are captured too.
    """
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [],
        "python": random.getstate(),
        "numpy": np.random.get_state(legacy=False),
        "scheduler": {where: _copied(_state_of(one)) for where, one in _generators_of(scheduler).items()},
    }


def restore_generators(state: Mapping[str, Any], scheduler: Keeper | None = None) -> None:
    """Give back what `capture_generators` returned, or nothing.

    Raises:
        CheckpointRefused: it does not fit, or was captured with other CUDA devices than there are.
    """
    before = capture_generators(scheduler)
    try:
        with _refusing("the random generators"):
            _set_generators(state)
        if scheduler is not None:
            _set_generators_of(scheduler, state["scheduler"])
    except CheckpointRefused:
        _set_generators(before)
        if scheduler is not None:
            _set_generators_of(scheduler, before["scheduler"])
        raise


def _set_generators(state: Mapping[str, Any]) -> None:
    torch.set_rng_state(state["torch"])
    if state["cuda"]:
        devices = torch.cuda.device_count()
        if len(state["cuda"]) != devices:
            raise ValueError(f"it is of a run with {len(state['cuda'])} CUDA devices, here are {devices}")
        torch.cuda.set_rng_state_all(state["cuda"])
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])


# What hangs on a scheduler -------------------------------------------------------------------------------------------


def _things_of(scheduler: Keeper) -> dict[str, Any]:
    """What has a state among the user's attributes, and in those that are a list, tuple or dict: "name", "name[0]"."""
    found: dict[str, Any] = {}
    for name, value in vars(scheduler).items():
        items: Mapping[Any, Any] = {}
        if name in ENGINES_OWN:
            continue
        if _has_state(type(value)):
            found[name] = value
        elif isinstance(value, (list, tuple)):
            items = dict(enumerate(value))
        elif isinstance(value, dict):
            items = value
        # Users hang whole data sets on their schedulers: look at the types first.
        if any(_has_state(kind) for kind in set(map(type, items.values()))):
            found |= {f"{name}[{key!r}]": item for key, item in items.items() if _has_state(type(item))}
    return found


def _generators_of(scheduler: Keeper | None) -> dict[str, Any]:
    things = {} if scheduler is None else _things_of(scheduler)
    return {where: thing for where, thing in things.items() if isinstance(thing, GENERATORS)}


def _set_generators_of(scheduler: Keeper, state: Mapping[str, Any]) -> None:
    own = _generators_of(scheduler)
    for where, kept in state.items():
        if where not in own:
            raise _missing(scheduler, where)
        with _refusing(f"self.{where}"):
            _give(own[where], kept)


def _missing(scheduler: Keeper, where: str) -> CheckpointRefused:
    builder = next(name for name in BUILDERS if hasattr(scheduler, name))
    return CheckpointRefused(
        f"the checkpoint keeps the state of self.{where}, which does not exist: make it in {builder} or __init__, so "
        "that it is there before training goes on"
    )


# Capturing and restoring one thing -----------------------------------------------------------------------------------


def _capture(parts: Parts) -> dict[str, Any]:
    captured: dict[str, Any] = {}
    for group, things in parts.items():
        captured[group] = {}
        for name, thing in things.items():
            try:
                state = _copied(_state_of(thing))
            except Exception as error:
                label = _label(group, name)
                raise UserCodeError(f"the state of {label} raised {type(error).__name__}: {error}") from error
            captured[group][name] = {"kind": type(thing).__qualname__, "state": state}
    return captured


def _restore(parts: Parts, state: Mapping[str, Any]) -> None:
    for group, things in parts.items():
        for name, kept in state[group].items():
            with _refusing(_label(group, name)):
                _give(things[name], kept["state"])


def _has_state(kind: type) -> bool:
    if issubclass(kind, random.SystemRandom):
        return False
    if issubclass(kind, GENERATORS):
        return True
    return all(callable(getattr(kind, method, None)) for method in ("state_dict", "load_state_dict"))


def _state_of(thing: Any) -> Any:
    if isinstance(thing, nn.Module):
        return _module_state(thing)
    if isinstance(thing, torch.Generator):
        return thing.get_state()
    if isinstance(thing, np.random.Generator):
        return thing.bit_generator.state
    if isinstance(thing, np.random.RandomState):
        return thing.get_state(legacy=False)
    if isinstance(thing, random.Random):
        return thing.getstate()
    return thing.state_dict()


def _give(thing: Any, state: Any) -> None:
    """The inverse of `_state_of`. What is given is a copy: torch keeps the tensors that it is given."""
    if isinstance(thing, nn.Module):
        _give_module(thing, state)
    elif isinstance(thing, Optimizer):
        _give_optimizer(thing, state)
    elif isinstance(thing, torch.Generator):
        thing.set_state(state)
    elif isinstance(thing, np.random.Generator):
        thing.bit_generator.state = state
    elif isinstance(thing, np.random.RandomState):
        thing.set_state(state)
    elif isinstance(thing, random.Random):
        thing.setstate(state)
    else:
        thing.load_state_dict(_copied(state))


def _module_state(model: nn.Module) -> dict[str, Any]:
    state = model.state_dict()
    return {
        "state": dict(state),
        "versions": dict(getattr(state, "_metadata", {})),
        "buffers": {where: module._buffers.get(name) for where, module, name in _passing_buffers(model)},
        "trained": {name: parameter.requires_grad for name, parameter in model.named_parameters()},
        "gradients": {name: parameter.grad for name, parameter in model.named_parameters()},
    }


def _passing_buffers(model: nn.Module) -> Iterator[tuple[str, nn.Module, str]]:
    """The buffers that are not persistent, which `state_dict` leaves out: full name, module, name there."""
    for prefix, module in model.named_modules():
        for name in sorted(module._non_persistent_buffers_set):
            yield f"{prefix}.{name}".removeprefix("."), module, name


def _give_module(model: nn.Module, saved: Mapping[str, Any]) -> None:
    items = {
        name: value if isinstance(value, torch.Tensor) else _copied(value) for name, value in saved["state"].items()
    }
    state = OrderedDict(items)
    state._metadata = OrderedDict(_copied(saved["versions"]))  # type: ignore[attr-defined]
    model.load_state_dict(state)
    for where, module, name in _passing_buffers(model):
        own, kept = module._buffers.get(name), saved["buffers"][where]
        if own is None or kept is None or own.shape != kept.shape or own.dtype != kept.dtype:
            module._buffers[name] = _copied(kept) if own is None or kept is None else kept.to(own.device, copy=True)
        else:
            own.copy_(kept)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(saved["trained"][name])
        gradient = saved["gradients"][name]
        parameter.grad = None if gradient is None else gradient.to(parameter.device, copy=True)


def _give_optimizer(optimizer: Optimizer, saved: Mapping[str, Any]) -> None:
    optimizer.load_state_dict(_copied(saved))
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    # Torch has cast the state to the parameter's dtype; what goes on is what was kept.
    for number, state in saved["state"].items():
        if isinstance(number, int) and isinstance(state, dict):
            own = optimizer.state[parameters[number]]
            own.update({name: _placed(value, own.get(name)) for name, value in state.items()})


def _placed(saved: Any, loaded: Any) -> Any:
    """A copy of what was saved, its tensors where torch has put them."""
    if isinstance(saved, torch.Tensor) and isinstance(loaded, torch.Tensor):
        return saved.to(loaded.device, copy=True)
    if isinstance(saved, dict) and isinstance(loaded, dict):
        return {name: _placed(value, loaded.get(name)) for name, value in saved.items()}
    if isinstance(saved, (list, tuple)) and type(loaded) is type(saved):
        return type(saved)(_placed(one, other) for one, other in zip(saved, loaded))
    return _copied(saved)


def _copied(value: Any) -> Any:
    """A copy of a tree on the CPU. What a tree cannot hold stays as it is: `pack` says where it is."""
    if isinstance(value, torch.Tensor):
        return value if is_lazy(value) or value.is_meta else value.detach().to("cpu", copy=True)
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, dict):
        copied = copy.copy(value)
        for key, item in value.items():
            copied[key] = _copied(item)  # a Counter's update() would add
        return copied
    if type(value) in (list, tuple):
        return type(value)(_copied(item) for item in value)
    if type(value) is deque:
        return deque((_copied(item) for item in value), value.maxlen)
    return set(value) if type(value) is set else value


def _check_kind(label: str, thing: Any, kept: Mapping[str, Any]) -> None:
    kind = type(thing).__qualname__
    if kept["kind"] != kind:
        # Torch loads the state of an SGD into an Adam without a word.
        raise CheckpointRefused(f"the checkpoint keeps {label} as {kept['kind']}, but it is {kind} now")
    if isinstance(thing, nn.Module):
        for name, own in thing.state_dict().items():
            saved = kept["state"]["state"].get(name)
            if isinstance(own, torch.Tensor) and isinstance(saved, torch.Tensor) and own.dtype != saved.dtype:
                raise CheckpointRefused(
                    f"the checkpoint keeps {name} of {label} as {saved.dtype}, but it is {own.dtype} now"
                )


def _label(group: str, name: str) -> str:
    return f"self.{name}" if group == "attributes" else f"the {group.removesuffix('s')} {name}"


@contextmanager
def _refusing(label: str) -> Iterator[None]:
    """Whatever is raised in here means that the checkpoint does not fit."""
    try:
        yield
    except Exception as error:
        why = " ".join(str(error).split()) or type(error).__name__
        raise CheckpointRefused(f"the checkpoint does not fit {label}: {why}") from error
