"""Langevin flows for neural latent dynamics, arXiv:2507.11531."""
