"""The fixed points of a held flow as a curve over one coordinate: x_j = X_j(v), I = I(v).

The other coordinates follow one after the other from equations that are linear in them, with a coefficient that reads
the kept coordinate alone (so that where it vanishes is seen); the last equation is solved for the input where it is
affine in it. So gates are x_inf(v) and adaptation is a (v - E), and nothing has to be continued.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import sympy as sp
from scipy.optimize import brentq

from neuroode._errors import Unsupported
from neuroode.analysis import polynomials as poly
from neuroode.analysis.held import MAX_OPERATIONS, HeldFlow, function

Array = np.ndarray
MAX_STATES = 8  # of a flow that is reduced
DENSE, TAIL = 4001, 800  # points in the box and on either side of it
MOST_ZEROS = 200
FAR = 1000.0  # spans beyond the box
ANGLES = (sp.sin, sp.cos, sp.tan)


@dataclass(frozen=True)
class Reduced:
    """One equation left, E(v, I) = 0, after the others: `others` coordinate -> X(v, I); `divisors` must not vanish.

    `symbolic` is the same in parameters: (E, others).
    """

    flow: HeldFlow
    v: sp.Symbol
    equation: sp.Expr
    others: dict[sp.Symbol, sp.Expr]
    divisors: tuple[sp.Expr, ...]
    symbolic: tuple[sp.Expr, dict[sp.Symbol, sp.Expr]]

    @cached_property
    def name(self) -> str:
        return self.flow.names[self.flow.x.index(self.v)]

    @cached_property
    def input(self) -> sp.Expr | None:
        """I(v), where the equation is affine in the input."""
        return solved(self.equation, self.flow.I)

    @cached_property
    def grid(self) -> Array:
        """Points of v: dense in its box, ever wider apart outside; of an angle the box alone, one turn."""
        low, high = self.flow.boxes[self.flow.x.index(self.v)]
        if any(part.has(self.v) for part in self.equation.atoms(*ANGLES)):
            return np.linspace((low + high) / 2 - np.pi, (low + high) / 2 + np.pi, DENSE + TAIL)
        far = (high - low) * np.geomspace(1e-3, FAR, TAIL)
        return np.concatenate([low - far[::-1], np.linspace(low, high, DENSE), high + far])

    @cached_property
    def _points(self) -> Callable[..., Array]:
        rows = [v if v is self.v else self.others[v] for v in self.flow.x]
        return function((self.v, self.flow.I), rows)

    def points(self, v: Array | float, I: Array | float) -> Array:
        """(..., n) coordinates."""
        return self._points(v, I)

    @property
    def is_regular(self) -> bool:
        """No divisor changes sign or vanishes where it was looked at, so no fixed point is lost."""
        free = [d for d in self.divisors if not d.is_number]
        if not free:
            return True
        if any(d.has(self.flow.I) for d in free):  # it vanishes at some input
            return False
        found = function((self.v,), free)(self.grid)
        return all(_one_sign(column[np.isfinite(column)]) for column in found.T)


def _one_sign(values: Array) -> bool:
    """Zeros at the far ends are powers too small for a number."""
    signs = np.sign(values)
    return bool(len(values) and not (np.any(signs > 0) and np.any(signs < 0)))


def solved(e: sp.Expr, x: sp.Symbol) -> sp.Expr | None:
    parts = poly.affine(e, x)
    return None if parts is None else -parts[1] / parts[0]


def reduced(flow: HeldFlow) -> Reduced | None:
    """The flow reduced to one coordinate, best to one over which the input is a function; None where none does."""
    if len(flow.x) > MAX_STATES:
        return None
    found = [r for v in _by_nonlinearity(flow) if (r := _to(flow, v)) is not None and r.is_regular]
    return min(found, key=lambda r: r.input is None, default=None)


def _by_nonlinearity(flow: HeldFlow) -> list[sp.Symbol]:
    """Coordinates in whose flows nothing is linear first."""
    return sorted(flow.x, key=lambda x: any(poly.affine(e, x) for e in flow.numeric))


def _to(flow: HeldFlow, v: sp.Symbol) -> Reduced | None:
    numbers = _eliminated(list(flow.numeric), flow.x, v)
    symbols = _eliminated(list(flow.symbolic), flow.x, v)
    if numbers is None or symbols is None or not numbers[0].has(v):
        return None
    return Reduced(flow, v, *numbers, symbols[:2])


def _eliminated(
    rows: list[sp.Expr], x: tuple[sp.Symbol, ...], v: sp.Symbol
) -> tuple[sp.Expr, dict[sp.Symbol, sp.Expr], tuple[sp.Expr, ...]] | None:
    """(the equation left, others -> expressions in v, divisors)."""
    left = [s for s in x if s is not v]
    others: dict[sp.Symbol, sp.Expr] = {}
    divisors: list[sp.Expr] = []
    own = dict(zip(x, range(len(x)), strict=True))
    equations = dict(enumerate(rows))
    while left:
        step = _next(equations, left, own)
        if step is None:
            return None
        k, y, divisor, value = step
        del equations[k]
        left.remove(y)
        equations = {i: e.xreplace({y: value}) for i, e in equations.items()}
        others = {s: e.xreplace({y: value}) for s, e in others.items()} | {y: value}
        divisors.append(divisor)
        if sum(e.count_ops() for e in (*equations.values(), *others.values())) > MAX_OPERATIONS:
            return None
    (equation,) = equations.values()
    return equation, others, tuple(divisors)


def _next(
    equations: dict[int, sp.Expr], left: list[sp.Symbol], own: dict[sp.Symbol, int]
) -> tuple[int, sp.Symbol, sp.Expr, sp.Expr] | None:
    """An equation that is linear in an unknown, whose coefficient reads no unknown; first an unknown's own one."""
    for y, k in sorted(((y, k) for y in left for k in equations), key=lambda p: p[1] != own[p[0]]):
        parts = poly.affine(equations[k], y)
        if parts is not None and not parts[0].has(*left):
            return k, y, parts[0], -parts[1] / parts[0]
    return None


