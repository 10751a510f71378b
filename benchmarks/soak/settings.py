"""What both parties' scripts and the benchmark agree on."""

SIZES = 256, 8
"""Ids, and samples of a batch: 24 batches of training in a round, and 8 of testing."""

WAIT = 120.0
"""Seconds to wait for each other, on a machine that may be busy."""

CHECKPOINT_EVERY = 12
"""Batches, besides the checkpoints behind every pass."""

MOST_ROUNDS = 20_000
"""That are declared; the time ends the task earlier."""
