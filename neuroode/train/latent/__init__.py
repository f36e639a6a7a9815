"""Rates of a population from its spikes: sequential autoencoders with a declared latent, and their baselines."""
