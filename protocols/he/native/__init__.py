"""Lattice arithmetic in C: `kernel.Kernel` is its door, kernel.h says what it does, hatch_build.py builds it."""
