"""Checkpoints: what one party needs to go on with a task after its process has ended.

snapshot.py          all that passes between a run and its checkpoints
task_checkpoints.py  making them, and which one to go on from
resume_count.py      how often that may be
spent_distance.py    what this party has shown of its secrets, likewise
label_key.py         what the Host draws training labels with, from a task's start to its end
store.py             the last two checkpoints of a task on disk, and which of them can be used
tree.py              a tree of numbers, text, tensors and containers as bytes, without pickle
user_state.py        the user's part: what is in it, and how it is put back
local_state.py       what torch holds at one party
plain_attributes.py  the plain attributes of the user's scheduler
"""
