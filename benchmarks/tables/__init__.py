"""Tables without code, on real tables that Python packages ship: together, alone, and beside gradient boosting."""

from secure_hfl.tables.split import split_key

KEY = split_key("benchmarks.tables")
"""Of the split, in place of a task's: all ways are tested on the same samples."""
