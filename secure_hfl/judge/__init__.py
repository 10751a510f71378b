"""What a party keeps so that it can open a round to a judge, and how it does (docs/audit.md)."""
