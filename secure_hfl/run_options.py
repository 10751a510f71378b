"""Options of one run that override what a script says: the command line's flags, or `SECURE_HFL_*` variables.

SECURE_HFL_TASK         task id, name or prefix, used where a script still has the placeholder YOUR_TASK_ID
SECURE_HFL_SCHEME       plain | ... (see `secure_hfl.schemes`)
SECURE_HFL_ROUNDS       instead of max_rounds (host)
SECURE_HFL_BATCHES      at most so many batches a round (host)
SECURE_HFL_SEED         a reproducible run, for tests and comparisons; NOT SECRET, both sides must ask for it
SECURE_HFL_PROJECTION   1 or 0: with or without the projection layer (host)
SECURE_HFL_RESUME       1: go on from the last checkpoint that all parties have
SECURE_HFL_CHECKPOINT_EVERY   batches of training between two checkpoints (host); default: about ten seconds' worth
SECURE_HFL_LIMITS       what peers may ask of this machine: "ids=20000000,width=8192" (secure_hfl/limits.py)
SECURE_HFL_KEEP_FOR_JUDGE     1: keep what a round would be opened with to a judge: SECRET files in the task's directory
SECURE_HFL_KEEP_ALL_ROUNDS    1: the same for every round; default: for the last two
SECURE_HFL_PROXY        an HTTP proxy through which a collaborator reaches the host: http://[user:password@]host:port
SECURE_HFL_PROGRESS     file descriptor to write progress to, as JSON lines
"""

from __future__ import annotations

import os

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from secure_hfl.errors import ConfigurationError

PREFIX = "SECURE_HFL_"


class RunOptions(BaseModel):
    """Everything is optional; None leaves the script's own value."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: str | None = None
    scheme: str | None = None
    rounds: int | None = Field(default=None, ge=1)
    batches: int | None = Field(default=None, ge=1)
    seed: int | None = Field(default=None, ge=0, lt=1 << 63)
    projection: bool | None = None
    wait: float | None = Field(default=None, gt=0, lt=1e7)
    resume: bool | None = None
    checkpoint_every: int | None = Field(default=None, ge=1, lt=1 << 31)
    limits: str | None = None
    keep_for_judge: bool | None = None
    keep_all_rounds: bool | None = None
    proxy: str | None = Field(default=None, repr=False)
    engine: str | None = None
    progress: int | None = Field(default=None, ge=0)

    @property
    def keeps_rounds(self) -> bool:
        """Whether anything is kept for a judge."""
        return bool(self.keep_for_judge or self.keep_all_rounds)


_active: RunOptions | None = None


def activate(options: RunOptions) -> None:
    """Use these for the rest of the process (the command line does; a notebook may)."""
    global _active
    _active = options


def current() -> RunOptions:
    """The active options; fields that are not set come from the environment."""
    variables = {name: PREFIX + name.upper() for name in RunOptions.model_fields}
    environment = {name: os.environ[variable] for name, variable in variables.items() if variable in os.environ}
    explicit = {} if _active is None else _active.model_dump(exclude_none=True)
    try:
        return RunOptions.model_validate({**environment, **explicit})
    except ValidationError as error:
        first = error.errors()[0]
        name = PREFIX + str(first["loc"][0]).upper()
        raise ConfigurationError(f"{name}: {first['msg']}") from None
