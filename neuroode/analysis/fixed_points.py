"""Fixed points of a held flow: where they lie, their eigenvalues, their type.

A flow that reduces to one equation in one coordinate is scanned along it (`curve.py`), between the extrema of that
equation, so that two roots between neighbours of the grid are not missed; a polynomial with rational coefficients has
its real roots isolated exactly, which proves their number. Everything else: Newton from points of a box.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import sympy as sp

from neuroode._errors import Unsupported
from neuroode.analysis import polynomials as poly
from neuroode.analysis.curve import Reduced, zeros
from neuroode.analysis.held import HeldFlow, function
from neuroode.analysis.inequality import plain

Array = np.ndarray
STARTS = 1024  # of Newton's method in a box
ITERATIONS = 80
MOST = 64
MAX_SHOWN = 200  # characters of a formula
SAME = 1e-6  # of the box: closer ones are one
NEUTRAL = 1e-9  # of the largest eigenvalue


@dataclass(frozen=True, slots=True)
class FixedPoint:
    """`at`: coordinate -> value; eigenvalues of the Jacobian there; `formula`: of the scanned coordinate, if short."""

    at: dict[str, float]
    input: float
    eigenvalues: tuple[complex, ...]
    kind: str
    evidence: str
    formula: str = ""

    @property
    def is_stable(self) -> bool:
        return self.kind.startswith("stable")

    def __str__(self) -> str:
        where = ", ".join(f"{n} = {x:.8g}" for n, x in self.at.items())
        values = ", ".join(map(_shown, self.eigenvalues))
        values = f", eigenvalue{'s' if len(self.eigenvalues) > 1 else ''} {values}" if values else ""
        return f"{where}: {self.kind}{values}" + (f": {self.formula}" if self.formula else "")

    def to_json(self) -> dict[str, object]:
        values = [{"real": e.real, "imag": e.imag} for e in self.eigenvalues]
        return {
            "at": self.at, "input": self.input, "eigenvalues": values, "kind": self.kind, "evidence": self.evidence,
            "formula": self.formula or None,
        }  # fmt: skip


def _shown(e: complex) -> str:
    return f"{e.real:.5g}" + (f" {'+' if e.imag > 0 else '-'} {abs(e.imag):.5g}i" if e.imag else "")


def kind_of(eigenvalues: Array, least: float = 0.0) -> str:
    """The type by eigenvalues: stable or unstable node or focus, saddle, centre, degenerate.

    `least`: a rate of the flow elsewhere, beside which a small eigenvalue counts as 0.
    """
    scale = max(float(np.abs(eigenvalues).max(initial=0)), least)
    real = np.where(np.abs(eigenvalues.real) <= NEUTRAL * scale, 0.0, eigenvalues.real)
    turns = bool(np.any(np.abs(eigenvalues.imag) > NEUTRAL * scale))
    if np.any(real == 0):
        pair = turns and len(eigenvalues) == 2
        return "centre (linearly)" if pair else "degenerate (an eigenvalue with real part 0)"
    if len(eigenvalues) == 1:
        return "stable" if real[0] < 0 else "unstable"
    up = int((real > 0).sum())
    if 0 < up < len(real):
        many = f", {up} of {len(real)} directions unstable" if len(real) > 2 else ""
        return ("saddle-focus" if turns else "saddle") + many
    return ("unstable " if up else "stable ") + ("focus" if turns else "node")


def fixed_points(flow: HeldFlow, curve: Reduced | None, I: float) -> tuple[tuple[FixedPoint, ...], str]:
    """All that were found at a held input, by the first coordinate; whether their number is proved or sampled.

    Raises:
        Unsupported: they form a continuum, or are more than 64.
    """
    if curve is None:
        return tuple(_point(flow, x, I, "sampled") for x in by_newton(flow, I)), "sampled"
    exact = poly.real_roots(curve.equation.xreplace({flow.I: sp.Rational(repr(float(I)))}), curve.v)
    constant = all(d.is_number for d in curve.divisors)
    found = exact if exact is not None else scanned(curve, I)
    if len(found) > MOST:
        raise Unsupported(f"more than {MOST} fixed points along {curve.name}")
    evidence = "proved" if exact is not None and constant else "sampled"
    formulas = _formulas(curve, I)
    made = []
    for v in found:
        x = curve.points(v, I)
        if np.all(np.isfinite(x)):
            said = next((t for t, value in formulas.items() if abs(value - v) <= 1e-9 * (1 + abs(v))), "")
            made.append(_point(flow, x, I, evidence, f"{curve.name} = {said}" if said else ""))
    return tuple(sorted(made, key=lambda p: tuple(p.at.values()))), evidence


def _point(flow: HeldFlow, x: Array, I: float, evidence: str, formula: str = "") -> FixedPoint:
    values = eigenvalues(flow.J(x, I))
    at = {n: float(v) for n, v in zip(flow.names, x, strict=True)}
    if not np.isfinite(values).all():
        return FixedPoint(at, I, (), "not linear there (no finite slope)", evidence, formula)
    return FixedPoint(at, I, tuple(complex(e) for e in values), kind_of(values, rate(flow, I)), evidence, formula)


def rate(flow: HeldFlow, I: float) -> float:
    """How fast the flow is in its boxes: the median of the Jacobian's norm."""
    low, high = np.array(flow.boxes).T
    J = flow.J(low + (high - low) * _spread_points(len(flow.x))[:64], I)
    norms = np.abs(J).sum(axis=-1).max(axis=-1)
    return float(np.median(norms[np.isfinite(norms)])) if np.isfinite(norms).any() else 0.0


