"""The console: a party's tasks in a browser, on its own machine.

    command.py       `secure-hfl console`: where it listens
    app.py           joins the pages of views/
    guard.py         what holds for every answer and every question: who asks, from where, how much
    sessions.py      the one-time address, the cookie, the token in each form
    page.py          templates, words, what pages share
    views/           a module a page: its routes, and what they read
    forms.py         what a page sends; drafts.py: a task while it is put together; statements.py: what it discloses
    task_parts.py    what changes on a task's page; feed.py, log_tail.py: how it gets there; figures.py: charts
    failures.py      errors as pages; downloads.py: files to keep; child.py: heavy work apart
    serving.py       listens; context.py: what all pages share
    words/           English and Chinese

It keeps nothing: what it shows is in the home, where the command line has it from, and what it does goes through the
functions that the command line calls.
"""
