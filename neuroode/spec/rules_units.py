"""Units are all or nothing: once one quantity has a unit, every sum, comparison and assignment is checked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction

from neuroode._errors import Place, UnitError
from neuroode.expr import units
from neuroode.expr.nodes import Binary, Call, Compare, Expr, Logic, Neg, Node, Num, Ref, TimeIndex, fold, walk
from neuroode.expr.show import show
from neuroode.expr.unit_table import Dimension
from neuroode.spec.names import is_increment, reduced_axis
from neuroode.spec.quantities import literal
from neuroode.spec.scope import Scope, Site
from neuroode.spec.types import NeuronSpec

SAME = ("abs", "real", "imag", "conj", "after", "detach", "floor", "ceil", "round", "relu")
ALIKE = ("min", "max", "clip", "straight_through", "uniform", "normal")
PURE = (
    "exp", "log", "sin", "cos", "tan", "sinh", "cosh", "tanh", "sigmoid", "softplus", "erf", "exprel",
)  # fmt: skip
FREE = None  # the number 0 and inf fit every dimension
MAX_TEXT = 40


@dataclass(slots=True)
class Table:
    """Dimensions of the declared names, and of definitions as they are found out."""

    scope: Scope
    known: dict[str, Dimension | None] = field(default_factory=dict)
    shown: dict[Dimension, str] = field(default_factory=dict)

    def words(self, dimension: Dimension | None) -> str:
        if dimension is None or dimension == units.NONE:
            return "a pure number"
        return self.shown.get(dimension) or units.show_dimension(dimension)


def unit_rules(scope: Scope) -> None:
    """Check dimensions if one quantity of the model has a unit.

    Raises:
        UnitError: quantities that do not fit together, or no unit for the step.
    """
    place = first_unit(scope)
    if place is None:
        return
    _dt(scope, place)
    table = Table(scope)
    _declared(table)
    for site in _in_order(scope):
        _site(table, site)
    _assignments(table)


def dimensions(spec: NeuronSpec) -> Callable[[Node], Dimension | None]:
    """Expression of a checked declaration, as guards and outputs read it -> its dimension; None: fits every one."""
    table = Table(Scope(spec))
    _declared(table)
    for site in _in_order(table.scope):
        if site.role == "definition":
            table.known[site.target] = infer(table, site.node, False)
    return lambda node: infer(table, node, False)


def first_unit(scope: Scope) -> Place | None:
    """Where a quantity with a unit stands; None if the model has no units."""
    spec = scope.spec
    for group in (spec.inputs, spec.states, spec.parameters):
        for declared in group:
            if declared.unit:
                return declared.place
    if spec.dt and spec.dt.unit:
        return spec.place_of("dt")
    found = (n for site in scope.sites for n in walk(site.node) if isinstance(n, Num) and n.unit)
    return next((n.mark.place for n in found), None)


def _dt(scope: Scope, first: Place) -> None:
    dt = scope.spec.dt
    place = scope.spec.place_of("dt")
    if dt is None or dt.unit is None:
        raise UnitError(
            "the model has units, so the key dt must give a time", place=place if dt else first, hint="write dt: 0.1 ms"
        )
    if units.scale_and_dimension(dt.unit)[1] != units.TIME:
        raise UnitError(f"dt is in {dt.unit}, which is not a time", place=place, hint="write dt: 0.1 ms")


def _declared(table: Table) -> None:
    spec = table.scope.spec
    for name, unit in [(d.name, d.unit) for g in (spec.states, spec.inputs, spec.parameters) for d in g]:
        table.known[name] = _dimension(table, unit)
    for pure in ([n.name for n in spec.noise], [e.name for e in spec.events], [a.name for a in spec.axes]):
        table.known |= dict.fromkeys(pure, units.NONE)
    table.known |= {"t": units.TIME, "dt": units.TIME, "step": units.NONE, "pi": units.NONE, "i": units.NONE}
    table.known["inf"] = FREE
    for each in spec.equations:
        for primes in range(1, each.order):
            name = each.name + "'" * primes
            base = table.known.get(each.name) or units.NONE
            declared = next((s.unit for s in spec.states if s.name == name), None)
            if not declared:
                table.known[name] = units.over(base, units.raised(units.TIME, Fraction(primes)))


def _dimension(table: Table, unit: str | None) -> Dimension:
    if unit is None:
        return units.NONE
    dimension = units.scale_and_dimension(unit)[1]
    table.shown.setdefault(dimension, unit)
    return dimension


def _in_order(scope: Scope) -> list[Site]:
    """Definitions first, each behind those that it reads (circles are refused before), then the rest."""
    by_name = {s.target: s for s in scope.sites if s.role == "definition"}
    ordered: list[Site] = []
    done: set[str] = set()
    for start in by_name:
        stack = [(start, False)]
        while stack:
            name, ready = stack.pop()
            if ready:
                ordered.append(by_name[name])
            elif name not in done:
                done.add(name)
                stack.append((name, True))
                stack += [(n.name, False) for n in walk(by_name[name].node) if isinstance(n, Ref) and n.name in by_name]
    return ordered + [s for s in scope.sites if s.role != "definition"]


def _site(table: Table, site: Site) -> None:
    """Infer one expression and hold it against what it must be."""
    if site.role == "differential":
        table.known |= {n.name: units.raised(units.TIME, Fraction(1, 2)) for n in walk(site.node)
                        if isinstance(n, Ref) and is_increment(n.name)}  # fmt: skip
    if site.role == "surrogate":
        return
    found = infer(table, site.node, in_flow=site.role in ("flow", "differential", "fractional"))
    if site.role == "definition":
        table.known[site.target] = found
        return
    wanted = _wanted(table, site)
    if wanted is not None and found is not FREE and found != wanted[0]:
        if site.role in ("init", "value", "domain") and is_bare(site.node):
            return
        what = f"{site.what}: {table.words(found)} where {wanted[1]} is {table.words(wanted[0])}"
        raise UnitError(what, place=site.node.mark.place, hint=_hint(found, wanted[0]))


def is_bare(node: Node) -> bool:
    """Whether no unit stands in a value: its numbers are then in the declared unit."""
    return not any(isinstance(n, Num) and n.unit for n in walk(node)) and not any(
        isinstance(n, Ref) for n in walk(node)
    )


def _wanted(table: Table, site: Site) -> tuple[Dimension, str] | None:
    known = table.known
    match site.role:
        case "flow":
            order = table.scope.equations[site.target].order
            base = known[site.target] or units.NONE
            return units.over(base, units.raised(units.TIME, Fraction(order))), f"d{site.target}/dt"
        case "map":
            return known[site.target] or units.NONE, site.target
        case "differential":
            return known[site.target] or units.NONE, f"d{site.target}"
        case "init" | "value" | "domain":
            found = known.get(site.target)
            return (found, site.target) if found is not None else None
        case "duration":
            return units.TIME, "a duration"
        case "fractional":
            return _fractional(table, site)
    return None


def _fractional(table: Table, site: Site) -> tuple[Dimension, str] | None:
    """What the right side of c*D^alpha v = ... must be; unknown where alpha is a parameter."""
    equation = table.scope.equations[site.target]
    coefficient, order = equation.fractional[0]
    power = literal(order)
    if power is None:
        return None
    base = units.over(table.known[site.target] or units.NONE, units.raised(units.TIME, power.value))
    factor = infer(table, coefficient, in_flow=False) if coefficient is not None else units.NONE
    return units.times(factor or units.NONE, base), f"D^{show(order)} {site.target}"


def _assignments(table: Table) -> None:
    """Resets assign what the state is, and `*=` multiplies by a pure number."""
    for event in table.scope.spec.events:
        for a in event.reset.do if event.reset else ():
            found = infer(table, a.value, False)
            wanted = units.NONE if a.op == "*=" else table.known[a.name]
            if found is not FREE and found != wanted:
                what = f"{a.name} {a.op} {_short(a.value)}: {table.words(found)} where {table.words(wanted)} is wanted"
                raise UnitError(what, place=a.value.mark.place, hint=_hint(found, wanted))


def infer(table: Table, node: Node, in_flow: bool) -> Dimension | None:
    """The dimension of an expression; None for what fits every one (0, inf).

    Raises:
        UnitError: it adds, compares or takes a function of what does not fit.
    """
    impulses = {i.name for i in table.scope.spec.inputs if i.kind != "current"} if in_flow else set()

    def combine(each: Node, below: list[Dimension | None]) -> Dimension | None:
        match each:
            case Num():
                return _number(table, each)
            case Ref():
                found = table.known.get(each.name + "'" * each.primes, units.NONE)
                return units.over(found or units.NONE, units.TIME) if each.name in impulses else found
            case Neg():
                return below[0]
            case Binary():
                return _binary(table, each, below)
            case Compare():
                _alike(table, [each.left, each.right], below, "compared")
            case Call():
                return _call(table, each, below)
            case Logic() | TimeIndex():
                pass
        return units.NONE

    return fold(node, combine)


def _number(table: Table, node: Num) -> Dimension | None:
    if node.unit:
        return _dimension(table, node.unit)
    return FREE if node.value == 0 else units.NONE


def _binary(table: Table, node: Binary, below: list[Dimension | None]) -> Dimension | None:
    left, right = below
    if node.op in "+-":
        return _alike(table, [node.left, node.right], below, "added" if node.op == "+" else "subtracted", node)
    if node.op == "^":
        return _power(table, node, left, right)
    if left is FREE or right is FREE:
        return FREE if node.op == "*" or left is FREE else left
    return units.times(left, right) if node.op == "*" else units.over(left, right)


def _power(table: Table, node: Binary, base: Dimension | None, exponent: Dimension | None) -> Dimension | None:
    if exponent is not FREE and exponent != units.NONE:
        what = f"the exponent {_short(node.right)}: {table.words(exponent)} where a pure number is wanted"
        raise UnitError(what, place=node.right.mark.place,
                        hint="divide it by a quantity of its unit")  # fmt: skip
    if base is FREE or base == units.NONE:
        return base if base is not FREE else units.NONE
    power = literal(node.right)
    if power is None:
        if isinstance(node.right, Binary) and node.right.op == "/":
            top, bottom = literal(node.right.left), literal(node.right.right)
            if top and bottom and bottom.value:
                return units.raised(base, top.value / bottom.value)
        raise UnitError(f"{_short(node.left)} has a unit, so its exponent must be a number", place=node.mark.place)
    return units.raised(base, power.value)


def _alike(table: Table, parts: list[Expr], below: list[Dimension | None], verb: str,
           whole: Expr | None = None) -> Dimension | None:  # fmt: skip
    """The common dimension of parts, those apart that fit everything."""
    fixed = [(n, d) for n, d in zip(parts, below, strict=True) if d is not FREE]
    for node, dimension in fixed[1:]:
        if dimension != fixed[0][1]:
            first = table.words(fixed[0][1]), table.words(dimension)
            text = _short(whole) if whole is not None else ", ".join(_short(n) for n, _ in fixed)
            place = whole.mark.place if whole is not None else node.mark.place
            what = f"{text}: {first[0]} and {first[1]} cannot be {verb}"
            raise UnitError(what, place=place, hint=_factor_hint(table, fixed[0], (node, dimension)))
    return fixed[0][1] if fixed else FREE


def _call(table: Table, node: Call, below: list[Dimension | None]) -> Dimension | None:
    name = node.name
    if name in ALIKE or name == "where":
        args = list(node.args[1:]) if name == "where" else list(node.args)
        return _alike(table, args, below[-len(args) :], "used together")  # type: ignore[arg-type]
    if name == "delay" and below[1] is not FREE and below[1] != units.TIME:
        raise UnitError(f"delay by {_short(node.args[1])}: {table.words(below[1])} where a time is wanted",
                        place=node.args[1].mark.place, hint="write delay(x, 2 ms)")  # fmt: skip
    if name in SAME or reduced_axis(name) or name == "delay":
        return below[0]
    if name == "sqrt":
        return units.raised(below[0], Fraction(1, 2)) if below[0] is not FREE else FREE
    if name == "grad":
        return units.over(below[0] or units.NONE, below[1] or units.NONE)
    if name in PURE and below[0] is not FREE and below[0] != units.NONE:
        raise UnitError(f"{name} of {_short(node.args[0])}: {table.words(below[0])} where a pure number is wanted",
                        place=node.args[0].mark.place, hint="divide it by a quantity of its unit")  # fmt: skip
    if name in ("log_uniform", "log_normal"):
        return below[0]
    if name in ("poly", "chebyshev"):
        return below[0]
    return units.NONE


def _short(node: Node) -> str:
    text = show(node)
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 3] + "..."


def _factor_hint(table: Table, a: tuple[Node, Dimension | None], b: tuple[Node, Dimension | None]) -> str:
    """What to multiply the second part by."""
    first, second = a[1] or units.NONE, b[1] or units.NONE
    for node, other in ((a[0], second), (b[0], first)):
        if isinstance(node, Ref) and units.NONE in (first, second) and table.known.get(node.name) == units.NONE:
            return f"give {node.name} the unit {table.words(other)}, or divide by a quantity of that unit"
    factor = units.over(first, second)
    text = f"{table.words(first)}/{table.words(second)}" if units.NONE not in (first, second) else ""
    text = text or units.show_dimension(factor)
    kind = {units.UNITS["Ohm"][1]: "a resistance", units.UNITS["S"][1]: "a conductance"}.get(factor, "a quantity")
    root = Fraction(1, 2) in (abs(f) % 1 for f in factor)  # of a Wiener increment
    how = ": sqrt(D)*dW with D in 1/ms, or sigma*sqrt(2/tau)*dW" if root else ""
    return f"multiply {_short(b[0])} by {kind} ({text}){how}"


def _hint(found: Dimension | None, wanted: Dimension | None) -> str:
    factor = units.over(wanted or units.NONE, found or units.NONE)
    return f"multiply by a quantity in {units.show_dimension(factor)}, or correct a unit"
