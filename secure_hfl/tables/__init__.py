"""Tasks from tables, without code: `secure-hfl table`, or `TableHost` and `TableCollaborator` in Python.

    source ──▶ profile ──▶ spec ──▶ rows ──▶ encoding ──▶ batches
    a file     what the     JSON,    numbers   fitted to
    or frame   columns are  edited   in memory training rows

What the stages do: docs/tables.md. Tables are read with pyarrow (extra `data`).
"""

from __future__ import annotations

from importlib import import_module

_HOMES = {
    "SchemaChecker": "secure_hfl.tables.schema_checker",
    "TableCollaborator": "secure_hfl.tables.collaborator",
    "TableHost": "secure_hfl.tables.host",
    "TableSpec": "secure_hfl.tables.spec",
}

__all__ = ["SchemaChecker", "TableCollaborator", "TableHost", "TableSpec"]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
