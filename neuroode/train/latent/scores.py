"""How well inferred rates do: against the true ones, and against spikes of neurons that nothing has seen."""

from __future__ import annotations

import numpy as np

Array = np.ndarray
SMALLEST = 1e-6  # spikes a bin; a rate of 0 where a spike fell would have no likelihood


def r_squared(found: Array, true: Array) -> float:
    """1 - squared error / variance over trials and bins for each neuron, the mean over neurons; (n, T, N) both.

    A neuron's own constant mean rate has 0, the true rates have 1.
    """
    error = ((found.astype(float) - true) ** 2).sum((0, 1))
    spread = ((true - true.mean((0, 1), dtype=float)) ** 2).sum((0, 1))
    return float(np.mean(1 - error / spread))


def bits_per_spike(rates: Array, spikes: Array, mean: Array) -> float:
    """(log-likelihood of the rates - that of the mean rates) / (number of spikes * ln 2), Poisson.

    On held-out neurons this is the co-bps of the Neural Latents Benchmark (Pei et al. 2021, arXiv:2109.04463).

    Args:
        rates: (n, T, N), inferred, in spikes a bin.
        spikes: (n, T, N), counts.
        mean: (N,), the neurons' mean rates, of the training trials.
    """
    gain = log_likelihood(rates, spikes) - log_likelihood(np.broadcast_to(mean, spikes.shape), spikes)
    return float(gain / (spikes.sum(dtype=float) * np.log(2)))


def log_likelihood(rates: Array, spikes: Array) -> float:
    """Of counts under Poisson rates, without the factorials, which no rate changes."""
    kept = np.maximum(rates.astype(float), SMALLEST)
    return float((spikes * np.log(kept) - kept).sum())
