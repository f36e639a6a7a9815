"""The learnable map by itself: u[t] = f(u[t-1]) + x[t] with a hard reset, its reverse scan, and Newton's iteration.

The body of the paper was not read: these follow its abstract (a low-degree polynomial, one for a layer).
"""

from __future__ import annotations

import numpy as np
from numpy.polynomial import polynomial

Array = np.ndarray
HALF_WIDTH = 0.5  # of the rectangular surrogate


def run(theta: Array, x: Array, reset: bool = True) -> tuple[Array, Array]:
    """Potentials before their resets, and spikes, at a threshold of 1; x (T, ...), powers of u written out."""
    u, spikes, kept = np.zeros_like(x), np.zeros_like(x), np.zeros_like(x[0])
    for t, each in enumerate(x):
        u[t] = sum(c * kept**k for k, c in enumerate(theta)) + each
        spikes[t] = u[t] >= 1
        kept = u[t] * (1 - spikes[t] * reset)
    return u, spikes


def reverse_scan(theta: Array, u: Array, spikes: Array, g: Array, reset: bool = True) -> Array:
    """dL/dtheta of L = sum(g s), from the last step to the first, the gradient through the reset included.

    With the adjoint lambda[t] of u[t]: dL/dtheta_k = sum_t lambda[t] (u[t-1] after its reset)^k.
    """
    slope = (np.abs(u - 1) <= HALF_WIDTH).astype(float)
    derivative = polynomial.polyder(theta)
    total, later = np.zeros(len(theta)), np.zeros_like(u[0])
    for t in range(len(u) - 1, -1, -1):
        kept = u[t] * (1 - spikes[t] * reset)
        through = 1 - (spikes[t] + u[t] * slope[t]) * reset  # d(u (1 - s))/du
        adjoint = g[t] * slope[t] + later * polynomial.polyval(kept, derivative) * through
        before = u[t - 1] * (1 - spikes[t - 1] * reset) if t else np.zeros_like(u[0])
        total += [(adjoint * before**k).sum() for k in range(len(theta))]
        later = adjoint
    return total


def newton(theta: Array, x: Array, tolerance: float = 1e-12, most: int = 100) -> tuple[Array, int]:
    """The trajectory without resets by linear recurrences u = f(w) + f'(w)(u - w) + x around the last one, and how many
    it took."""
    derivative, w = polynomial.polyder(theta), np.zeros_like(x)
    for number in range(1, most + 1):
        before = np.concatenate([np.zeros_like(x[:1]), w[:-1]])
        slope, offset = polynomial.polyval(before, derivative), polynomial.polyval(before, theta) + x
        u, last = np.zeros_like(x), np.zeros_like(x[0])
        for t in range(len(x)):
            last = offset[t] + slope[t] * (last - before[t])
            u[t] = last
        if np.abs(u - w).max() <= tolerance:
            return u, number
        w = u
    return w, most
