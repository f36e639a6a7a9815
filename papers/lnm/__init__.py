"""Learnable neuron models, arXiv:2510.07341."""
