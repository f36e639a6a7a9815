"""Fractional memory as a sum of exponentials: weights and rates, as expressions of order, leak and step.

A leak, D^a v = -lam*(v - u): Mittag-Leffler relaxation is a mean of ordinary ones,
    E_a(-lam t^a) = integral over phi in (0, 1) of exp(-r(phi) t),
    r(phi)^a = lam sin(pi a phi)/sin(pi a (1 - phi)),
so v = sum W z with dz/dt = -r*(z - u), and W sums to 1. With phi = sigmoid(a*rho - log(lam)) the trapezoidal rule in
rho (`soe_grid.py`) serves every order: for a = 1 every r is lam. What lies beyond the ends is added to the last
weights, by the Euler-Maclaurin formula; then weights are divided by their sum. The slowest mode so stands for all rates
below the grid; where the leak is weak they have nearly all the weight, and its rate is set so that the Laplace
transform of the sum, sum W r/(s + r) = lam/(s^a + lam), is right at the longest time, s = 1/(steps*dt).

Near a = 1 the slope in the order comes from phi and 1 - phi about 1 - a, and a finite grid cuts one end off before the
other. So one more mode, with the rate lam*T^(a-1) of the ordinary leak that is as far at the time T, takes the share
1 - (1 - a)/edge where a > 1 - edge, and the others stay at the order 1 - edge: linear interpolation, whose error is at
most edge^2/8 in value and edge/2 in slope, times |d2E/da2| < 1 with T = lam^(-1/a), or steps*dt if that is less (then
both are relative to 1 - E, and grow with log(T/t)^2).

No leak, D^a v = f: t^(a-1)/Gamma(a) = (sin(pi a)/pi) integral of r^-a exp(-r t) dr over r > 0, on the same grid. Rates
below it are one integrator, rates above it act at once; both tails are geometric series. For a = 1 the integrator has
all the weight.

Sources: Gorenflo and Mainardi (1997), spectral form of E_a; Kanter, Ann. Probab. 3 (1975), the substitution in phi.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from math import exp

import sympy as sp

from neuroode.discretize.soe_grid import Grid
from neuroode.expr.functions import maximum, minimum, phi, sigmoid
from neuroode.system.types import Fractional

Stage = tuple[sp.Symbol, sp.Expr]


@dataclass(frozen=True, slots=True)
class Mode:
    """One number of the memory: z' = -rate*(z - u), or z' = `rate`*f where it only integrates.

    `decay`: rate*dt. `weight`: of z in the state. `follows`: it starts where the state starts, and jumps with it.
    """

    weight: sp.Expr
    decay: sp.Expr
    follows: bool
    integrates: bool = False


@dataclass(frozen=True, slots=True)
class Kernel:
    """The modes of one state, and the values (by symbol) that they read. `leak`: lam, or 0."""

    modes: tuple[Mode, ...]
    stages: tuple[Stage, ...]
    leak: sp.Expr


@cache
def relaxation(name: str, order: sp.Expr, lam: sp.Expr, dt: sp.Symbol, points: Grid) -> Kernel:
    """Modes of D^order v = -lam*(v - u), lam > 0."""
    stages: list[Stage] = []
    edge = sp.Float(points.edge)
    shape = _stage(stages, f"shape({name})", minimum(order, 1 - edge))
    span = minimum(-sp.log(lam) / order, sp.log(dt) + sp.log(points.steps).evalf())
    span = _stage(stages, f"span({name})", span)  # log of the time at which the ends of the interpolation agree
    centre = _stage(stages, f"centre({name})", sp.log(dt) + (sp.log(lam) + (order - shape) * span) / shape)
    share = _stage(stages, f"share({name})", minimum(1, (1 - order) / edge))
    angle, turn = (_stage(stages, *row) for row in (
        (f"angle({name})", sp.pi * shape), (f"turn({name})", sp.pi * (1 - shape))))  # fmt: skip
    decays, raw, positions = [], [], []
    for k, (c, width) in enumerate(zip(points.points, points.widths, strict=True)):
        y = _stage(stages, f"position({name})__{k}", shape * (sp.Float(c) - centre))
        near = _stage(stages, f"near({name})__{k}", sigmoid(-sp.Abs(y)))  # the smaller of phi and 1 - phi
        excess = sp.sign(y) * _excess(angle, turn, y, near) / shape
        decays.append(_stage(stages, f"decay({name})__{k}", sp.exp(c + excess)))
        raw.append(shape * sp.Float(width) * near * (1 - near))
        positions.append(y)
    raw[0] += _tail(positions[0], shape * points.widths[0])
    raw[-1] += _tail(-positions[-1], shape * points.widths[-1])
    weights = _normalised(name, raw, stages)
    decays[0] = _stage(stages, f"slowest({name})", _slowest(weights, decays, shape * centre, shape, points.steps))
    decays.append(_stage(stages, f"decay({name})__{len(raw)}", dt * lam * sp.exp((order - 1) * span)))
    shares = [*(share * w for w in weights), 1 - share]
    modes = [Mode(_stage(stages, f"weight({name})__{k}", w), d, True)
             for k, (w, d) in enumerate(zip(shares, decays, strict=True))]  # fmt: skip
    return Kernel(tuple(modes), tuple(stages), lam)


def _slowest(weights: list[sp.Expr], decays: list[sp.Expr], level: sp.Expr, shape: sp.Expr, steps: int) -> sp.Expr:
    """rate*dt of the first mode, between 0 and its place on the grid; `level`: log(lam*dt^a)."""
    s = sp.Float(1 / steps)
    others = sp.Add(*[w * d / (s + d) for w, d in zip(weights[1:], decays[1:], strict=True)])
    missing = sigmoid(level + shape * sp.log(steps).evalf()) - others
    part = minimum(maximum(missing / (weights[0] + sp.Float(1e-30)), 0), decays[0] / (s + decays[0]))
    return s * part / (1 - part)


def _excess(angle: sp.Symbol, turn: sp.Symbol, y: sp.Symbol, near: sp.Symbol) -> sp.Expr:
    """log(sin(pi a (1 - near))/sin(pi a near)) - |y|, with the larger angle taken from pi."""
    return sp.log(sp.sin(turn + angle * near) / sp.sin(angle * near)) - sp.Abs(y)


def _tail(y: sp.Expr, width: sp.Expr) -> sp.Expr:
    """Sum of width*s'(y - k*width) over k = 1, 2, ..., s the sigmoid: Euler-Maclaurin at y - width/2."""
    p = sigmoid(y - width / 2)
    f = p * (1 - p)
    third = 1 + p * (-14 + p * (36 - 24 * p))
    fifth = 1 + p * (-62 + p * (540 + p * (-1560 + p * (1800 - 720 * p))))
    square = width**2
    inner = (1 - 2 * p) / 24 - square * (sp.Rational(7, 5760) * third - square * sp.Rational(31, 967680) * fifth)
    return p - square * f * inner


