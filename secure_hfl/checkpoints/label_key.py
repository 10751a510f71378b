"""The key that the Host draws its training labels with, from the start of a task to its end.

It is not part of a checkpoint: parties may go on from an earlier one, or from none, and peers decide that too. Whatever
they go on from, labels that were drawn stay drawn. So the key lies beside the checkpoints, and goes when they go.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from protocols.core.randomness import SEED_BYTES, Randomness
from secure_hfl.errors import CheckpointRefused, ConfigurationError
from secure_hfl.files import write_private
from secure_hfl.home import make_private_directory


class _Record(BaseModel):
    """The file."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    protection: dict[str, float]
    key: str = Field(pattern=f"^([0-9a-f]{{{2 * SEED_BYTES}}})?$", repr=False)

    @model_validator(mode="after")
    def _has_a_key_if_protected(self) -> _Record:
        if bool(self.key) != bool(self.protection):
            raise ValueError("a key belongs to a protection")
        return self


class LabelKey:
    """A file with the key, and with what it was made for.

    Args:
        directory: where checkpoints are.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / "label-key.json"

    def open(self, protection: Mapping[str, float], randomness: Randomness) -> bytes:
        """The key; made when the task asks for it for the first time. Empty if labels are not protected.

        Args:
            protection: how labels are protected, in numbers; empty: not at all, which is recorded too.
            randomness: where a new key comes from.

        Raises:
            ConfigurationError: the task began with another protection, so that no claim would be true of all of it.
            CheckpointRefused: the file is damaged.
        """
        record = self._begun(protection)
        if record is None:
            record = _Record(protection=dict(protection), key=randomness.seed().hex() if protection else "")
            make_private_directory(self._path.parent)
            write_private(self._path, record.model_dump_json().encode())
        return bytes.fromhex(record.key)

    def check(self, protection: Mapping[str, float]) -> None:
        """Raise as `open` does, if it would; nothing is made."""
        self._begun(protection)

    def _begun(self, protection: Mapping[str, float]) -> _Record | None:
        if not self._path.exists():
            return None
        try:
            record = _Record.model_validate_json(self._path.read_bytes())
        except ValidationError as error:
            raise CheckpointRefused(
                f"{self._path.name} among the checkpoints is damaged: how labels were drawn is not known. Start all "
                "parties without --resume"
            ) from error
        if record.protection != dict(protection):
            raise ConfigurationError(
                f"this task began with {_words(record.protection)}, and the script now says {_words(protection)}. What "
                "was shown cannot be taken back: go on as it began, or start all parties without --resume"
            )
        return record

    def clear(self) -> None:
        """The task is finished, or begins."""
        self._path.unlink(missing_ok=True)


def _words(protection: Mapping[str, float]) -> str:
    if not protection:
        return "no label_privacy"
    return "label_privacy of " + ", ".join(f"{name} {value:g}" for name, value in protection.items())
