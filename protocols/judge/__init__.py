"""Judges a round that its parties have opened: who sent something else than the protocol asks for (docs/audit.md)."""
