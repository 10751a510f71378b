"""Schemes "bfv" and "paillier": the layer under additively homomorphic encryption."""
