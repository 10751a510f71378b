"""Tasks: what a party keeps about each (`TaskStore`), and the invite with which a Host shares one."""

from secure_hfl.tasks.confirmation import check_fingerprint, check_pairing_code, pairing_code
from secure_hfl.tasks.invite import Invite, create_task, join_task, resolve_task
from secure_hfl.tasks.record import (
    AcceptedLimits,
    DataCheck,
    Participant,
    PlannedTerms,
    TaskRecord,
    TaskState,
    split_address,
)
from secure_hfl.tasks.store import TaskStore

__all__ = [
    "AcceptedLimits",
    "DataCheck",
    "Invite",
    "Participant",
    "PlannedTerms",
    "TaskRecord",
    "TaskState",
    "TaskStore",
    "check_fingerprint",
    "check_pairing_code",
    "create_task",
    "join_task",
    "pairing_code",
    "resolve_task",
    "split_address",
]
