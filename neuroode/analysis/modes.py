"""Modes of the linear flows in symbols: eigenvalues, time constants, resonance, damping, resting points, transfer.

A mode e^(lambda t) decays with the time constant -1/Re lambda. One complex state with lambda = a + i w answers
e^(i W t) with 1/(i W - lambda): gain -1/a at W = w, half-power bandwidth -2 a, quality factor |w|/(-2 a). Two real
states have the natural frequency w0 = sqrt(det), the damping ratio -tr/(2 w0), the quality factor w0/(-tr), and
oscillate where det > (tr/2)^2 (any book on linear systems, for example Ogata, Modern Control Engineering, chapter 5).
"""

from __future__ import annotations

from collections.abc import Iterator

import sympy as sp

from neuroode.analysis import algebra
from neuroode.analysis.inequality import MAX_OPERATIONS, normal, plain, tidy
from neuroode.analysis.symbols import HELD, assumed, at_rest, held, in_definitions
from neuroode.analysis.types import Block, Fact, Report
from neuroode.system.types import OdeSystem

MAX_STATES = 3
MAX_BLOCKS = 12  # that are written out in symbols
S = sp.Symbol("s")  # of the Laplace transform; a neuron's own s is never printed beside it


def eigenvalues(A: sp.Matrix) -> tuple[sp.Expr, ...] | None:
    """Of a triangular matrix or a 2 x 2 one; None beyond."""
    if A.is_lower or A.is_upper:
        return tuple(A.diagonal())
    if A.rows != 2 or sum(map(sp.count_ops, A)) > MAX_OPERATIONS:
        return None
    half, root = algebra.factor(A.trace() / 2), sp.sqrt(tidy(sp.expand((A.trace() / 2) ** 2 - A.det())))
    return half + root, half - root


def readable(A: sp.Matrix, system: OdeSystem) -> tuple[sp.Matrix, str]:
    """The matrix without held reads where that can be had, and what it is then written in."""
    named = in_definitions(A, system)
    if named is not None and not held(named):
        used = sorted(s.name for s in named.free_symbols if s.name in system.definitions)
        return named, f" with {', '.join(f'{n} = {plain(system.definitions[n])}' for n in used)}"
    rest = at_rest(A, system)
    return (rest, ", at rest") if rest is not None else (A, "")


def mode_facts(report: Report) -> Iterator[Fact]:
    """What is known of every linear block, in symbols."""
    linear = [b for b in report.blocks if b.A is not None and b.drive is not None]
    for block in linear[:MAX_BLOCKS]:
        assert block.A is not None
        A, form = readable(block.A, report.system)
        yield from _mode_facts(report.system, block, A.subs(assumed(report.system)), form)
        yield from _rest_facts(report.system, block)
        yield from _transfer_facts(report.system, block)
    yield from further(len(linear))


def further(linear: int) -> list[Fact]:
    """What stands in the place of symbols beyond the budget."""
    count = linear - MAX_BLOCKS
    return [Fact("in numbers only", f"{count} further sets of states", "proved")] if count > 0 else []


def _mode_facts(system: OdeSystem, block: Block, A: sp.Matrix, form: str) -> Iterator[Fact]:
    found, subject = eigenvalues(A), ", ".join(block.states)
    if found is None:
        yield Fact("eigenvalues in numbers only", subject, "proved", f"{A.rows} coupled states have no short formula")
        return
    yield Fact(
        "eigenvalues" if len(found) > 1 else "eigenvalue", subject, "proved", ", ".join(map(plain, found)) + form
    )
    if A.is_lower or A.is_upper:
        for state, value in zip(block.states, found, strict=True):
            yield from _single(system, state, value)
    else:
        yield from _pair(subject, A)


def _single(system: OdeSystem, state: str, value: sp.Expr) -> Iterator[Fact]:
    a, w = sp.expand(value).as_real_imag()
    if a != 0:
        claim = "time constant" if a.is_negative else "time constant where it is positive"
        yield Fact(claim, state, "proved", plain(tidy(-1 / a)))
    if system.is_complex(state) and w != 0 and a != 0:
        text = f"bandwidth {plain(tidy(-2 * a))}, quality factor {plain(tidy(sp.Abs(w) / (-2 * a)))}"
        yield Fact("resonates at the angular frequency", state, "proved", f"{plain(w)}; {text}")


def _pair(subject: str, A: sp.Matrix) -> Iterator[Fact]:
    trace, det = algebra.factor(A.trace()), algebra.factor(A.det())
    apart = normal(algebra.factor(sp.expand(det - trace**2 / 4)))
    yield Fact(*_damping(apart, subject))
    if det.is_nonpositive:
        return
    natural = sp.sqrt(det)
    rows = {"natural angular frequency": natural, "damping ratio": -trace / (2 * natural)}
    if trace != 0:
        rows |= {
            "quality factor": natural / -trace,
            "bandwidth": -trace,
            "time constant while it oscillates": -2 / trace,
        }
    detail = ", ".join(f"{name} {plain(tidy(e))}" for name, e in rows.items())
    yield Fact("second order", subject, "proved", detail)


