"""A party's work as processes of their own, that outlive whoever started them and are found again.

    processes.py        which process it is: never by its number alone
    supervised.py       one process at a time: start, output, stop, what became of it
    local_party.py      the party of a task: `secure-hfl host` or `collaborator`
    data_check.py       a dry run of its script, and its verdict
    predictions.py      what it does with a finished task: ask for predictions, or serve them
    script_folders.py   which scripts may be run
    table_script.py     a script that is made from a table
    benchmark_run.py    `secure-hfl bench`; checking.py: what the data check's process does
    tensorboard.py      what a task has logged, in a browser

Nothing here is a server, and nothing is kept in memory that is not also in the task's directory.
"""
