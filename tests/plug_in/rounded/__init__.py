"""Scheme "rounded", as a package of somebody else: it is copied out of here, and imports nothing of the tests."""
