"""From a checked declaration to the symbolic system."""

from __future__ import annotations

from itertools import pairwise
from typing import cast

import sympy as sp

from neuroode._errors import AnalysisError
from neuroode.expr import functions as fn
from neuroode.expr.nodes import Compare, Cond, Expr, Logic, Ref, walk
from neuroode.expr.parse import parse_expr
from neuroode.expr.surrogates import DEFAULTS, shape_text
from neuroode.expr.units import NONE, scale_and_dimension
from neuroode.spec.types import Assignment, Equation, EventDecl, NeuronSpec, Reset, Surrogate
from neuroode.system.axes import table_names, unrolled, weights_over_time
from neuroode.system.budget import check_axes, check_size
from neuroode.system.chances import with_chances
from neuroode.system.delays import in_steps
from neuroode.system.differentials import split
from neuroode.system.indices import time_axes
from neuroode.system.sequences import split_sums
from neuroode.system.starts import initial_values, with_start
from neuroode.system.support import refuse_unsupported
from neuroode.system.symbols import Reader, SymbolTable
from neuroode.system.types import Combined, Condition, Event, Fractional, Impulse, Jump, OdeSystem, State, Test

MARGIN = sp.Symbol("(margin)", real=True)  # no name of the language can be this one


def build(spec: NeuronSpec) -> OdeSystem:
    """The symbolic system of a neuron.

    Raises:
        Unsupported: a construct of the language that this version does not lower.
        AnalysisError: an impulse input that does not enter additively; more operations than the budget allows.
    """
    refuse_unsupported(spec)
    check_axes(spec)
    tables, weights, over_time = table_names(spec), weights_over_time(spec).keys(), time_axes(spec)
    spec = in_steps(unrolled(spec))
    check_size(spec)
    spec, sums = split_sums(spec, over_time, weights, tables)
    table = SymbolTable(spec)
    step = Reader(table)
    flows, diffusion, impulses = _flows(table)
    fractional = _fractional_flows(table, flows)
    maps = {e.name: step.expr(e.rhs) / table.scale(e.name) for e in spec.equations if e.kind == "map"}
    definitions = {e.name: step.expr(e.rhs) for e in spec.equations if e.kind == "definition"}
    inits, draws = initial_values(table, [*flows, *maps])
    inits = {n: e / table.scale(n) for n, e in inits.items()}
    system = OdeSystem(
        spec=spec,
        states=_states(table, flows, maps, {n: draws.middle(e) for n, e in inits.items()}),
        parameters=tuple(p.name for p in spec.parameters),
        inputs=tuple(i.name for i in spec.inputs),
        flows=flows,
        diffusion=diffusion,
        calculus=spec.calculus,
        maps=maps,
        impulses=impulses,
        events=tuple(_event(table, e) for e in spec.events),
        definitions=definitions,
        outputs=tuple((name, step.expr(value) / _output_scale(table, value)) for name, value in spec.outputs),
        complex=frozenset(table.complex),
        symbols=table.symbols,
        removable=table.removable,
        ramps=table.ramps,
        noise=dict(table.noise),
        tables=tables,
        sums=sums,
        fractional=fractional,
    )
    return with_chances(with_start(system, inits, draws))


build_system = build  # where another `build` is near


def _output_scale(table: SymbolTable, value: object) -> sp.Expr:
    """An output that is one bare name keeps the unit of that name; anything else is dimensionless or in base units."""
    return table.scale(value.name) if isinstance(value, Ref) else sp.S.One


Diffusion = dict[str, dict[str, sp.Expr]]


