"""Lattice arithmetic in C: `kernel.Kernel` is its door, kernel.h says what it does, build_kernel.py builds it."""
