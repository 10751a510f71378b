"""How much leaks, measured by attacks: python -m benchmarks.privacy."""
