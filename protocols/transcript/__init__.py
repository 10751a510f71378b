"""Transcripts: what crossed the wire between two parties, hash-chained and signed by both (docs/audit.md)."""
