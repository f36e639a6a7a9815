"""Dendritic resonate-and-fire neurons (arXiv:2509.17186): branches that resonate, a threshold that crossings raise."""
