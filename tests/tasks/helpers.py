"""Two parties with homes of their own, and a task between them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from secure_hfl.identity import Identity
from secure_hfl.tasks import Invite, TaskRecord, TaskStore, create_task

ADDRESS = "host.example:50051"


@dataclass(frozen=True)
class Party:
    identity: Identity
    store: TaskStore


def make_party(home: Path, name: str) -> Party:
    return Party(Identity.create(name), TaskStore(home))


def make_task(
    host: Party, *others: Party, name: str = "digits", scheme: str = "bfv", address: str = ADDRESS
) -> tuple[TaskRecord, Invite]:
    certificates = {party.identity.name: party.identity.certificate_pem for party in others}
    return create_task(host.store, host.identity, name, address, scheme, certificates)
