"""The released potential and its recursion, in numpy."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.optimize import approx_fprime

from neuroode.papers.langevinflow import theirs

H = 16


def _kernel(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(4, 4, 3))


def force_linear() -> Mapping[str, float]:
    """Of 20 random kernels and pairs of points; the force by hand against differences of U once."""
    off = 0.0
    for seed in range(20):
        K, (a, b) = _kernel(seed), np.random.default_rng(seed + 100).normal(size=(2, H))
        whole = theirs.force(K, 2 * a - 3 * b) - 2 * theirs.force(K, a) + 3 * theirs.force(K, b)
        off = max(off, float(np.abs(whole).max()))
    K, z = _kernel(), np.random.default_rng(1).normal(size=H)
    slope = approx_fprime(z, lambda x: float(theirs.potential(K, x)), 1e-6)
    return {"superposition off": off, "force off differences of U": float(np.abs(theirs.force(K, z) - slope).max())}


def indefinite() -> Mapping[str, float]:
    """Eigenvalues of the Hessian, its rank, and the spectral radius of the recursion; 20 random kernels."""
    values = np.array([np.linalg.eigvalsh(theirs.hessian(_kernel(s), H)) for s in range(20)])
    ranks = [np.linalg.matrix_rank(theirs.hessian(_kernel(s), H), tol=1e-9) for s in range(20)]
    asymmetric = max(float(np.abs(h - h.T).max()) for h in (theirs.hessian(_kernel(s), H) for s in range(20)))
    radii = [np.abs(np.linalg.eigvals(theirs.affine(_kernel(s), 0.55, H))).max() for s in range(20)]
    return {
        "largest rank": int(max(ranks)),
        "off a symmetric matrix": asymmetric,
        "kernels with a negative eigenvalue": int((values.min(1) < -1e-9).sum()),
        "kernels with a positive eigenvalue": int((values.max(1) > 1e-9).sum()),
        "least spectral radius of a step": float(min(radii)),
    }


def coded_divergence() -> Mapping[str, float]:
    """The variance that the coded term gives v, and the one that v has."""
    gamma, mean = 0.55, np.zeros(1)
    coded = float(theirs.coded_divergence(mean, gamma))

    def right(variance: float) -> float:
        return 0.5 * (variance / 0.1 - 1 - np.log(variance / 0.1))

    return {
        "coded, less that of variance exp(2 gamma)": abs(coded - right(np.exp(2 * gamma))),
        "coded, less that of variance 2 gamma": coded - right(2 * gamma),
        "exp(2 gamma)": float(np.exp(2 * gamma)),
    }
