"""From syntax trees to sympy: the one place where symbols are made and where a read gets its time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property

import sympy as sp

from neuroode._errors import AnalysisError, LoweringError, Unsupported
from neuroode.expr import functions as fn
from neuroode.expr.nodes import Binary, Call, Compare, Cond, Expr, Logic, Neg, Node, Num, Ref, TimeIndex, walk
from neuroode.expr.show import show
from neuroode.expr.unit_table import Dimension
from neuroode.expr.units import half_decades
from neuroode.spec.names import is_increment
from neuroode.spec.rules_complex import cause
from neuroode.spec.rules_units import dimensions
from neuroode.spec.types import InputDecl, NeuronSpec, ParameterDecl, StateDecl
from neuroode.system.delays import MAX_STEPS
from neuroode.system.indices import OVER
from neuroode.system.removable import gap, through_exprel
from neuroode.system.show import show as show_expression
from neuroode.system.types import Combined, Condition, Test

BINARY: dict[str, Callable[[sp.Expr, sp.Expr], sp.Expr]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "^": lambda a, b: a**b,
}

FUNCTIONS: dict[str, Callable[..., sp.Expr]] = {
    "exp": sp.exp, "log": sp.log, "sqrt": sp.sqrt, "sin": sp.sin, "cos": sp.cos, "tan": sp.tan, "sinh": sp.sinh,
    "cosh": sp.cosh, "tanh": sp.tanh, "sigmoid": fn.sigmoid, "softplus": fn.softplus,
    "relu": lambda x: fn.maximum(x, 0), "erf": sp.erf, "abs": sp.Abs, "sign": sp.sign, "floor": sp.floor,
    "ceil": sp.ceiling, "round": fn.rounded, "real": sp.re, "imag": sp.im, "conj": sp.conjugate, "arg": sp.arg,
    "exprel": lambda x: fn.phi(1, x), "detach": fn.detach,
    "straight_through": lambda a, b: fn.detach(a - b) + b,
    "clip": lambda x, lo, hi: fn.minimum(fn.maximum(x, lo), hi), "where": fn.pick,
}  # fmt: skip


def _fold(f: Callable[[sp.Expr, sp.Expr], sp.Expr]) -> Callable[..., sp.Expr]:
    def folded(*args: sp.Expr) -> sp.Expr:
        total = args[0]
        for a in args[1:]:
            total = f(total, a)
        return total

    return folded


FUNCTIONS |= {"min": _fold(fn.minimum), "max": _fold(fn.maximum)}


def increments(spec: NeuronSpec) -> dict[str, str]:
    """The Wiener increments that differentials read, as streams of the kind `wiener`, in the order of the text."""
    lines = [e.rhs for e in spec.equations if e.kind == "differential"]
    return {n.name: "wiener" for rhs in lines for n in walk(rhs) if isinstance(n, Ref) and is_increment(n.name)}


@dataclass
class SymbolTable:
    """Makes every symbol once. `scale` turns a number in a declared unit into base units (1 without units)."""

    spec: NeuronSpec
    symbols: dict[str, sp.Symbol] = field(default_factory=dict)
    removable: dict[sp.Expr, sp.Expr] = field(default_factory=dict)
    ramps: dict[sp.Symbol, tuple[sp.Expr, sp.Expr]] = field(default_factory=dict)
    late_impulses: dict[tuple[str, int], sp.Symbol] = field(default_factory=dict)

    def __post_init__(self) -> None:
        spec = self.spec
        self.kinds: dict[str, str] = {p.name: "parameter" for p in spec.parameters}
        self.kinds |= {i.name: "input" for i in spec.inputs}
        self.kinds |= {e.name: "event" for e in spec.events}
        self.noise: dict[str, str] = {n.name: n.kind for n in spec.noise}
        self.noise |= increments(spec)
        self.kinds |= dict.fromkeys(self.noise, "noise")
        for e in spec.equations:
            names = [e.name + "'" * k for k in range(e.order if e.kind == "flow" else 1)]
            self.kinds |= dict.fromkeys(names, "flow" if e.kind in ("fractional", "differential") else e.kind)
        self.rhs = {e.name: e.rhs for e in spec.equations if e.kind == "definition"}
        complex_names = {s.name for s in spec.states if s.type == "complex"}
        complex_names |= {p.name for p in spec.parameters if p.type == "complex"}
        self.complex = complex_names | {e.name for e in spec.equations if e.complex}
        while found := {n for n, rhs in self.rhs.items() if n not in self.complex and cause(rhs, self.complex)}:
            self.complex |= found
        units: list[InputDecl | StateDecl | ParameterDecl] = [*spec.inputs, *spec.states, *spec.parameters]
        self.units = {d.name: d.unit for d in units if d.unit}
        self.timed = bool(self.units) or bool(spec.dt and spec.dt.unit)
        self.linear_hold = {i.name for i in spec.inputs if i.hold == "linear"}
        self.impulses = {i.name for i in spec.inputs if i.kind != "current"}
        self.levels = dict.fromkeys(self.kinds, "lane") | {p.name: p.per[0] for p in spec.parameters}
        self.positive = {p.name for p in spec.parameters if p.domain == "positive"}

    @cached_property
    def dimension(self) -> Callable[[Node], Dimension | None]:
        """The dimension of an expression, outside of flows."""
        return dimensions(self.spec)

    def symbol(self, name: str, time: str = "") -> sp.Symbol:
        """The symbol of `name` at `time`: '' (running value or parameter), '[t]', '[t-2]', 'after'."""
        full = f"after({name})" if time == "after" else name + time
        if full not in self.symbols:
            facts = {} if name in self.complex else {"positive": True} if name in self.positive else {"real": True}
            self.symbols[full] = sp.Symbol(full, **facts)
        return self.symbols[full]

    def ramp(self, name: str, lag: int = 0) -> sp.Symbol:
        """The running value of an input that goes from its last sample to this one, `lag` steps ago."""
        symbol = self.symbol(name, f" {lag} steps ago" if lag else "")
        self.ramps[symbol] = (self.symbol(name, f"[t-{lag + 1}]"), self.symbol(name, _at(lag)))
        return symbol

    def late(self, name: str, lag: int) -> sp.Symbol:
        """An impulse of `lag` steps ago inside a flow, where it still is one; the number has its own symbol."""
        self.symbol(name, _at(lag))
        return self.late_impulses.setdefault((name, lag), self.symbol(name, f" of {lag} steps ago"))

    def diracs(self, decl: InputDecl) -> list[tuple[int, sp.Symbol]]:
        """(steps of delay, symbol) of what flows read of an impulse input."""
        if decl.kind == "current":
            return []
        now = self.symbols.get(f"{decl.name}[t]")
        rows = [(lag, s) for (name, lag), s in self.late_impulses.items() if name == decl.name]
        return [(0, now), *rows] if now is not None else rows

    @property
    def step(self) -> sp.Symbol:
        """The number of the step, 0, 1, ..."""
        return self.symbols.setdefault("step", sp.Symbol("step", nonnegative=True))

    def time(self, *, running: bool) -> sp.Expr:
        """The running time inside a flow, else that of the end of this step."""
        end = (self.step + 1) * self.dt
        if not running:
            return end
        symbol = self.symbol("t")
        self.ramps[symbol] = (self.step * self.dt, end)
        return symbol

    @property
    def dt(self) -> sp.Symbol:
        return self.symbols.setdefault("dt", sp.Symbol("dt", positive=True))

    def scale(self, name: str) -> sp.Expr:
        """Base units per declared unit of `name`."""
        unit = self.spec.dt.unit if name == "dt" and self.spec.dt else self.units.get(name)
        return _factor(unit) if unit else sp.S.One


@dataclass
class Reader:
    """Converts trees in one place: `flow` is the right side of a flow, where a flow state is its running value."""

    table: SymbolTable
    flow: bool = False
    surrogate: dict[str, sp.Expr] = field(default_factory=dict)

    def expr(self, node: Expr | Cond) -> sp.Expr:
        match node:
            case Num():
                return self._number(node)
            case Neg():
                return -self.expr(node.arg)
            case Binary():
                return self._binary(node)
            case Call():
                return self._call(node)
            case Ref():
                return self._read(node)
            case Compare() | Logic():
                return _as_number(self.condition(node))
        raise LoweringError(f"unknown node {node!r}")

    def condition(self, node: Cond) -> Condition:
        if isinstance(node, Logic):
            return Combined(node.op, tuple(self.condition(c) for c in node.args))
        left, right = self.expr(node.left), self.expr(node.right)
        high, low = (left, right) if node.op in (">", ">=") else (right, left)
        if sp.oo in (high, low) or -sp.oo in (high, low):
            return _infinite(node, high, low)
        return Test(high - low, node.op in (">", "<"))

    def _binary(self, node: Binary) -> sp.Expr:
        # left-deep chains of thousands of terms: walk down the spine instead of recursing
        spine: list[Binary] = []
        top: Expr = node
        while isinstance(top, Binary) and top.op != "^":
            spine.append(top)
            top = top.left
        value = (
            self.expr(top) if not isinstance(top, Binary) else BINARY["^"](self.expr(top.left), self.expr(top.right))
        )
        for step in reversed(spine):
            right = self.expr(step.right)
            if step.op == "/" and right == 0:
                raise AnalysisError(f"'{show(step)}' divides by 0", place=step.mark.place)
            value = self._through_exprel(BINARY[step.op](value, right))
            if step.op in "*/":
                self._refuse_gap(value, step)
        return value

    def _refuse_gap(self, value: sp.Expr, node: Binary) -> None:
        found = gap(value)
        if found is not None:
            x, root = found
            name, near = x.name.partition("[")[0], "1e-6" if root == 0 else f"{show_expression(root)} + 1e-6"
            raise AnalysisError(
                f"'{show(node)}' is 0/0 where {name} = {show_expression(root)}",
                place=node.mark.place,
                hint="(exp(x) - 1)/x is exprel(x); else cancel the common factor, or let both parts read a value "
                f"that keeps away: y = where(abs({show_expression(x - root)}) > 1e-6, {name}, {near})",
            )

    def _through_exprel(self, value: sp.Expr) -> sp.Expr:
        found = through_exprel(value)
        if found != value:
            self.table.removable[value] = found
        return found

    def _number(self, node: Num) -> sp.Expr:
        value = _rational(node.value) * (sp.I if node.imaginary else 1)
        return value * _factor(node.unit) if node.unit else value

    def _call(self, node: Call) -> sp.Expr:
        if node.name == "after":
            ref = node.args[0]
            assert isinstance(ref, Ref)
            name = ref.name + "'" * ref.primes
            return self.table.symbol(name, "after") * self.table.scale(name)
        if node.name == "delay":
            return self._delayed(node)
        if node.name == "grad":
            return self._grad(node)
        name = node.name.removesuffix(OVER)
        if name in dict(self.table.spec.operators):
            return fn.operator_named(name, over=name != node.name)(*[self.expr(a) for a in node.args])
        if node.name not in FUNCTIONS:
            raise Unsupported(f"function '{node.name}' is not lowered yet")
        value = FUNCTIONS[node.name](*[self.expr(a) for a in node.args])
        if value in (sp.zoo, sp.nan):
            raise AnalysisError(f"'{show(node)}' is not a finite number", place=node.mark.place)
        return value

    def _delayed(self, node: Call) -> sp.Expr:
        """A read of some steps ago (`system.delays` has counted them); in a flow an impulse stays one."""
        ref, count = node.args
        assert isinstance(ref, Ref)
        assert isinstance(count, Num)
        name, lag = ref.name + "'" * ref.primes, int(count.value)
        if self.flow and name in self.table.impulses:
            return self.table.late(name, lag) * self.table.scale(name)
        if self.flow and name in self.table.linear_hold:
            return self.table.ramp(name, lag) * self.table.scale(name)
        return self.table.symbol(name, _at(lag)) * self.table.scale(name)

    def _grad(self, node: Call) -> sp.Expr:
        """The derivative of a definition in a state as it is read here, everything else held."""
        potential, read = self.expr(node.args[0]), self.expr(node.args[1])
        state = next(iter(read.free_symbols), sp.S.One)
        if not (read / state).is_number:
            raise Unsupported(f"'{show(node)}' is no derivative in a state", hint="write grad(U, q) with a state q")
        if state.name.partition("[")[0] in self.table.complex or potential.has(sp.I):
            raise Unsupported(f"'{show(node)}': derivatives of potentials over complex states are not lowered yet")
        slope = self._slope(potential, state, node) * state / read
        if slope.has(sp.Derivative, sp.Subs):
            raise Unsupported(f"'{show(node)}' has no derivative in closed form", hint="write the derivative yourself")
        return slope

    def _slope(self, potential: sp.Expr, state: sp.Symbol, node: Call) -> sp.Expr:
        """The derivative; of an operator that of the sum of its values over all neurons, whose energies add up."""
        calls = {f: sp.Dummy(real=True) for f in potential.atoms(fn.operator) if f.has(state)}
        inner = potential.xreplace(calls)
        total = sp.diff(inner, state)
        varying = {n for n, level in self.table.levels.items() if level not in ("layer", "network")}
        for f, value in calls.items():
            factor = sp.diff(inner, value)
            if any("[" in s.name or s in calls.values() or s.name in varying for s in factor.free_symbols):
                raise Unsupported(
                    f"'{show(node)}': the factor of {f.called}(...) differs from neuron to neuron or in time",
                    hint="let the operator's value enter the potential with a factor that all neurons share",
                )
            if any(a.atoms(fn.operator) for a in f.args):
                raise Unsupported(f"'{show(node)}': an operator of an operator has no gradient here")
            slopes = [sp.diff(a, state) for a in f.args]
            total += factor * sp.Add(*[_entry(f, i) * slope for i, slope in enumerate(slopes) if slope != 0])
        return total

    def _read(self, node: Ref) -> sp.Expr:
        name = node.name + "'" * node.primes
        if name in self.surrogate:
            return self.surrogate[name]
        fixed = {"pi": sp.pi, "i": sp.I, "inf": sp.oo}
        if name in fixed and name not in self.table.kinds:
            return fixed[name]
        if name == "dt":
            return self.table.dt * self.table.scale("dt")
        if name == "step":
            return self.table.step
        if name == "t":
            return self.table.time(running=self.flow) * self.table.scale("dt")
        return self._timed(name, node.time)

    def _timed(self, name: str, time: TimeIndex | None) -> sp.Expr:
        kind, lag = self.table.kinds[name], _whole(time.lag) if time else 0
        scale = self.table.scale(name)
        if kind == "parameter":
            return self.table.symbol(name) * scale
        if lag > MAX_STEPS:
            raise Unsupported(f"'{name}' is read {lag:.6g} steps back; at most {MAX_STEPS} are lowered",
                              hint=f"write {name}[t-{MAX_STEPS}] or less")  # fmt: skip
        if lag:
            return self.table.symbol(name, f"[t-{lag}]") * scale
        if kind == "definition":
            return self.expr(self.table.rhs[name])
        if self.flow and name in self.table.linear_hold:
            return self.table.ramp(name) * scale
        running = kind == "flow" and self.flow and time is None
        return self.table.symbol(name, "" if running else "[t]") * scale


def _entry(f: fn.operator, i: int) -> sp.Expr:
    """The derivative of an operator's energy in its i-th argument."""
    return fn.operator_named(fn.GRADIENT + f.called, f.over, i if f.over else None)(*f.args)


