"""What holds for every test."""

from __future__ import annotations

import os

# pytest-xdist sets it for its workers; what our commands print is as wide as they say themselves.
os.environ.pop("COLUMNS", None)