def _normalised(name: str, raw: list[sp.Expr], stages: list[Stage]) -> list[sp.Expr]:
    """Raw weights over their sum."""
    masses = [_stage(stages, f"mass({name})__{k}", m) for k, m in enumerate(raw)]
    total = sp.Symbol(f"total({name})", positive=True)
    stages.append((total, sp.Add(*masses)))
    return [_stage(stages, f"mean({name})__{k}", m / total) for k, m in enumerate(masses)]


@cache
def integral(name: str, order: sp.Expr, dt: sp.Symbol, points: Grid) -> Kernel:
    """Modes of D^order v = f: an integrator, then leaks that follow f."""
    c, widths = points.points, points.widths
    scale = sp.Symbol(f"scale({name})", real=True)  # sin(pi a)/pi*dt^a
    stages: list[Stage] = [(scale, sp.sin(sp.pi * (1 - order)) / sp.pi * dt**order)]
    raw = [scale * sp.Float(w) * sp.exp(-order * sp.Float(x)) for x, w in zip(c, widths, strict=True)]
    fast, slow = order * sp.Float(widths[-1]), (1 - order) * sp.Float(widths[0])
    raw[-1] += scale * sp.Float(widths[-1]) * sp.exp(-order * sp.Float(c[-1]) - fast) / (fast * phi(1, -fast))
    first = dt ** (order - 1) * sp.exp((1 - order) * sp.Float(c[0]) - slow) * _sinc(1 - order) / phi(1, -slow)
    modes = [Mode(sp.S.One, _stage(stages, f"gain({name})", first), True, True)]
    for k, (x, r) in enumerate(zip(c, raw, strict=True)):
        modes.append(Mode(_stage(stages, f"weight({name})__{k}", r), sp.Float(exp(x)), False))
    return Kernel(tuple(modes), tuple(stages), sp.S.Zero)


def _sinc(x: sp.Expr) -> sp.Expr:
    """sin(pi x)/(pi x), 1 at 0: the real part of phi_1(i pi x)."""
    if x.is_number:  # sympy asks for its value, and phi has none in the complex plane
        return sp.sin(sp.pi * x) / (sp.pi * x) if x != 0 else sp.S.One
    return sp.re(phi(1, sp.I * sp.pi * x))


def _stage(stages: list[Stage], name: str, value: sp.Expr) -> sp.Symbol:
    symbol = sp.Symbol(name, real=True)
    stages.append((symbol, value))
    return symbol


def of(name: str, left: Fractional, lam: sp.Expr, dt: sp.Symbol, points: Grid) -> Kernel:
    """The kernel of a state with one order: its leak, or the bare integral."""
    ((_, given),) = left.terms
    order = sp.Symbol(f"order({name})", real=True) if given.is_number else given  # sympy must not evaluate phi
    found = relaxation(name, order, lam, dt, points) if lam != 0 else integral(name, order, dt, points)
    return replace(found, stages=((order, given), *found.stages)) if given.is_number else found
