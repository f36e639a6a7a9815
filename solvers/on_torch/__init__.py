"""Numerical pieces on torch tensors."""
