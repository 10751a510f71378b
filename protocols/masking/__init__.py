"""One-time masks and Beaver matrix triples for scheme "masked": made ahead of time, used once."""
