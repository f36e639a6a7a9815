"""Where fixed points meet or lose stability as the held input moves: saddle-node (fold) and Hopf.

At a fold the determinant of the Jacobian is 0, at a Hopf point a pair of eigenvalues stands at +-i w (in the plane:
trace 0, determinant above 0). Where the input is a function of one coordinate along the curve of fixed points, both are
zeros of functions of that coordinate, in symbols where these are polynomials of degree 2 or hold one exponential.
Source: Strogatz, Nonlinear Dynamics and Chaos, chapters 3 and 8; Izhikevich, Dynamical Systems in Neuroscience, 6.1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import sympy as sp

from neuroode.analysis import polynomials as poly
from neuroode.analysis.branch import Along, Branch, Continued, continued, turning
from neuroode.analysis.curve import Reduced, solved
from neuroode.analysis.fixed_points import MAX_SHOWN
from neuroode.analysis.held import HeldFlow
from neuroode.analysis.inequality import plain, tidy
from neuroode.analysis.lyapunov import lyapunov

SHOWN = 1500  # points of a branch that is drawn


@dataclass(frozen=True, slots=True)
class Bifurcation:
    """`kind`: saddle-node or Hopf; the held input there, the fixed point, angular frequency of a Hopf point.

    `formula`: of the input, where it was derived (`proved`); otherwise found along a curve (`sampled`).
    `lyapunov`: the first Lyapunov coefficient of a Hopf point, by differences; below 0 supercritical, above 0
    subcritical, None where it did not settle.
    """

    kind: str
    input: float
    at: dict[str, float]
    frequency: float | None
    evidence: str
    formula: str = ""
    lyapunov: float | None = None

    def to_json(self) -> dict[str, object]:
        return {
            "kind": self.kind, "input": self.input, "at": self.at, "frequency": self.frequency,
            "evidence": self.evidence, "formula": self.formula or None, "lyapunov": self.lyapunov,
        }  # fmt: skip

    def __str__(self) -> str:
        where = ", ".join(f"{n} = {x:.6g}" for n, x in self.at.items())
        turns = f", angular frequency {self.frequency:.5g}" if self.frequency is not None else ""
        said = f": {self.formula}" if self.formula else ""
        return f"{self.kind}{self._type} at {self.input:.8g}, {where}{turns} ({self.evidence}){said}"

    @property
    def _type(self) -> str:
        if self.lyapunov is None:
            return ""
        return " (subcritical)" if self.lyapunov > 0 else " (supercritical)"


@dataclass(frozen=True, slots=True)
class Diagram:
    """Fixed points over the held input `name`: bifurcations by input, and branches to draw."""

    name: str
    bifurcations: tuple[Bifurcation, ...]
    branches: tuple[Branch, ...]
    method: str


def diagram(flow: HeldFlow, curve: Reduced | None) -> Diagram | None:
    """None where the flow reads no current, or where nothing was found."""
    if flow.input is None or not flow.numeric.has(flow.I):
        return None
    if curve is not None and curve.input is not None:
        along = Along(flow, curve)
        low, high = curve.grid[[0, -1]]
        found = sorted(_along(flow, curve, along), key=lambda b: b.input)
        return Diagram(flow.input, tuple(found), (along.branch(curve.grid),),
                       f"zeros along {curve.name} from {low:.4g} to {high:.4g}")  # fmt: skip
    made = continued(flow)
    found = sorted(_continued(flow, made), key=lambda b: b.input)
    less = f", {made.left_out} of them left out" if made.left_out else ""
    return Diagram(flow.input, _distinct(found), made.branches, f"continuation from the fixed points{less}")


def _along(flow: HeldFlow, curve: Reduced, along: Along) -> Iterator[Bifurcation]:
    folds, hopfs = formulas(flow, curve)
    for b in filter(_is_finite, along.folds()):
        yield _bifurcation(flow, "saddle-node", b, folds)
    for b in filter(_is_finite, along.hopfs()):
        yield _bifurcation(flow, "Hopf", b, hopfs)


def _continued(flow: HeldFlow, made: Continued) -> Iterator[Bifurcation]:
    for b in filter(_is_finite, made.folds):
        yield _bifurcation(flow, "saddle-node", b, {})
    for b in filter(_is_finite, made.hopfs):
        yield _bifurcation(flow, "Hopf", b, {})


def _is_finite(b: Branch) -> bool:
    return bool(np.isfinite(b.I).all() and np.isfinite(b.x).all() and np.isfinite(b.eigenvalues).all())


def _distinct(rows: list[Bifurcation]) -> tuple[Bifurcation, ...]:
    kept: list[Bifurcation] = []
    for b in rows:
        if not any(k.kind == b.kind and np.isclose(k.input, b.input, rtol=1e-6, atol=1e-9) for k in kept):
            kept.append(b)
    return tuple(kept)


def _bifurcation(flow: HeldFlow, kind: str, b: Branch, known: dict[str, float]) -> Bifurcation:
    I = float(b.I[0]) + 0.0  # no -0
    text = next((t for t, x in known.items() if np.isclose(x, I, rtol=1e-9, atol=1e-9)), None)
    at = {n: float(v) for n, v in zip(flow.names, b.x[0], strict=True)}
    w = turning(b.eigenvalues[0]) if kind == "Hopf" else None
    said = f"{flow.input} = {text}" if text and len(text) <= MAX_SHOWN else ""
    l1 = lyapunov(flow, b.x[0], float(b.I[0]), w) if w else None
    return Bifurcation(kind, I, at, w, "sampled" if text is None else "proved", said, l1)


def formulas(flow: HeldFlow, curve: Reduced) -> tuple[dict[str, float], dict[str, float]]:
    """Of the input at folds and Hopf points, in parameters -> their numbers."""
    equation, others = curve.symbolic
    I = solved(equation, flow.I)
    if I is None or not poly.is_small(I):
        return {}, {}
    by_v = sp.diff(I, curve.v)
    folds = _at(I, curve, poly.solutions(by_v, curve.v))
    if len(flow.x) != 2:
        return folds, {}
    trace = sum(sp.diff(e, x) for e, x in zip(flow.symbolic, flow.x, strict=True)).xreplace(others)
    trace = trace.xreplace({flow.I: I})
    return folds, _at(I, curve, poly.solutions(trace, curve.v))


def _at(I: sp.Expr, curve: Reduced, points: list[sp.Expr]) -> dict[str, float]:
    found: dict[str, float] = {}
    for v in points:
        e = I.xreplace({curve.v: v})
        number = poly.number(e, curve.flow.values)
        if number is not None:
            text = plain(tidy(sp.expand(e)) if poly.is_small(e) else e)
            found[text.replace("[t]", "")] = number
    return found
