"""The `secure-hfl` command. Each module registers its commands on the app; none imports torch before it needs it."""