def _flows(table: SymbolTable) -> tuple[dict[str, sp.Expr], Diffusion, tuple[Impulse, ...]]:
    """Slopes of ordinary flows and drifts of Ito lines alike, what Wiener increments add, and what impulses add."""
    reader, impulses = Reader(table, flow=True), []
    flows: dict[str, sp.Expr] = {}
    diffusion: Diffusion = {}
    seconds = table.scale("dt")
    for e in table.spec.equations:
        if e.kind not in ("flow", "differential"):
            continue
        slope, waves = split(table, e) if e.kind == "differential" else (reader.expr(e.rhs), {})
        chain = [e.name + "'" * k for k in range(e.order)]
        for state, above in pairwise(chain):
            flows[state] = table.symbol(above) * table.scale(above) * seconds / table.scale(state)
        _refuse_kicked_noise(table, e.name, waves)
        rhs, kicks = _split_impulses(table, chain[-1], slope)
        flows[chain[-1]] = rhs * seconds / table.scale(chain[-1])
        diffusion |= (
            {e.name: {w: g * sp.sqrt(seconds) / table.scale(e.name) for w, g in waves.items()}} if waves else {}
        )
        impulses += kicks
    return flows, diffusion, tuple(impulses)


def _fractional_flows(table: SymbolTable, flows: dict[str, sp.Expr]) -> dict[str, Fractional]:
    """Right sides of D^a v into `flows`, v and time in their declared units: D^a divides by time^a."""
    reader, seconds, found = Reader(table, flow=True), table.scale("dt"), {}
    for e in table.spec.equations:
        if e.kind != "fractional":
            continue
        terms = [(Reader(table).expr(c) if c else sp.S.One, Reader(table).expr(order)) for c, order in e.fractional]
        scale, first = terms[0] if len(terms) == 1 else (sp.S.One, terms[0][1])
        flows[e.name] = reader.expr(e.rhs) * seconds**first / (table.scale(e.name) * scale)
        scaled = tuple((c / scale * seconds ** (first - a), a) for c, a in terms)
        found[e.name] = Fractional(scaled)
    return found


def _refuse_kicked_noise(table: SymbolTable, state: str, waves: dict[str, sp.Expr]) -> None:
    """An impulse is a Dirac in the equation of a state, and a Dirac times an increment means nothing."""
    for decl in table.spec.inputs:
        if any(g.has(symbol) for g in waves.values() for _, symbol in table.diracs(decl)):
            raise AnalysisError(
                f"the impulse '{decl.name}' multiplies the noise of {state}", hint=f"declare {decl.name} a current"
            )


def _split_impulses(table: SymbolTable, state: str, rhs: sp.Expr) -> tuple[sp.Expr, list[Impulse]]:
    """rhs = smooth + sum of coefficient * impulse input; the impulses act on the state as jumps."""
    kicks = []
    for decl in table.spec.inputs:
        for lag, symbol in table.diracs(decl):
            if not rhs.has(symbol):
                continue
            coefficient = sp.diff(rhs, symbol)
            if coefficient.has(symbol):
                raise AnalysisError(
                    f"the impulse '{decl.name}' does not enter the equation of {state} additively",
                    hint=f"write coefficient*{decl.name} as a term of its own, or declare {decl.name} a current",
                )
            rhs = sp.expand(rhs).subs(symbol, 0) if coefficient != 0 else rhs
            kicks.append(Impulse(state, decl.name, coefficient / table.scale(state), decl.at, lag))
    return rhs, kicks


def _states(
    table: SymbolTable, flows: dict[str, sp.Expr], maps: dict[str, sp.Expr], inits: dict[str, sp.Expr]
) -> tuple[State, ...]:
    kinds = dict.fromkeys(flows, "flow") | dict.fromkeys(maps, "map")
    return tuple(State(n, kind, n.rstrip("'") in table.complex, inits[n]) for n, kind in kinds.items())


def _event(table: SymbolTable, decl: EventDecl) -> Event:
    reader = Reader(table)
    condition = _condition(table, reader, decl.when)
    jumps = tuple(_jump(table, reader, a, decl.reset) for a in decl.reset.do) if decl.reset else ()
    late = bool(decl.reset and decl.reset.when == "next_step")
    return Event(
        decl.name, condition, jumps, late, decl.reset_gradient == "detached", slope(decl.surrogate, reader),
        _silent(table, decl), decl.refractory.hold if decl.refractory else (),
        decl.gradient,
    )  # fmt: skip


