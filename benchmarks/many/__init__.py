"""Many tasks in one process, at once and one after another, and many collaborators in one task."""
