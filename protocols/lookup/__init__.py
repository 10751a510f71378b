"""Looking ids up in a population that was registered once: protocols/lookup/messages.py has the diagram."""

from protocols.lookup.directory import Directory
from protocols.lookup.messages import (
    MAX_LOOKUP,
    LookupPoints,
    LookupRefused,
    LookupReplies,
    PopulationDigests,
    PopulationOpen,
    RequestsOver,
    RowsAsked,
    RowsRefused,
    lookup_id,
)
from protocols.lookup.population import Population

__all__ = [
    "MAX_LOOKUP",
    "Directory",
    "LookupPoints",
    "LookupRefused",
    "LookupReplies",
    "Population",
    "PopulationDigests",
    "PopulationOpen",
    "RequestsOver",
    "RowsAsked",
    "RowsRefused",
    "lookup_id",
]
