"""The pages, a module each. A module has `routes`; `secure_hfl.console.app` joins them.

A plain function is a page that reads files or the store, and runs in a thread; `async` is for what waits.
"""
