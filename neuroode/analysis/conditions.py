"""When no eigenvalue of a small matrix lies outside the unit disc (a step) or the left half-plane (a flow).

Closed sets, written as expressions that are at least 0: for a real z^2 - tr z + det the disc is 1 - det, 1 - tr + det,
1 + tr + det (Schur, Cohn; Jury 1964), the half-plane -tr and det (Hurwitz). A triangular matrix is decided entry by
entry of its diagonal, a complex one of a single state by 1 - |a|^2.
"""

from __future__ import annotations

import sympy as sp

from neuroode.analysis import algebra
from neuroode.analysis.inequality import MAX_OPERATIONS, Roots, normal


def in_the_disc(M: sp.Matrix) -> list[sp.Expr] | None:
    """Normalised conditions (each >= 0) of all |eigenvalues of M| <= 1; None beyond the size budget."""
    return _decide(M, _disc_of_one, lambda t, d: [1 - d, 1 - t + d, 1 + t + d])


def in_the_half_plane(A: sp.Matrix) -> list[sp.Expr] | None:
    """Normalised conditions (each >= 0) of all real parts of eigenvalues of A <= 0; None beyond the size budget."""
    return _decide(A, lambda a: [-_parts(a)[0]], lambda t, d: [-t, d])


def on_the_real_axis(A: sp.Matrix, interval: tuple[sp.Expr, sp.Expr], dt: sp.Symbol) -> list[sp.Expr] | None:
    """Normalised conditions (each >= 0) of lambda dt in an interval, for a triangular matrix with a real diagonal."""
    low, high = interval
    return _decide(A, lambda a: [a * dt - low, high - a * dt], lambda t, d: [])


def _disc_of_one(a: sp.Expr) -> list[sp.Expr]:
    above, below = sp.fraction(algebra.together(a))
    (x, y), (u, v) = _parts(above), _parts(below)
    if y == 0 and v == 0:
        return [1 - a, 1 + a]
    return [u**2 + v**2 - x**2 - y**2]


def _decide(M: sp.Matrix, one: object, two: object) -> list[sp.Expr] | None:
    roots = Roots()
    hidden = M.applyfunc(roots.hide)
    if sum(map(sp.count_ops, hidden)) > MAX_OPERATIONS:
        return None
    if hidden.is_lower or hidden.is_upper:
        found = [c for a in hidden.diagonal() for c in one(a)]  # type: ignore[operator]
    elif hidden.rows == 2 and not any(_parts(a)[1] != 0 for a in hidden):
        found = two(hidden.trace(), hidden.det())  # type: ignore[operator]
    else:
        return None
    found = [roots.reduce(algebra.together(c)) for c in found]
    if sum(map(sp.count_ops, found)) > MAX_OPERATIONS:
        return None
    return _kept([normal(c) for c in found], roots)


def _kept(conditions: list[sp.Expr], roots: Roots) -> list[sp.Expr]:
    if sp.false in conditions:
        return [sp.S.NegativeOne]
    return list(dict.fromkeys(roots.restore(c) for c in conditions if c is not sp.true and not roots.always(c)))


def _parts(a: sp.Expr) -> tuple[sp.Expr, sp.Expr]:
    real, imaginary = sp.expand(a).as_real_imag()
    return real, imaginary