def _damping(apart: sp.Expr, subject: str) -> tuple[str, str, str, str]:
    if apart is sp.true:
        return "underdamped, oscillates", subject, "proved", "for all parameters in their domains"
    if apart is sp.false:
        return "overdamped, does not oscillate", subject, "proved", "for all parameters in their domains"
    e = plain(sp.expand(apart))
    return "damping regime", subject, "proved", f"underdamped where {e} > 0, critical where it is 0, overdamped below"


def _rest_facts(system: OdeSystem, block: Block) -> Iterator[Fact]:
    """Resting point under constant inputs without events, and the gain of each input there."""
    assert block.A is not None
    assert block.drive is not None
    subject = ", ".join(block.states)
    A, drive = _still(block.A, system), _still(sampled(system, block.drive), system)
    if len(block.states) > MAX_STATES or A is None or drive is None or drive.has(system.symbols.get("step", sp.nan)):
        return  # nothing rests under a drive that reads the time
    if algebra.simplify(A.det()) == 0:
        yield Fact(
            "no single resting point", subject, "proved", "the matrix is singular: a constant input is summed up"
        )
        return
    rest = (-A.inv() * drive).applyfunc(lambda e: algebra.factor(algebra.cancel(e)))
    rows = [f"{s} = {plain(e)}" for s, e in zip(block.states, rest, strict=True)]
    yield Fact("rests at", subject, "proved", ", ".join(rows).replace("[t]", "") + _while(system))


def _while(system: OdeSystem) -> str:
    text = " for constant inputs" if any(i.kind == "current" for i in system.spec.inputs) else ""
    return text + (", between events" if system.events else "")


def _still(M: sp.Matrix, system: OdeSystem) -> sp.Matrix | None:
    """Without events and past states, at constant inputs."""
    inputs = {i.name for i in system.spec.inputs}
    left = {}
    for s in held(M):
        match = HELD.match(s.name)
        if match and match["name"] in inputs:
            left[s] = system.symbols.get(f"{match['name']}[t]", s)
    M = M.subs(left)
    kept = set(left.values())
    if not set(held(M)) - kept:
        return M
    fixed = at_rest(M.subs({s: sp.Dummy(s.name.split("[")[0]) for s in kept}), system)
    return None if fixed is None else at_rest_but(M, system, kept)


def at_rest_but(M: sp.Matrix, system: OdeSystem, kept: set[sp.Symbol]) -> sp.Matrix:
    """At rest, except for some symbols."""
    names = {s: sp.Dummy(s.name.replace("[", "(")) for s in kept}
    back = {d: s for s, d in names.items()}
    fixed = at_rest(M.subs(names), system)
    return (M if fixed is None else fixed).subs(back)


def transfer(system: OdeSystem, block: Block) -> dict[tuple[str, str], sp.Expr] | None:
    """(input, state) -> H(s) of a block, with events silent; None beyond the size budget.

    An impulse input counts as a rate of area per time.
    """
    assert block.A is not None
    assert block.drive is not None
    A = _still(block.A, system)
    n = len(block.states)
    if n > MAX_STATES or (n == MAX_STATES and not (block.A.is_lower or block.A.is_upper)) or A is None or held(A):
        return None
    resolvent = (S * sp.eye(n) - A).inv()
    found = {}
    for i in system.spec.inputs:
        column = input_column(system, block, i.name)
        if column is not None and not column.is_zero_matrix:
            for state, h in zip(block.states, resolvent * column, strict=True):
                if h != 0:
                    found[i.name, state] = _rational(h)
    return found


def _rational(h: sp.Expr) -> sp.Expr:
    above, below = sp.fraction(algebra.cancel(algebra.together(h)))
    return algebra.factor(above) / sp.collect(sp.expand(below), S)


def sampled(system: OdeSystem, drive: sp.Matrix) -> sp.Matrix:
    """A drive with every ramp as the input that it is a ramp of."""
    return drive.xreplace({ramp: end for ramp, (_, end) in system.ramps.items()})


def input_column(system: OdeSystem, block: Block, name: str) -> sp.Matrix | None:
    """d drive / d input, impulses included; None where the drive is not affine in it, or reads it late."""
    assert block.drive is not None
    drive, symbol = sampled(system, block.drive), system.symbols.get(f"{name}[t]")
    if any(s.name.startswith(f"{name}[t-") for s in drive.free_symbols):
        return None
    column = sp.zeros(len(block.states), 1) if symbol is None else drive.diff(symbol)
    for k in system.impulses:
        if k.input == name and k.lag:
            return None
        if k.input == name and k.state in block.states:
            column[block.states.index(k.state)] += k.coefficient
    return None if symbol is not None and column.has(symbol) else column


def _transfer_facts(system: OdeSystem, block: Block) -> Iterator[Fact]:
    for (name, state), h in (transfer(system, block) or {}).items():
        gain = h.subs(S, 0)
        known = "" if gain.has(sp.zoo, sp.nan, sp.oo) else f"; DC gain {plain(tidy(gain))}"
        yield Fact(f"transfer function from {name}", state, "proved", f"H(s) = {plain(h)}{known}")