def zeros(f: Callable[[Array], Array], grid: Array) -> list[float]:
    """Where a function of one number changes sign between neighbours of a grid, jumps and poles left out.

    Raises:
        Unsupported: more than 200 sign changes: it oscillates faster than the grid can follow.
    """
    values = f(grid)
    flat = np.abs(values) + np.abs(np.concatenate([values[1:], [np.nan]])) == 0  # too small for a number: no zero
    flat[1:] |= flat[:-1]
    found = [float(x) for x in grid[(values == 0) & ~flat]]
    scale = float(np.median(np.abs(values[np.isfinite(values)]))) if np.isfinite(values).any() else 0.0
    fine = np.isfinite(values[:-1]) & np.isfinite(values[1:]) & (np.sign(values[:-1]) * np.sign(values[1:]) < 0)
    if fine.sum() + len(found) > MOST_ZEROS:
        raise Unsupported(f"more than {MOST_ZEROS} sign changes along one coordinate")
    for k in np.flatnonzero(fine):
        root = bracketed(lambda x: float(f(np.array([x]))[0]), grid[k], grid[k + 1])
        if root is not None and abs(f(np.array([root]))[0]) <= max(
            1e-6 * np.abs(values[k : k + 2]).max(), 1e-12 * scale
        ):
            found.append(root)
    return sorted(found)


def bracketed(f: Callable[[float], float], a: float, b: float) -> float | None:
    """The root between two numbers; None where f, taken one by one, does not change sign there or is no number."""
    if not f(a) * f(b) <= 0:
        return None
    try:
        with np.errstate(all="ignore"):
            return float(brentq(f, a, b, xtol=1e-14, rtol=1e-14, disp=False))
    except ValueError:  # not a number in between
        return None