def _at(lag: int) -> str:
    return f"[t-{lag}]" if lag else "[t]"


def _whole(lag: Expr) -> int:
    """A lag as a number; the checks have made sure that it is whole and not negative."""
    match lag:
        case Num():
            return int(lag.value)
        case Neg():
            return -_whole(lag.arg)
        case Binary():
            return int(BINARY[lag.op](sp.Integer(_whole(lag.left)), sp.Integer(_whole(lag.right))))
    raise Unsupported("a lag that is not a constant number is not lowered yet")


def _infinite(node: Compare, high: sp.Expr, low: sp.Expr) -> Test:
    """`v >= inf` and `v <= -inf`: reached by a flow that blows up."""
    if node.op in (">", "<") or (low is not sp.oo and high is not -sp.oo):
        raise AnalysisError(f"the guard '{show(node)}' is the same for every number", hint="a peak is v >= inf")
    side = high if low is sp.oo else -low
    return Test(fn.peak(side), False)


def _as_number(c: Condition) -> sp.Expr:
    if isinstance(c, Test):
        return fn.gate(c.margin, int(c.strict))
    parts = [_as_number(i) for i in c.items]
    if c.op == "not":
        return 1 - parts[0]
    if c.op == "and":
        return sp.Mul(*parts)
    return 1 - sp.Mul(*[1 - p for p in parts])


def _factor(unit: str) -> sp.Expr:
    """Base units in one of `unit`, as a power of ten, so that roots of units cancel."""
    return sp.Integer(10) ** sp.Rational(half_decades(unit), 2)


def _rational(value: Fraction | int) -> sp.Rational:
    return sp.Rational(value.numerator, value.denominator)
