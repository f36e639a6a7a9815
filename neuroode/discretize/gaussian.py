"""The exact Gaussian transition of linear flows with additive noise: x(dt) = e^(A dt) x + (drive) + L xi, L L' = S.

S = integral over (0, dt) of e^(A s) G G' e^(A' s) ds. One state: S = g^2 dt phi_1(2 a dt), and the increments of its
line are its noise. Two states: with Z = A dt, m = tr(Z)/2, R = Z - m 1, d = m^2 - det(Z), M = 2 m, D = 4 d, Q = G G',

    S = dt (I_0 Q + I_1 (R Q + Q R') + I_2 R Q R'),   I_0 = (phi_1(M) + C)/2,  I_1 = Sigma,  I_2 = 2 (C - phi_1(M))/D,

phi_1(M + j) = C + Sigma j for j^2 = D: one form for all signs of d. I_2/2 is the divided difference of exp at 0, M,
M - sqrt(D), M + sqrt(D): near D = 0 an entry of the exponential of a 4 x 4 matrix, so nothing is 0/0. More states: S as
the linear flow S' = A S + S A' + Q of its own entries, whose step is an entry of an exponential. It needs no inverse,
and nothing in it grows where rates are negative, as it does in Van Loan's block matrix.

Sources: Van Loan, IEEE Trans. Autom. Control 23 (1978); Opitz, ZAMM 44 (1964) for divided differences as entries of
functions of matrices; Gillespie, Phys. Rev. E 54 (1996) for one state.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations_with_replacement

import sympy as sp

from neuroode.analysis.types import Block, Report
from neuroode.discretize import exact
from neuroode.discretize.ito import is_additive, wave
from neuroode.discretize.types import Update, Verdict
from neuroode.expr.functions import expm, gate, maximum, pair, phi, pick
from neuroode.system.types import OdeSystem

MAX_BLOCK = 6  # states that the noise reaches
MAX_SWITCHED = 2  # the same, where the coefficients change from step to step
FLOOR = sp.Float(1e-14)  # of a pivot, relative to its variance: below it is rounding, and has no root with a slope

States = tuple[str, ...]


def applies(report: Report, block: Block) -> Verdict:
    """Whether a linear block with noise has an exact transition."""
    system, found = report.system, exact.applies(report, block)
    if not found.applies:
        return found
    noisy = [s for s in block.states if s in system.diffusion]
    if any(system.is_complex(s) for s in block.states):
        return Verdict(False, "its states are complex: their noise has two real covariances")
    moving = [s for s in noisy if not is_additive(system, (s,))]
    if moving:
        return Verdict(False, f"the noise of {', '.join(moving)} reads what moves within the step")
    n, most = len(reached(report, block)), MAX_SWITCHED if block.kind == "switched" else MAX_BLOCK
    if n > most:
        what = "whose coefficients change from step to step, " if block.kind == "switched" else ""
        return Verdict(False, f"the noise reaches {n} coupled states, {what}more than {most}")
    form = {1: "variance in closed form, phi_1", 2: "covariance in closed form, all signs of the discriminant"}
    return Verdict(True, f"{found.reason}; additive noise, {form.get(n, 'covariance by a matrix exponential')}")


def reached(report: Report, block: Block) -> States:
    """States that noise enters, and those that read them."""
    assert block.A is not None
    found = {i for i, s in enumerate(block.states) if s in report.system.diffusion}
    while more := {i for i in range(block.A.rows) if i not in found and any(block.A[i, j] != 0 for j in found)}:
        found |= more
    return tuple(s for i, s in enumerate(block.states) if i in found)


def derive(report: Report, block: Block, dt: sp.Symbol) -> Update:
    """The update of a block to which `applies` said yes. Exact in law for inputs as they are held."""
    mean, verdict = exact.derive(report, block, dt), applies(report, block)
    pushes, noise, shown = _pushes(report, block, dt)
    values = {s: e + pushes.get(s, sp.S.Zero) for s, e in mean.values.items()}
    shown = "\n    ".join(filter(None, (mean.shown, shown))) if mean.shown else ""
    return replace(mean, values=values, why=verdict.reason, noise=noise, shown=shown)


def _pushes(report: Report, block: Block, dt: sp.Symbol) -> tuple[dict[str, sp.Expr], dict[str, str], str]:
    """What noise adds to each state, the streams that it reads, and the formula of the covariance."""
    system, states = report.system, reached(report, block)
    at = [block.states.index(s) for s in states]
    Z = block.A.extract(at, at) * dt  # type: ignore[union-attr]
    waves = sorted({w for s in states for w in system.diffusion.get(s, {})})
    G = sp.Matrix(len(states), len(waves), lambda i, j: system.diffusion.get(states[i], {}).get(waves[j], sp.S.Zero))
    if len(states) == 1:
        push = sp.sqrt(phi(1, 2 * Z[0, 0])) * sp.Add(*[G[0, j] * wave(system, w) for j, w in enumerate(waves)])
        return {states[0]: push}, dict.fromkeys(waves, "wiener"), ""
    amplitude, unit = _amplitude(G)
    L = cholesky(covariance(Z, unit * unit.T) * dt)
    xi = sp.Matrix([_stream(system, s) for s in states])
    pushes = {s: amplitude * sp.Add(*[L[i, j] * xi[j] for j in range(i + 1)]) for i, s in enumerate(states)}
    names = ", ".join(states)
    shown = f"+ L xi in {names}, L L' = S = integral of exp(A s) G G' exp(A' s) over the step"
    return pushes, {f"xi.{s}": "normal" for s in states}, shown


def _stream(system: OdeSystem, state: str) -> sp.Symbol:
    name = f"xi.{state}[t]"
    return system.symbols.setdefault(name, sp.Symbol(name, real=True))


def _amplitude(G: sp.Matrix) -> tuple[sp.Expr, sp.Matrix]:
    """G as a factor and a matrix: a coefficient that is alone comes before the root, so that at 0 it has a slope."""
    found = {g for g in G if g != 0}
    (alone,) = found if len(found) == 1 else (sp.S.One,)
    return alone, G.applyfunc(lambda g: g / alone)


def covariance(Z: sp.Matrix, Q: sp.Matrix) -> sp.Matrix:
    """integral over (0, 1) of e^(Z s) Q e^(Z' s) ds."""
    return _of_pair(Z, Q) if Z.rows == 2 else _of_many(Z, Q)


def _of_pair(Z: sp.Matrix, Q: sp.Matrix) -> sp.Matrix:
    m = Z.trace() / 2
    R = Z - m * sp.eye(2)
    M, D = 2 * m, (Z[0, 0] - Z[1, 1]) ** 2 + 4 * Z[0, 1] * Z[1, 0]
    even, odd = pair(1, 0, M, D), pair(1, 1, M, D)
    first = R * Q
    return (phi(1, M) + even) / 2 * Q + odd * (first + first.T) + 2 * _second(M, D, even) * (first * R.T)


def _second(M: sp.Expr, D: sp.Expr, even: sp.Expr) -> sp.Expr:
    """(C - phi_1(M))/D, the divided difference of exp at 0, M, M - sqrt(D), M + sqrt(D)."""
    large = gate(sp.Abs(D) - 1, 1)
    near = pick(large, sp.S.Zero, D)
    entries = [0, 1, 0, 0, 0, M, 1, 0, 0, 0, M, 1, 0, 0, near, M]
    small = expm(4, 0, 3, *entries)
    return pick(large, (even - phi(1, M)) / pick(large, D, sp.S.One), small)


def _of_many(Z: sp.Matrix, Q: sp.Matrix) -> sp.Matrix:
    """By the flow S' = Z S + S Z' + Q of the entries on and below the diagonal, S(0) = 0."""
    n = Z.rows
    where = {pair_: k for k, pair_ in enumerate(combinations_with_replacement(range(n), 2))}
    size = len(where) + 1
    flow = sp.zeros(size)
    for (i, j), row in where.items():
        for k in range(n):
            flow[row, where[min(k, j), max(k, j)]] += Z[i, k]
            flow[row, where[min(i, k), max(i, k)]] += Z[j, k]
        flow[row, size - 1] = Q[i, j]
    entries = list(flow)
    return sp.Matrix(n, n, lambda i, j: expm(size, where[min(i, j), max(i, j)], size - 1, *entries))


def cholesky(S: sp.Matrix) -> sp.Matrix:
    """Lower triangular L with L L' = S; a pivot that is rounding alone counts as FLOOR of its variance.

    A state without variance (coefficients that are 0) has a row and a column of zeros, of slope 0.
    """
    n = S.rows
    L = sp.zeros(n, n)
    for j in range(n):
        left = S[j, j] - sp.Add(*[L[j, k] ** 2 for k in range(j)])
        pivot = maximum(left, FLOOR * S[j, j]) if j else left
        moves = gate(S[j, j], 1)
        root = sp.sqrt(pick(moves, pivot, sp.S.One))
        L[j, j] = pick(moves, root, sp.S.Zero)
        for i in range(j + 1, n):
            L[i, j] = pick(moves, (S[i, j] - sp.Add(*[L[i, k] * L[j, k] for k in range(j)])) / root, sp.S.Zero)
    return L
