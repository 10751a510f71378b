"""Eight hours of a task, compressed: what its parties hold while connections are cut, and whether that grows."""
