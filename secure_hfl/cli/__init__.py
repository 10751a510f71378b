"""The `secure-hfl` command. Each module registers its commands on the app.

A command imports what it needs inside its function, because torch, cryptography and pydantic take up to seconds to
import: `--help`, `--version` and wrong usage answer at once. A test holds the modules to that.
"""
