"""Numerical kernels on arrays: no sympy, no model, no text."""
