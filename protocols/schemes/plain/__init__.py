"""Scheme "plain": features and gradients in the clear."""
