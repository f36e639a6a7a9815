"""The exact step of dv/dt = f(v), f standing still within the step: quadrature T(v) = int dv/f and its inverse.

Two ways to a closed form, both in increments of v, so that small steps lose no digits and branches of roots are right.
Flows that a change of variable makes linear: f = p + q e^(k(v - r)) by e^(-k v), f = p (v - r) + q (v - r)^n by
(v - r)^(1 - n) (Bernoulli). Else, for one function of what is linear in v, sympy's rules of integration, and the
antiderivative undone one function at a time. What comes out is put into the flow at random points before it is used.

Where a logarithm or root would leave its domain, v has reached infinity within the step: its argument, 1 at the start
and 0 there, is kept above a millionth, v stops at its threshold at least, and the event fires.

Sources: Bernoulli 1695 (Hairer, Norsett and Wanner I, section I.3) for the change of variable.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import sympy as sp
from sympy.integrals.manualintegrate import manualintegrate

from neuroode.analysis.linearity import STEPS, moving, running
from neuroode.analysis.types import Block, Report
from neuroode.discretize import threshold
from neuroode.discretize.types import Update, Verdict
from neuroode.expr import functions as fn
from neuroode.system.show import show
from neuroode.system.types import OdeSystem

MAX_OPERATIONS = 12  # of a flow whose constants have become symbols: what sympy's rules see
MAX_CONSTANTS = 4
MAX_DEGREE = 9
LARGEST = 80  # exponent of e: infinity is reached long before, and single precision is not
NEAR = sp.Rational(1, 10**6)  # what is left of an argument that is 1 at the start and 0 at infinity
METHOD = "separable"
LENGTH = sp.Symbol("(length)", positive=True)
V = sp.Symbol("(v)", real=True)


@dataclass(frozen=True, slots=True)
class Solution:
    """v(length) = V + increment; `lows`: what stands for each argument that reaches 0 at infinity, and that argument.

    Later arguments read the symbols of earlier ones.
    """

    increment: sp.Expr
    lows: tuple[tuple[sp.Symbol, sp.Expr], ...]
    way: str


def applies(report: Report, block: Block) -> Verdict:
    found = _of_block(report.system, block)
    if found is None:
        return Verdict(
            False, "no separable flow with a closed form: one real state, alone in its flow, within the size budget"
        )
    return Verdict(True, f"separable: {found[0].way}")


def derive(report: Report, block: Block, dt: sp.Symbol) -> Update:
    """The update of a block to which `applies` said yes."""
    found, name = _of_block(report.system, block), block.states[0]
    assert found is not None
    solution, constants = found
    system, x = report.system, running(report.system)[name]
    here = constants | {V: x, LENGTH: dt}
    rows = {s: e.xreplace(here) for s, e in solution.lows}
    ends = {s: sp.Symbol(f"low{k or ''}({name})", real=True) for k, (s, e) in enumerate(rows.items()) if _may_end(e)}
    safe = {s: fn.maximum(low, NEAR) for s, low in ends.items()}
    safe |= {s: e.xreplace(safe) for s, e in rows.items() if s not in ends}
    stages = [(low, rows[s].xreplace(safe)) for s, low in ends.items()]
    whole = (x + solution.increment).xreplace(here).xreplace(safe)
    values: dict[str, sp.Expr] = {name: whole}
    guards: dict[sp.Expr, sp.Expr] = {}
    if ends and threshold.stops(system, name):
        end, lost = (sp.Symbol(f"{n}({name})", real=True) for n in ("end", "lost"))
        stages += [(end, whole), (lost, 1 - sp.Mul(*[fn.gate(low - NEAR, 1) for low in ends.values()]))]
        values, guards = threshold.stopped(system, name, end, lost, fn.gate(end - x, 1), sp.Abs(end - x))
    shown = f"{name}[t] = {show((V + solution.increment).xreplace(dict(solution.lows)).xreplace(here))}"
    return Update(block.states, METHOD, values, True, None, applies(report, block).reason, tuple(stages), shown, guards)


def _may_end(low: sp.Expr) -> bool:
    """Whether an argument that is 1 at the start may come down to 0."""
    return not (low - 1).is_nonnegative


def _of_block(system: OdeSystem, block: Block) -> tuple[Solution, dict[sp.Symbol, sp.Expr]] | None:
    """The solution of a block's flow, and what its constants stand for."""
    if block.is_linear or len(block.states) > 1 or system.is_complex(block.states[0]):
        return None
    x, flow = running(system)[block.states[0]], system.flows[block.states[0]]
    if flow.has(*(moving(system) - {x})) or any(p.has(x) for k in (*STEPS, fn.pick) for p in flow.atoms(k)):
        return None
    constants: dict[sp.Expr, sp.Symbol] = {}
    f = abstract(flow.xreplace({x: V}), constants)
    if sp.count_ops(f) > MAX_OPERATIONS or len(constants) > MAX_CONSTANTS:
        return None
    found = solve(f)
    return (found, {s: e for e, s in constants.items()}) if found else None


