"""What a derived step does to its states: the matrix of each set of coupled states, and the test equation."""

from __future__ import annotations

from functools import cache

import sympy as sp
from sympy.utilities.iterables import strongly_connected_components

from neuroode.analysis import algebra
from neuroode.analysis.boundary import Amplification, Boundary, boundaries
from neuroode.analysis.linearity import running
from neuroode.analysis.modes import MAX_BLOCKS
from neuroode.analysis.region import StabilityFunction
from neuroode.analysis.report import analyse
from neuroode.analysis.symbols import HELD
from neuroode.discretize.choose import discretize
from neuroode.discretize.types import Discretization, Update
from neuroode.spec.dsl import declare
from neuroode.system.build import build

Row = dict[str, sp.Expr]
FUNCTIONS_OF_A = ("exact", "euler", "heun", "rk4", "bilinear")  # one step multiplies by R(A dt)


def step_boundaries(d: Discretization) -> tuple[Boundary, ...]:
    """The divergence boundaries of the first blocks of a discretization, maps included."""
    return tuple(b for block in amplifications(d)[:MAX_BLOCKS] for b in boundaries(d.report.system, block))


def amplifications(d: Discretization) -> tuple[Amplification, ...]:
    """One matrix for each set of states that feed each other from step to step, while no event occurs."""
    rows, methods = _rows(d)
    edges = [(i, j) for i, row in rows.items() for j in row if j in rows and _coupled(d, i, j)]
    found = []
    for group in strongly_connected_components((list(rows), edges)):
        states = tuple(sorted(group, key=list(rows).index))
        M = sp.Matrix(len(states), len(states), lambda i, j, s=states: rows[s[i]].get(s[j], sp.S.Zero))
        of_A = _rate(d, states)
        found.append(Amplification(states, methods[states[0]], M, *(of_A or ())))
    return tuple(sorted(found, key=lambda a: list(rows).index(a.states[0])))


def _coupled(d: Discretization, i: str, j: str) -> bool:
    """Whether i reads j: a function of A dt couples no more than powers of A do, whatever its entries look like."""
    update = next((u for u in d.updates if {i, j} <= set(u.states)), None)
    if update is None or update.method not in FUNCTIONS_OF_A:
        return True
    block = d.report.block_of(i)
    if block.A is None or j not in block.states:
        return True
    return bool(block.A[block.states.index(i), block.states.index(j)] != 0)


def _rows(d: Discretization) -> tuple[dict[str, Row], dict[str, str]]:
    """d x_i[t] / d x_j[t-1] for every state whose step is affine in the states, and the method of each."""
    system = d.report.system
    past = {n: sp.Dummy(n, **({} if system.is_complex(n) else {"real": True})) for n in (*system.flows, *system.maps)}
    new: dict[str, sp.Expr] = {}
    rows, methods = {}, {}
    for u in d.updates:
        for s in u.states:
            if d.report.classes[s] in ("linear", "switched"):
                new[s], rows[s] = _flow_row(d, u, s, past)
                methods[s] = u.method
    for s in system.maps:
        row = _map_row(d, s, past, new)
        if row is not None:
            rows[s], methods[s] = row, "map"
    return rows, methods


def _flow_row(d: Discretization, u: Update, state: str, past: dict[str, sp.Dummy]) -> tuple[sp.Expr, Row]:
    x = running(d.report.system)
    value = whole(u, u.values[state])
    row = {j: a for j, s in x.items() if value.has(s) and (a := sp.diff(value, s)) != 0}
    rest = value.subs(dict.fromkeys(x.values(), 0))
    for s, name in _reads(d, rest, 1):
        row[name] = row.get(name, sp.S.Zero) + sp.diff(rest, s)
    return sp.Add(*[a * past[j] for j, a in row.items()]), row


def whole(u: Update, e: sp.Expr) -> sp.Expr:
    """An expression of an update with its stages written out."""
    for symbol, stage in reversed(u.stages):
        e = e.xreplace({symbol: stage}) if e.has(symbol) else e
    return e


def _reads(d: Discretization, e: sp.Expr, lag: int) -> list[tuple[sp.Symbol, str]]:
    """Symbols of states read so many steps back, with the states' names."""
    states = {s.name for s in d.report.system.states}
    found = [(s, HELD.match(s.name)) for s in sorted(e.free_symbols, key=str)]
    return [(s, m["name"]) for s, m in found if m and int(m["lag"] or 0) == lag and m["name"] in states]


def _map_row(d: Discretization, state: str, past: dict[str, sp.Dummy], new: dict[str, sp.Expr]) -> Row | None:
    """Slopes of a map in the states of the step before; None where it is not affine in them, or reads further back."""
    e = _map_value(d, state, past, new, frozenset())
    if e is None:
        return None
    slopes = {j: sp.diff(e, s) for j, s in past.items() if e.has(s)}
    if any(a.has(*past.values()) for a in slopes.values()):
        return None
    new[state] = e
    return {j: a for j, a in slopes.items() if a != 0}


def _map_value(
    d: Discretization, state: str, past: dict[str, sp.Dummy], new: dict[str, sp.Expr], above: frozenset[str]
) -> sp.Expr | None:
    """x[t] in the values of the step before; events are silent."""
    system = d.report.system
    e = system.maps[state].subs({s: 0 for s in system.symbols.values() if _event(d, s)})
    if any(int(m["lag"] or 0) > 1 for s in e.free_symbols if (m := HELD.match(s.name)) and m["name"] in past):
        return None
    e = e.subs({s: past[n] for s, n in _reads(d, e, 1)})
    for s, name in _reads(d, e, 0):
        known = new.get(name)
        if known is None and name in system.maps and name not in above:
            known = _map_value(d, name, past, new, above | {state})
        if known is None:
            return None
        e = e.subs(s, known)
    return e


def _event(d: Discretization, s: sp.Symbol) -> bool:
    match = HELD.match(s.name)
    return bool(match and match["name"] in {e.name for e in d.report.system.events})


def _rate(d: Discretization, states: tuple[str, ...]) -> tuple[sp.Matrix, StabilityFunction] | None:
    """A of states that one update moves by a function of A dt, and that function."""
    update = next((u for u in d.updates if set(states) <= set(u.states)), None)
    if update is None or (update.method not in FUNCTIONS_OF_A and len(states) > 1):
        return None
    block = d.report.block_of(states[0])
    if block.A is None or not set(states) <= set(block.states):
        return None
    at = [block.states.index(s) for s in states]
    return block.A.extract(at, at), stability_function(update.method)


def stability_functions(d: Discretization) -> dict[str, StabilityFunction]:
    """R of every method that moves linear states by a function of A dt."""
    return {a.method: a.R for a in amplifications(d) if a.R is not None}


@cache
def stability_function(method: str) -> StabilityFunction:
    """R(z): one step of dx/dt = lambda x multiplies x by R(lambda dt).

    Raises:
        Unsupported: no such method, or one that does not apply to the test equation.
    """
    name = method if not method.startswith("semi_implicit") else "semi_implicit(x)"
    k_is = {"k": {"value": 1, "type": "complex"}}
    spec = declare("test_equation", equations="dx/dt = k*x : complex", parameters=k_is, outputs="real(x)")
    d = discretize(analyse(build(spec)), name)
    z, x = sp.Symbol("z"), running(d.report.system)["x"]
    k, dt = d.report.system.symbols["k"], d.report.system.symbols["dt"]
    factor = sp.diff(whole(d.updates[0], d.updates[0].values["x"]), x)
    return StabilityFunction(algebra.simplify(factor.subs(k, z / dt)), z)
