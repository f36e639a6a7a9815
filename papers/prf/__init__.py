"""Parallel resonate-and-fire neurons (arXiv:2410.03530): the decoupled reset of a LIF, and the PRF neuron."""