def abstract(e: sp.Expr, constants: dict[sp.Expr, sp.Symbol]) -> sp.Expr:
    """The expression with each largest part that has no V as one symbol; exponents that are numbers stay."""
    if e == V:
        return e
    if not e.has(V):
        return constants.setdefault(e, sp.Symbol(f"(c{len(constants)})", positive=True))
    if e.is_Add or e.is_Mul:
        still = [a for a in e.args if not a.has(V)]
        moves = [abstract(a, constants) for a in e.args if a.has(V)]
        return e.func(*([abstract(e.func(*still), constants)] if still else []), *moves)
    if e.is_Pow and e.exp.is_Rational:
        return abstract(e.base, constants) ** e.exp
    return e.func(*[abstract(a, constants) for a in e.args])


@lru_cache(maxsize=200)
def solve(f: sp.Expr) -> Solution | None:
    """The closed form for an abstract flow, checked; None where there is none within reach."""
    for way in (_exponential, _bernoulli, _quadrature):
        found = way(f)
        if found is not None and _holds(f, found):
            return found
    return None


# changes of variable that make the flow linear

LOW = sp.Symbol("(low)", real=True)


def _exponential(f: sp.Expr) -> Solution | None:
    """p + q e^(k (v - r))"""
    p, rest = f.as_independent(V, as_Add=True)
    q, e = rest.as_independent(V, as_Add=False)
    k = sp.diff(e.args[0], V) if isinstance(e, sp.exp) else sp.S.Zero
    if k == 0 or k.has(V):
        return None
    power = e.args[0]
    g = q * sp.exp(fn.minimum(power, LARGEST)) * LENGTH * (fn.phi(1, k * p * LENGTH) if p != 0 else 1)
    way = "linear in exp(-v) after a change of variable" if p != 0 else "an exponential, by quadrature and its inverse"
    far = fn.gate(-k * q, 1) * fn.maximum(power - LARGEST, 0)  # of a flow that brakes itself, by how much e is larger
    if sp.fraction(k)[0].is_number:
        return Solution(p * LENGTH - (sp.log(LOW) + far) / k, ((LOW, 1 - k * g),), way)
    here = fn.gate(LOW - NEAR, 1)  # k may be 0: -log(1 - k g)/k = g/phi_1(log(1 - k g))
    moved = fn.pick(here, g, (1 - NEAR) / fn.pick(here, 1, k)) / fn.phi(1, sp.log(LOW))
    return Solution(p * LENGTH + moved - far / fn.pick(fn.gate(power - LARGEST, 1), k, 1), ((LOW, 1 - k * g),), way)


def _bernoulli(f: sp.Expr) -> Solution | None:
    """p u + q u^n with u linear in v"""
    terms = sp.Add.make_args(f)
    powers = [b for t in terms for b in t.atoms(sp.Pow) if b.has(V) and b.exp.is_Integer and 1 < b.exp <= MAX_DEGREE]
    if len(set(powers)) != 1:
        return None
    u, n = powers[0].as_base_exp()
    slope = sp.diff(u, V)
    rest = [t for t in terms if not t.has(powers[0])]
    q, p = sp.Add(*[t for t in terms if t.has(powers[0])]) / powers[0], sp.Add(*rest) / u
    if p.has(V) or q.has(V) or slope.has(V):
        return None
    p, q, m = p * slope, q * slope, n - 1
    low = 1 - m * q * u**m * LENGTH * (fn.phi(1, m * p * LENGTH) if p != 0 else 1)
    grown = sp.exp(p * LENGTH) * LOW ** sp.Rational(-1, m)
    return Solution(
        (grown - 1) * u / slope, ((LOW, low),), "linear in a power of v after a change of variable (Bernoulli)"
    )