def eigenvalues(J: Array) -> Array:
    """Largest real part first; nan where an entry is not finite."""
    fine = np.isfinite(J).all(axis=(-2, -1))
    found = np.linalg.eigvals(np.where(fine[..., None, None], J, 0.0)).astype(complex)
    found = np.where(fine[..., None], found, np.nan)
    return np.take_along_axis(found, np.argsort(-found.real - 1e-9 * found.imag, axis=-1), axis=-1)


def _formulas(curve: Reduced, I: float) -> dict[str, float]:
    """Text -> number of each solution in symbols."""
    rows = poly.coefficients(curve.symbolic[0], curve.v)
    if rows is None or len(rows) > 3:
        return {}
    values = dict(curve.flow.values) | {curve.flow.I: sp.Rational(repr(float(I)))}
    found = {plain(e).replace("[t]", ""): poly.number(e, values) for e in poly.solutions(curve.symbolic[0], curve.v)}
    return {t: x for t, x in found.items() if x is not None and len(t) <= MAX_SHOWN}


def scanned(curve: Reduced, I: float) -> list[float]:
    """Sign changes along the scanned coordinate, and roots that touch zero at an extremum."""
    e = function((curve.v, curve.flow.I), [curve.equation])
    slope = function((curve.v, curve.flow.I), [poly.slope(curve.equation, curve.v)])
    extrema = zeros(lambda v: slope(v, I)[..., 0], curve.grid)
    grid = np.unique(np.concatenate([curve.grid, extrema]))
    return _distinct(zeros(lambda v: e(v, I)[..., 0], grid))


def _distinct(found: list[float]) -> list[float]:
    kept: list[float] = []
    for x in sorted(found):
        if not kept or x - kept[-1] > 1e-12 * (1 + abs(x)):
            kept.append(x)
    return kept


def by_newton(flow: HeldFlow, I: float) -> list[Array]:
    """Newton's method from points of the box, all at once; converged ones with small residuals, each once."""
    low, high = np.array(flow.boxes).T
    x = low + (high - low) * _spread_points(len(flow.x))
    for _ in range(ITERATIONS):
        step = _newton_step(flow, x, I)
        longest = np.abs(step / (high - low)).max(axis=-1, keepdims=True)
        x = x - step / np.maximum(1.0, 2 * longest)
    last, speed = _newton_step(flow, x, I), np.abs(flow.f(x, I))
    fine = np.abs(last / (high - low)).max(axis=-1) < 1e-9
    fine &= (speed <= 1e-9 * _speed(flow, low, high, I)).all(axis=-1)
    found: list[Array] = []
    for each in x[fine]:
        if all(np.abs((each - known) / (high - low)).max() > SAME for known in found):
            found.append(each)
        if len(found) > MOST:
            raise Unsupported(f"more than {MOST} resting points: they form a continuum, none is a point of its own")
    return found


def _spread_points(n: int) -> Array:
    """Additive recurrence with powers of the root of x^(n+1) = x + 1: even in any dimension, the same every time."""
    root = 2.0
    for _ in range(40):
        root = (1 + root) ** (1 / (n + 1))
    return (0.5 + np.arange(1, STARTS + 1)[:, None] * root ** -np.arange(1, n + 1)) % 1.0


def _newton_step(flow: HeldFlow, x: Array, I: float) -> Array:
    J, f = flow.J(x, I), flow.f(x, I)
    fine = np.isfinite(J).all(axis=(-2, -1)) & np.isfinite(f).all(axis=-1)
    J = np.where(fine[:, None, None], J, np.eye(len(flow.x)))
    f = np.where(fine[:, None], f, 0.0)
    return np.where(fine[:, None], np.einsum("kij,kj->ki", np.linalg.pinv(J, rcond=1e-13), f), np.nan)


def _speed(flow: HeldFlow, low: Array, high: Array, I: float) -> Array:
    """How fast each coordinate moves in the box."""
    values = np.abs(flow.f(low + (high - low) * _spread_points(len(flow.x)), I))
    return np.array([np.median(v[np.isfinite(v)]) if np.isfinite(v).any() else 0.0 for v in values.T]) + 1e-300
