"""What the doctor reports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Row:
    """One line of the doctor's report."""

    check: str
    status: Status
    detail: str
    fix: str = ""
