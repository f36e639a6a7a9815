"""Discretized quadratic integrate-and-fire neurons, arXiv:2510.05168."""
