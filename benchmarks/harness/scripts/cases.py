"""In which way a party of the tiny task differs from a well-behaved one: plain data, known without PyTorch.

A `Case` goes to the party's process as JSON; its words are checked on both sides.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any


class Method(str, Enum):
    """A method of the user's, as the platform calls it."""

    VALIDATE_CONTEXT = "validate_context"
    LOAD_LOCAL_IDS = "load_local_ids"
    SPLIT_DATASET = "split_dataset"
    BUILD_FEATURE_MODEL = "build_feature_model"
    BUILD_FEATURE_OPTIMIZER = "build_feature_optimizer"
    BUILD_INFER_MODEL = "build_infer_model"
    BUILD_INFER_OPTIMIZER = "build_infer_optimizer"
    ITERATE_TRAIN_FEATURE = "iterate_train_feature"  # before its first batch
    ITERATE_TRAIN_FEATURE_LATER = "iterate_train_feature later"  # before the second batch of round 2
    TRAIN_A_BATCH = "train_a_batch"
    ITERATE_TEST_FEATURE = "iterate_test_feature"
    TEST = "test"
    IS_TASK_FINISHED = "is_task_finished"


class Split(str, Enum):
    """What `split_dataset` makes of the intersection, of which the first 64 ids are to be trained on."""

    SETS = "sets"  # two sets of numbers
    TEXTS = "texts"  # two sets of texts
    LISTS = "lists"  # two lists
    REVERSED_LISTS = "reversed lists"  # two lists, the first in another order
    FEWER_TO_TRAIN = "fewer to train"  # 16 ids are left out
    TWO_SWAPPED = "two swapped"  # one id of each set stands in the other
    WITH_A_STRANGER = "with a stranger"  # one id is not of the intersection
    NOTHING = "nothing"  # two empty sets
    ONE_SET = "one set"  # not two


class Features(str, Enum):
    """What `iterate_train_feature` yields."""

    AS_THEY_ARE = "as they are"
    NAN = "NaN"
    THREE_DIMENSIONS = "three dimensions"
    INTEGERS = "integers"
    NONE = "None"
    WIDER_LATER = "wider later"  # twice as wide from the second batch on


class Stepping(str, Enum):
    """What the host's `train_a_batch` does with a batch's loss."""

    AS_IT_SHOULD = "as it should"
    NAN_LOSS = "NaN loss"
    NO_BACKWARD = "no backward"
    NO_STEP = "no step"
    TWO_STEPS = "two steps"


@dataclass
class Case:
    """How one party runs; the defaults are a task that succeeds.

    Args:
        index: which party: 0 is the host.
        parties: how many there are.
        arguments: of the scheduler's constructor.
        ids: what `load_local_ids` returns; None: 128 ids, of which 96 are the peer's too.
        batch_size: of training, and of testing unless `test_batch_size` says otherwise.
        test_batch_size: 0: like `batch_size`.
        batches: how many batches `iterate_train_feature` yields at most; None: all.
        split: see `Split`.
        confirms_batches: whether it calls `confirm_batch_ids`.
        shifts_batches: whether its batches hold the rows one place further on.
        raises: the method that raises ValueError(MARKER).
        hangs: the method that does not return.
        returns_none: the method that returns None.
        features: see `Features`.
        stepping: see `Stepping`.
        test_loss: what the host's `test` says the loss is.
        finish_after: the round after which `is_task_finished` says yes; 0: after max_rounds.
        validates: whether its `validate_context` calls that of the library.
        calls: filled in: the methods that were called.
    """

    index: int = 0
    parties: int = 2
    arguments: dict[str, Any] = field(default_factory=dict)
    ids: Any = None
    batch_size: int = 32
    test_batch_size: int = 0
    batches: int | None = None
    split: Split = Split.SETS
    confirms_batches: bool = False
    shifts_batches: bool = False
    raises: Method | None = None
    hangs: Method | None = None
    returns_none: Method | None = None
    features: Features = Features.AS_THEY_ARE
    stepping: Stepping = Stepping.AS_IT_SHOULD
    test_loss: float = 0.5
    finish_after: int = 0
    validates: bool = True
    calls: list[Method] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.split, self.features, self.stepping = Split(self.split), Features(self.features), Stepping(self.stepping)
        for name in ("raises", "hangs", "returns_none"):
            value = getattr(self, name)
            setattr(self, name, None if value is None else Method(value))

    @property
    def key(self) -> str:
        """The party's name."""
        return f"party{self.index}"
