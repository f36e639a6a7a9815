"""Numerical pieces on jax arrays."""
