"""What a user would otherwise pick, measured beside ours in one run; see README.md.

Nothing here is imported by `secure_hfl`, and a peer's worker imports nothing of it: each runs in its own environment.
"""
