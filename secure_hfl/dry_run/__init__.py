"""One party's methods, called as a task would call them, with made-up peers: nothing is sent, nothing is kept.

load_local_ids ─▶ split_dataset ─▶ build_* ─▶ a few training batches ─▶ a few test batches
                  of all its own              the Host: with made-up features of the collaborators
                  ids, or of given ones       a collaborator: with made-up gradients

    run.py            the steps that both roles share
    host.py           what a Host does in its own; collaborator.py: a collaborator
    batches.py        a party's first batches, checked
    shown.py          what the scheduler is shown
    terms.py          what both scripts say of the task's terms, compared
    findings.py       what was found

What a real run would refuse is refused here in the same words, by the same code. `mock_context` runs it in place of
`launch_task`, `secure-hfl check` from the command line.
"""
