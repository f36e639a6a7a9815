"""The baseline without a network: Gaussian-process smoothing of each neuron's spikes, and a Poisson regression.

A neuron's rate is taken for its mean plus a Gaussian process with the covariance s^2 exp(-(t - t')^2/(2 l^2)), seen
with white noise whose variance is the mean count (Poisson). The posterior mean is a linear smoother (Rasmussen and
Williams 2006, eq. 2.25). Log-rates of all neurons, seen and held out, are then a linear map of the logarithms of the
smoothed seen ones (Poisson regression with a ridge), as in the smoothing baseline of the Neural Latents Benchmark; a
seen neuron's own spikes are left out there, because they are what is fitted. Length scale, s and ridge are those of the
largest likelihood of the validation trials' held-out neurons; the test trials are not looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from neuroode.train.latent.scores import log_likelihood
from neuroode.train.tasks.lorenz import Part, Population

Array = np.ndarray
LENGTHS = (1.0, 1.4, 2.0, 2.8, 4.0)  # bins
SIGNALS = (0.5, 1.0, 2.0)  # s over the mean rate
RIDGES = (10.0, 100.0, 1000.0)
SEARCH_TRIALS = 200  # training trials for the search; the picked one is fitted to all
LEAST = 0.1  # of a smoothed rate, over its mean: the posterior mean of a Gaussian process may be negative
EXCLUDED = 1e12  # a ridge that leaves a feature out
NEWTON, TOLERANCE, HALVINGS = 30, 1e-8, 20


@dataclass(frozen=True, slots=True)
class Smoother:
    """Length scale (bins), s over the mean rate, ridge, mean counts (seen,), regression (seen + 1, N)."""

    length: float
    signal: float
    ridge: float
    mean: Array
    regression: Array

    def rates(self, spikes: Array) -> Array:
        """Rates of all neurons (n, T, N) from the counts of the seen ones (n, T, seen)."""
        return np.exp(_features(smooth(spikes, self.mean, self.length, self.signal)) @ self.regression)


def smooth(spikes: Array, mean: Array, length: float, signal: float) -> Array:
    """Posterior mean of each neuron's rate relative to its mean rate, minus 1; (n, T, N) -> (n, T, N)."""
    matrices = np.array([smoother(spikes.shape[1], length, signal, m) for m in mean])
    return np.einsum("nts,bsn->btn", matrices, spikes / mean - 1, optimize=True)


def smoother(steps: int, length: float, signal: float, mean: float) -> Array:
    """K (K + noise)^-1 for relative rates: K = signal^2 exp(-(t - t')^2/(2 length^2)), noise 1/mean."""
    time = np.arange(steps)
    K = signal**2 * np.exp(-((time[:, None] - time) ** 2) / (2 * length**2))
    return np.linalg.solve(K + np.eye(steps) / mean, K).T


def fit(population: Population) -> Smoother:
    """The smoother of the largest validation likelihood, fitted to the training trials."""
    train, seen = population.train, population.seen
    mean = train.spikes[..., :seen].mean((0, 1), dtype=float)
    few = np.linspace(0, len(train) - 1, min(SEARCH_TRIALS, len(train))).astype(int)
    some = Part(train.spikes[few], train.rates[few], train.latents[few], train.condition[few])
    grid = list(product(LENGTHS, SIGNALS))
    _, length, signal, ridge = max(row for one in grid for row in _candidates(some, population.val, mean, one, seen))
    features = _features(smooth(train.spikes[..., :seen], mean, length, signal))
    return Smoother(length, signal, ridge, mean, poisson_regression(features, _rows(train.spikes), ridge, own=True))


def _candidates(train: Part, val: Part, mean: Array, kernel: tuple[float, float], seen: int) -> list[tuple]:
    """(validation log-likelihood of the held-out neurons, length, signal, ridge) for each ridge."""
    x, wanted = (_features(smooth(p.spikes[..., :seen], mean, *kernel)) for p in (train, val))
    y, target = _rows(train.spikes[..., seen:]), val.spikes[..., seen:]
    found = []
    for ridge in RIDGES:
        rates = np.exp(wanted @ poisson_regression(x, y, ridge))
        found.append((log_likelihood(rates, target), *kernel, ridge))
    return found


def _rows(spikes: Array) -> Array:
    return spikes.reshape(-1, spikes.shape[-1]).astype(float)


def _features(smoothed: Array) -> Array:
    """Logarithms of the smoothed relative rates, and a constant: (n, T, seen) -> (n, T, seen + 1)."""
    logs = np.log(np.maximum(1 + smoothed, LEAST))
    return np.concatenate([logs, np.ones((*smoothed.shape[:-1], 1))], -1)


def poisson_regression(x: Array, y: Array, ridge: float, own: bool = False) -> Array:
    """W (F, N) of the largest sum(y log(rate) - rate) - ridge/2 |W|^2 for rate = exp(x W), by Newton's method.

    Args:
        x: (rows, F) or (n, T, F), the last feature a constant, which has no ridge.
        y: (rows, N), counts; each neuron must have spiked.
        own: the first neurons are those that x is made of: each one's own feature is left out.
    """
    x = x.reshape(-1, x.shape[-1])
    weights = np.full((y.shape[1], x.shape[1]), ridge)
    weights[:, -1] = 0
    W = np.zeros((x.shape[1], y.shape[1]))
    W[-1] = np.log(y.mean(0))
    if own:
        seen = np.arange(x.shape[1] - 1)
        weights[seen, seen] = EXCLUDED
    return np.stack([_newton(x, y[:, n], W[:, n], weights[n]) for n in range(y.shape[1])], 1)


def _newton(x: Array, y: Array, w: Array, ridge: Array) -> Array:
    """Steps are halved until the objective, which is concave, does not fall."""
    value, rate = _objective(x, y, w, ridge)
    for _ in range(NEWTON):
        slope = x.T @ (y - rate) - ridge * w
        step = np.linalg.solve((x * rate[:, None]).T @ x + np.diag(ridge), slope)
        for _ in range(HALVINGS):
            moved, new = _objective(x, y, w + step, ridge)
            if moved >= value:
                break
            step = step / 2
        w, rate, gained, value = w + step, new, moved - value, moved
        if gained <= TOLERANCE * abs(value):
            break
    return w


def _objective(x: Array, y: Array, w: Array, ridge: Array) -> tuple[float, Array]:
    log_rate = x @ w
    rate = np.exp(np.minimum(log_rate, 50.0))
    return float(y @ log_rate - rate.sum() - ridge @ w**2 / 2), rate
