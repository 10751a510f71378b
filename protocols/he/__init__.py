"""Homomorphic encryption: one interface (`interface`), and the schemes that implement it (`bfv`, `paillier`)."""