def _jump(table: SymbolTable, reader: Reader, a: Assignment, reset: Reset) -> Jump:
    """An assignment in the state's declared unit, that of a current in the unit of the right side."""
    value = reader.expr(a.value) / (table.scale(a.name) if a.op != "*=" else 1)
    equation = next((e for e in table.spec.equations if e.name == a.name and e.kind == "fractional"), None)
    if equation is None or reset.memory == "jump":
        return Jump(a.name, a.op, value)
    duration = Reader(table).expr(reset.duration) / table.scale("dt") if reset.duration is not None else None
    if reset.memory in ("impulse", "current"):
        value *= _right_side(table, equation, reset.memory)
    return Jump(a.name, a.op, value, reset.memory, duration)


def _right_side(table: SymbolTable, e: Equation, memory: str) -> sp.Expr:
    """What turns an amount on the right side of a fractional line (an impulse: its area) into one of its entry in
    `flows`."""
    coefficient, order = e.fractional[0]
    reader = Reader(table)
    own = reader.expr(coefficient) if coefficient is not None and len(e.fractional) == 1 else sp.S.One
    power = reader.expr(order) - (1 if memory == "impulse" else 0)
    return table.scale("dt") ** power / own


def _silent(table: SymbolTable, decl: EventDecl) -> sp.Expr | None:
    """Steps after an event in which its guard is false: whole steps that cover the duration (language.md, 3)."""
    if decl.refractory is None:
        return None
    steps = Reader(table).expr(decl.refractory.duration) / (table.dt * table.scale("dt"))
    return sp.ceiling(steps - sp.Rational(1, 10**6))


def _condition(table: SymbolTable, reader: Reader, c: Cond) -> Condition:
    """Margins in a declared unit of their own dimension, so that a surrogate's width means that unit."""
    if isinstance(c, Logic):
        return Combined(c.op, tuple(_condition(table, reader, i) for i in c.args))
    test = reader.condition(c)
    assert isinstance(test, Test)
    if test.margin.has(fn.peak):
        return test
    return Test(test.margin / _margin_scale(table, c), test.strict)


def _margin_scale(table: SymbolTable, c: Compare) -> sp.Expr:
    """Base units per unit of the margin: that of the first state or input of its dimension that the comparison reads,
    else any of its dimension; 1 for pure numbers."""
    found = table.dimension(c.left) or table.dimension(c.right) if table.timed else None
    if found in (None, NONE):
        return sp.S.One
    fitting = [n for n, unit in table.units.items() if scale_and_dimension(unit)[1] == found]
    read = sorted(n.name for n in walk(c) if isinstance(n, Ref) and n.name in fitting)
    states = [n for n in read if table.kinds.get(n) != "parameter"]
    return next((table.scale(n) for n in (*states, *read, *fitting)), sp.S.One)


def slope(surrogate: Surrogate, reader: Reader) -> sp.Expr:
    """The surrogate's derivative as an expression in the margin `m`: height*shape(m/width)."""
    if surrogate.expression is not None:
        return Reader(reader.table, surrogate={"m": MARGIN}).expr(surrogate.expression)
    options = dict(surrogate.options)
    normalised = bool(options.pop("normalised", False))  # the one option that is no expression
    numbers = cast("dict[str, Expr]", options)
    value = {k: reader.expr(numbers[k]) if k in numbers else sp.Rational(v) for k, v in DEFAULTS.items()}
    text = shape_text(surrogate.kind, normalised)
    names = {"x": MARGIN / value["width"], "h": value["h"], "r": value["ratio"], "width": value["width"]}
    if surrogate.kind == "straight_through":
        return value["height"]
    return value["height"] * Reader(reader.table, surrogate=names).expr(parse_expr(text))