# quadrature and its inverse


def _small(f: sp.Expr) -> bool:
    """What sympy's rules are asked about: a constant times one power, exponential or logarithm of what is linear in V.

    They answer at once there. Nested functions, sums and rational functions of a high degree can keep them busy for
    minutes, and have antiderivatives with V in several places, which nothing undoes.
    """
    g = f.as_independent(V, as_Add=False)[1]
    inner = g.args[0] if isinstance(g, sp.exp | sp.log) else g.base if g.is_Pow and g.exp.is_Rational else None
    return inner is not None and not sp.diff(inner, V).has(V)


def _quadrature(f: sp.Expr) -> Solution | None:
    if not _small(f):
        return None
    whole = manualintegrate(1 / f, V)
    if isinstance(whole, sp.Piecewise):
        whole = whole.args[0][0]
    if whole.has(sp.Integral):
        return None
    for form in (whole, sp.logcombine(whole, force=True)):
        lows: list[tuple[sp.Symbol, sp.Expr]] = []
        found = _undone(form, LENGTH, lows)
        if found is not None:
            return Solution(found, tuple(lows), "by quadrature and its inverse")
    return None


def _undone(F: sp.Expr, by: sp.Expr, lows: list[tuple[sp.Symbol, sp.Expr]]) -> sp.Expr | None:
    """By how much v grows when F(v) grows by `by`; None where v stands in several places or under other functions."""
    if F == V:
        return by
    if F.is_Add or F.is_Mul:
        still, moves = F.as_independent(V, as_Add=F.is_Add)
        if moves.func is F.func and len(moves.args) > 1:
            return None
        return _undone(moves, by if F.is_Add else by / still, lows)
    if isinstance(F, sp.log):
        return _undone(F.args[0], F.args[0] * by * fn.phi(1, by), lows)
    if isinstance(F, sp.exp):
        low = _low(1 + by * sp.exp(-F.args[0]), lows)
        return _undone(F.args[0], sp.log(low), lows)
    if F.is_Pow and F.exp.is_Rational:
        low = _low(1 + by * F.base**-F.exp, lows)
        return _undone(F.base, F.base * (low ** (1 / F.exp) - 1), lows)
    return None


def _low(e: sp.Expr, lows: list[tuple[sp.Symbol, sp.Expr]]) -> sp.Symbol:
    lows.append((sp.Symbol(f"(low {len(lows)})", real=True), e))
    return lows[-1][0]


# the check


def _holds(f: sp.Expr, found: Solution, points: int = 40) -> bool:
    """Whether the closed form follows f: the slope of v(s) in s is f(v(s)), and v(0) is V, at random points."""
    rng = np.random.default_rng(0)
    halved = any(
        p.has(V) for p in f.atoms(sp.Pow, sp.log) if not (p.is_Pow and p.exp.is_Integer)
    )  # its arguments are positive
    whole = V + found.increment
    for s, e in reversed(found.lows):
        whole = whole.xreplace({s: e})
    whole = whole.replace(fn.pick, lambda _, a, b: a).replace(fn.maximum, lambda *_: sp.S.Zero)  # within range
    whole = whole.replace(fn.phi, lambda _, z: (sp.exp(z) - 1) / z).replace(fn.minimum, lambda a, _: a)
    symbols = sorted(f.free_symbols | {V, LENGTH}, key=str)
    residual = sp.lambdify(symbols, [sp.diff(whole, LENGTH) - f.xreplace({V: whole}), f], "numpy")
    near = sp.lambdify(symbols, whole, "numpy")
    good = 0
    with np.errstate(all="ignore"):
        for _ in range(points):
            draw = {s: complex(rng.uniform(0.3, 1.5) * rng.choice([-1, 1])) for s in symbols}
            draw = {s: abs(z) + 0j for s, z in draw.items()} if halved else draw
            draw[LENGTH] = complex(rng.uniform(0.01, 0.2))
            left, rate = residual(*[draw[s] for s in symbols])
            start = near(*[1e-9 if s == LENGTH else draw[s] for s in symbols])
            if not (np.isfinite(left) and np.isfinite(start)):
                continue
            if abs(left) > 1e-7 * (1 + abs(rate)) or abs(start - draw[V]) > 1e-6 * (1 + abs(rate)):
                return False
            good += 1
    return good >= points // 2
