"""One task from joining to the farewell: agreement, alignment, rounds, resumption."""
