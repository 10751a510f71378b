"""Predictions of a finished task: the parties that have trained it predict together on samples of the Host's choice.

party.py, trained.py, assignment.py    what both roles have: models, shares, where files go
host.py, collaborator.py               a session about a file of ids, and who answers it
service.py, online_*.py                a session that stays open: a queue of requests, populations to look up
host_side.py                           what both kinds of session have in common at the Host
features.py, fusion.py, outcome.py     from the user's methods to an output for each id
budget.py, shown_rows.py               how often and by what a sample is shown, over all sessions
id_files.py                            files of ids that a Host asks about
alone.py                               what a Host does without its collaborators
evaluation*.py, plots.py, card.py      how good it is, for people
export.py                              the Host's models for other programs
launched.py                            scripts under `secure-hfl predict`, `serve` and `evaluate`
"""
