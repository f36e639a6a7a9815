"""Fractional-order spiking networks: fspikeDE, spikeDE and torchfde, arXiv:2507.16937."""
