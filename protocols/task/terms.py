"""What holds for a whole run: what the host declares before it, what each collaborator allows, and who they are.

A knob belongs to the party that it protects. The host says who may be shown gradients (`may_train`), because they say
something about its labels. A collaborator has maxima, because every look at its features costs it something. Both are
compared while the parties agree, before any id or feature moves, and refused with both numbers.

During the run each side holds the other to rounds, widths, rows and ids (protocols/task/order.py). Nobody can hold the
host to its learning rate: under encryption a collaborator sees neither dz nor lr dz. It is what the host signs for.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace

from protocols.core.envelope import MAX_ROUND
from protocols.core.errors import InvalidInput, WrongSession
from protocols.core.wording import plural

FINGERPRINT_BYTES = 32
MAX_RATE = 1e6
MAX_WIDTH_LIMIT = (1 << 16) - 1
MAX_COUNT = (1 << 31) - 1
MAX_BATCHES = 1 << 40
MAX_OTHERS = 255


@dataclass(frozen=True)
class Declared:
    """What the host says of the run that it leads. 0: it does not say.

    Attributes:
        max_rounds: of training.
        max_batches: of training, in a round; 0: all that the parties' iterators yield.
        projection_lr: learning rate of the projection layers to begin with. The host's program lets it never rise above
            a collaborator's limit; no collaborator can see whether it does.
        label_epsilon: its labels are randomised with this epsilon for the whole run; 0: they are not.
    """

    max_rounds: int = 0
    max_batches: int = 0
    projection_lr: float = 0.0
    label_epsilon: float = 0.0

    def __post_init__(self) -> None:
        _check_counts(self, max_rounds=MAX_ROUND, max_batches=MAX_BATCHES)
        _check_rates(self, "projection_lr", "label_epsilon")


@dataclass(frozen=True)
class RunLimits:
    """What a collaborator allows at most, over the whole run. 0: as much as the host likes.

    Attributes:
        width: outputs of its projection layer.
        rounds: of training.
        projection_lr: learning rate of its projection layer.
        rows: samples in a batch.
        ids: samples in the intersection.
        least_others: the one that is no maximum: the host gets its projections only in a sum with those of at least so
            many other collaborators (`fusion="sum"`).
        predictions: of one sample, over all prediction sessions of the task.
        asked_a_day: ids that prediction sessions ask about in one day, found or not.
    """

    width: int = 0
    rounds: int = 0
    projection_lr: float = 0.0
    rows: int = 0
    ids: int = 0
    least_others: int = 0
    predictions: int = 0
    asked_a_day: int = 0

    def __post_init__(self) -> None:
        most = {"rows": MAX_COUNT, "ids": MAX_COUNT, "least_others": MAX_OTHERS}
        _check_counts(self, width=MAX_WIDTH_LIMIT, rounds=MAX_ROUND, **most)
        _check_counts(self, predictions=MAX_COUNT, asked_a_day=MAX_COUNT)
        _check_rates(self, "projection_lr")

    def check(self, who: str, declared: Declared, width: int, is_final: bool = True) -> None:
        """Compare with what the host asks for.

        Args:
            who: the collaborator.
            width: outputs of its layer; 0: as many as it has features, which is known later.
            is_final: the host must say how many rounds there will be, and how fast it learns: nothing is unlimited.

        Raises:
            WrongSession: the host asks for more, or does not say how much. Has both numbers.
        """
        asked = (
            ("rounds", "max_rounds", "rounds", declared.max_rounds, is_final),
            ("projection_lr", "projection_lr", "projection_lr", declared.projection_lr, is_final),
            ("projection width", "projection", "width", width, False),
        )
        for name, argument, limit, wanted, must_say in asked:
            most = getattr(self, limit)
            if most and (wanted > most or (must_say and not wanted)):
                said = f"asks for {wanted:g}" if wanted else "does not say how much (0 says nothing)"
                raise WrongSession(
                    f"{name}: {who} allows at most {most:g}, the host {said}; no data was sent. "
                    f"The host sets {argument} to that or less, or {_allows_more(who, limit)}"
                )

    def check_others(self, who: str, others: int) -> None:
        """Compare with in how large a sum the host gets the projections.

        Args:
            who: the collaborator.
            others: that are in the sum with it; 0: there is no sum.

        Raises:
            WrongSession: there are fewer than this collaborator asks for.
        """
        if others < self.least_others:
            said = f"asks for a sum with {others}" if others else "asks for each by itself"
            raise WrongSession(
                f"fusion: {who} lets its projections reach the host only in a sum with those of at least "
                f"{plural(self.least_others, 'other')}, and the host {said}; no data was sent. The host sets "
                f'fusion="sum" in a task of enough collaborators, or {who} lowers least_others'
            )

    def check_ids(self, who: str, ids: int) -> None:
        """Raise `WrongSession` if the intersection has more samples than this collaborator allows."""
        if self.ids and ids > self.ids:
            raise WrongSession(
                f"ids: the parties have {ids} samples in common, and {who} allows at most {self.ids}; no feature was "
                f"sent. All parties take fewer ids, or {_allows_more(who, 'ids')}"
            )

    def check_asked(self, who: str, ids: int, before: int) -> None:
        """Raise `WrongSession` if a prediction asks about more ids than a day has left; `before`: asked for in it."""
        if self.asked_a_day and before + ids > self.asked_a_day:
            raise WrongSession(
                f"asked_a_day: {who} lets a host ask about {plural(self.asked_a_day, 'id')} in a day, {before:,} have "
                f"been asked for today and this session asks about {ids:,}; nothing was said about any of these. Ask "
                f"about fewer, or tomorrow, or {who} allows more"
            )

    def check_predictions(self, who: str, times: Sequence[int]) -> None:
        """Raise `WrongSession` if samples that were predicted so many times each may not be predicted once more."""
        spent = sum(count >= self.predictions for count in times) if self.predictions else 0
        if spent:
            raise WrongSession(
                f"predictions: {who} allows {self.predictions} of each sample over all sessions, and {spent} of the "
                f"{len(times)} samples of this one have had as many; no feature was sent. Leave them out, or {who} "
                "allows more"
            )

    def check_shape(self, who: str, rows: int, width: int) -> None:
        """Raise `WrongSession` if a batch has more rows, or a layer more outputs, than this collaborator allows."""
        if self.rows and rows > self.rows:
            raise WrongSession(
                f"rows: {who} allows batches of at most {self.rows} samples, and the script yields {rows}; no feature "
                f"was sent. All parties yield smaller batches, or {_allows_more(who, 'rows')}"
            )
        if self.width and width > self.width:
            raise WrongSession(
                f"projection width: {who} allows at most {self.width}, and the layer has {width} outputs; no feature "
                f"was sent. The host sets projection to {self.width} or less, or {_allows_more(who, 'width')}"
            )

    @property
    def of_a_prediction(self) -> RunLimits:
        """Those that a prediction session can break: it trains nothing, and has ids of its own."""
        return replace(self, rounds=0, projection_lr=0.0, ids=0)

    def stricter(self, other: RunLimits) -> RunLimits:
        """What both allow."""
        pairs = {each.name: (getattr(self, each.name), getattr(other, each.name)) for each in fields(self)}
        most = {name: min(filter(None, pair), default=type(pair[0])()) for name, pair in pairs.items()}
        return RunLimits(**{**most, "least_others": max(pairs["least_others"])})


def check_may_train(who: str, name: str, may_train: Collection[str] | None) -> None:
    """Raise `WrongSession` unless the host lets a collaborator train its bottom model.

    Args:
        who: its feature key.
        name: what the task calls it.
        may_train: names of those who may be shown gradients; None: all.
    """
    if may_train is not None and name not in may_train:
        raise WrongSession(
            f"may_train: {who} wants to train its bottom model, for which it is shown gradients, and the host does not "
            f"let it; no data was sent. {who} sets is_feature_trainable=False, or the host adds {name} to may_train"
        )


def check_summand(who: str, is_trained: bool) -> None:
    """Raise `WrongSession` if a collaborator's bottom model is frozen: its projections cannot be added to others'."""
    if not is_trained:
        raise WrongSession(
            f"fusion: the bottom model of {who} is frozen, so each of its rows is sent once. A sum needs all parties' "
            'rows in every batch. No data was sent. All train their bottom models, or the host sets fusion="separate"; '
            "then a smaller projection hides as much from a host that knows some rows (docs/privacy-measured.md)"
        )


def _allows_more(who: str, limit: str) -> str:
    option = f"--max-{limit.replace('_', '-')}"
    return (
        f"{who} allows more: RunLimits({limit}=...) in its script; what it said with `task join {option}` stays, and "
        "needs a new task"
    )


@dataclass(frozen=True)
class PairTerms:
    """What host and collaborator hold each other to while the run goes on.

    Attributes:
        max_rounds: of training, as the host declares; 0: it does not say.
        width: outputs of the layer; 0: as many as there are features.
        limits: what the collaborator allows.
        max_batches: of training in a round, as the host declares; 0: all.
        is_summed: the host gets the sum of all collaborators' projections only.
    """

    max_rounds: int = 0
    width: int = 0
    limits: RunLimits = field(default_factory=RunLimits)
    max_batches: int = 0
    is_summed: bool = False

    @property
    def rounds(self) -> int:
        """The most rounds of training; 0: as many as the host likes."""
        return min(filter(None, (self.max_rounds, self.limits.rounds)), default=0)


@dataclass(frozen=True)
class Pinned:
    """SHA-256 fingerprints of the certificates that a party knows its peers by.

    Attributes:
        host: the host's.
        collaborators: theirs, by name.
    """

    host: bytes
    collaborators: Mapping[str, bytes]

    def __post_init__(self) -> None:
        everyone = (self.host, *self.collaborators.values())
        if any(not isinstance(each, bytes) or len(each) != FINGERPRINT_BYTES for each in everyone):
            raise InvalidInput(f"a fingerprint has {FINGERPRINT_BYTES} bytes")


def _check_counts(record: object, **most: int) -> None:
    for name, high in most.items():
        value = getattr(record, name)
        if type(value) is not int or not 0 <= value <= high:
            raise InvalidInput(f"{name} must be an integer from 0 to {high}")


def _check_rates(record: object, *names: str) -> None:
    for name in names:
        value = getattr(record, name)
        if not isinstance(value, float) or not 0 <= value < MAX_RATE:
            raise InvalidInput(f"{name} must be a number from 0 to {MAX_RATE:g}")
