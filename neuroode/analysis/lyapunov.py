"""Whether the oscillation that begins at a Hopf point is small and stable, or unstable: the first Lyapunov coefficient.

Source: Kuznetsov, Elements of Applied Bifurcation Theory (2004), equation 5.62, with A q = i w q, A' p = -i w p,
<q, q> = 1, <p, q> = 1.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from neuroode.analysis.held import HeldFlow

Array = np.ndarray
STEPS = (1e-3, 2.5e-4)  # of the differences, relative to the point
AGREE = 0.05  # of the two, relative to the sum of the sizes of their terms


def lyapunov(flow: HeldFlow, x: Array, I: float, frequency: float) -> float | None:
    """The coefficient at a Hopf point: below 0 supercritical, above 0 subcritical.

    None where two steps of the differences do not agree, or where it cannot be told from 0.
    """
    with np.errstate(all="ignore"):
        (coarse, size), (fine, _) = (_coefficient(flow, x, I, frequency, step) for step in STEPS)
    settled = abs(coarse - fine) <= AGREE * abs(fine) and abs(fine) > 1e-6 * size
    return fine if np.isfinite(fine) and settled else None


def _coefficient(flow: HeldFlow, x: Array, I: float, w: float, step: float) -> tuple[float, float]:
    """The number, and the sum of the sizes of its three terms."""
    A = flow.J(x, I)
    q, p = _eigenvector(A, 1j * w), _eigenvector(A.T, -1j * w)
    p = p / np.vdot(q, p)  # <p, q> = vdot(p, q) = 1
    second, third = _forms(flow, x, I, q, step)
    square, mixed, cube = second(q, q), second(q, q.conj()), third
    parts = (
        np.vdot(p, cube),
        -2 * np.vdot(p, second(q, np.linalg.solve(A, mixed))),
        np.vdot(p, second(q.conj(), np.linalg.solve(2j * w * np.eye(len(x)) - A, square))),
    )
    return float(sum(parts).real / (2 * w)), float(sum(abs(c) for c in parts) / (2 * w))


def _eigenvector(A: Array, value: complex) -> Array:
    values, vectors = np.linalg.eig(A)
    return vectors[:, np.argmin(np.abs(values - value))]


def _forms(flow: HeldFlow, x: Array, I: float, q: Array, step: float) -> tuple[Callable[[Array, Array], Array], Array]:
    """B(u, v) = f''[u, v] for complex u, v, and f'''[q, q, conj q], from differences of the Jacobian."""

    def along(u: Array, order: int) -> Array:
        """d^order/ds^order of J(x + s u) u, by five points."""
        size = np.abs(u / (1 + np.abs(x))).max()
        if size == 0:
            return np.zeros_like(u)
        h = step / size
        near = [flow.J(x + k * h * u, I) @ u for k in (-2, -1, 0, 1, 2)]
        weights = (1, -8, 0, 8, -1) if order == 1 else (-1, 16, -30, 16, -1)
        return sum(c * v for c, v in zip(weights, near, strict=True)) / (12 * h**order)

    def real_second(u: Array, v: Array) -> Array:
        return (along(u + v, 1) - along(u - v, 1)) / 4

    def second(u: Array, v: Array) -> Array:
        parts = [[real_second(a, b) for b in (v.real, v.imag)] for a in (u.real, u.imag)]
        return parts[0][0] - parts[1][1] + 1j * (parts[0][1] + parts[1][0])

    a, b = q.real, q.imag
    aaa, bbb, plus, minus = (along(u, 2) for u in (a, b, a + b, a - b))
    abb, aab = (plus + minus - 2 * aaa) / 6, (plus - minus - 2 * bbb) / 6
    return second, aaa + abb + 1j * (aab + bbb)
