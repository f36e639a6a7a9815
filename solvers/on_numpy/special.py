"""Functions that exact discretizations need, without cancellation: phi functions, divided differences, exponentials.

Sources: Higham, Functions of Matrices (2008), sections 10.5 and 10.7.4; McCurdy, Ng, Parlett, Math. Comp. 43 (1984) for
divided differences of exp.
"""

from __future__ import annotations

import math

import numpy as np
import scipy.linalg

TERMS = 24  # of a Taylor series inside |z| <= 2: the rest is below 2^24/24! = 3e-17


def phi(k: int, z: np.ndarray) -> np.ndarray:
    """phi_k(z) = sum_n z^n/(n+k)!, real or complex, any shape; phi_1(z) = (e^z - 1)/z."""
    z = np.asarray(z)
    z = z.astype(complex) if np.iscomplexobj(z) else z.astype(float)
    small = np.abs(z) < (1.0 if k == 1 else 2.0)
    far = np.where(small, 1.0, z)
    value = (np.exp(far) - 1) / far if np.iscomplexobj(far) else np.expm1(far) / far
    for j in range(1, k):
        value = (value - 1 / math.factorial(j)) / far
    return np.where(small, _phi_series(k, np.where(small, z, 0.0)), value)


def _phi_series(k: int, z: np.ndarray) -> np.ndarray:
    total = np.zeros_like(z)
    for n in reversed(range(TERMS)):
        total = total * z + 1 / math.factorial(n + k)
    return total


def edd(*nodes: np.ndarray) -> np.ndarray:
    """Divided difference of exp at real nodes (any number, equal ones allowed), elementwise over arrays."""
    x = np.sort(np.stack(np.broadcast_arrays(*[np.asarray(n, float) for n in nodes])), axis=0)
    return _edd_sorted(x)


def _edd_sorted(x: np.ndarray) -> np.ndarray:
    k = len(x) - 1
    if k == 0:
        return np.exp(x[0])
    if k == 1:
        return np.exp(x[1]) * phi(1, x[0] - x[1])
    spread = x[-1] - x[0]
    near = spread < 2.0
    split = (_edd_sorted(x[1:]) - _edd_sorted(x[:-1])) / np.where(near, 1.0, spread)
    return np.where(near, _edd_series(np.where(near, x, 0.0)), split)


def _edd_series(x: np.ndarray) -> np.ndarray:
    """e^c sum_n h_n(x - c)/(n+k)!, h_n the complete homogeneous symmetric polynomials, c the middle of the nodes."""
    k, centre = len(x) - 1, (x[0] + x[-1]) / 2
    h = [np.ones_like(centre)] + [np.zeros_like(centre)] * (TERMS - 1)
    for node in x - centre:
        for n in range(1, TERMS):
            h[n] = h[n] + node * h[n - 1]
    total = sum(h[n] / math.factorial(n + k) for n in reversed(range(TERMS)))
    return np.exp(centre) * total


def expm(n: int, entries: list[np.ndarray]) -> np.ndarray:
    """exp of n x n matrices given entry by entry (row by row); the result has shape (..., n, n)."""
    stacked = np.stack(np.broadcast_arrays(*[np.asarray(e, float) for e in entries]), axis=-1)
    return scipy.linalg.expm(stacked.reshape(*stacked.shape[:-1], n, n))
