"""How many ids the parties of a task have in common, counted before anything is trained."""
