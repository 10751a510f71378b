"""Scheme "masked": one-time masks online, triples made between the parties ahead of time."""
