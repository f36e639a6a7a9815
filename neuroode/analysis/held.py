"""The flow of a neuron while its inputs are held: dx/dt = f(x, I), in symbols and in numbers.

Coordinates are real: a complex state is its real and its imaginary part. What else a flow reads stands still: events
are silent, past values of maps at their inits. A flow that reads the time, past values of a flow, tables over time or
functions of which only the name is known has no such form, and is refused with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import sympy as sp

from neuroode._errors import Unsupported
from neuroode.analysis import algebra
from neuroode.analysis import polynomials as poly
from neuroode.analysis.numbers import FUNCTIONS, MOST
from neuroode.analysis.symbols import HELD
from neuroode.expr import functions as fn
from neuroode.system.types import Combined, Condition, OdeSystem

Array = np.ndarray
MAX_COORDINATES = 16
MAX_OPERATIONS = 2_000
COMPLEX_OPERATIONS = 200  # of flows that are split into real and imaginary parts


@dataclass(frozen=True)
class HeldFlow:
    """dx/dt = f(x, I) in real coordinates.

    `names` of the coordinates, `x` their symbols; `I` the symbol of the swept input (a dummy where there is none).
    `symbolic` holds the parameters as symbols, `numeric` the numbers of one neuron as exact rationals. `starts`: each
    coordinate's init, reset and threshold, as far as they are numbers.
    """

    names: tuple[str, ...]
    states: tuple[str, ...]
    x: tuple[sp.Symbol, ...]
    input: str | None
    I: sp.Symbol
    symbolic: sp.Matrix
    numeric: sp.Matrix
    values: Mapping[sp.Symbol, sp.Expr]
    at: float
    starts: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    @cached_property
    def jacobian(self) -> sp.Matrix:
        return sp.Matrix([[poly.slope(e, x) for x in self.x] for e in self.numeric])

    @cached_property
    def _f(self) -> Callable[..., Array]:
        return function((*self.x, self.I), list(self.numeric))

    @cached_property
    def _J(self) -> Callable[..., Array]:
        return function((*self.x, self.I), list(self.jacobian))

    @cached_property
    def _slope(self) -> Callable[..., Array]:
        return function((*self.x, self.I), [poly.slope(e, self.I) for e in self.numeric])

    def f(self, x: Array, I: Array | float) -> Array:
        """dx/dt (..., n) at points (..., n)."""
        return self._f(*np.moveaxis(x, -1, 0), I)

    def J(self, x: Array, I: Array | float) -> Array:
        """Jacobians (..., n, n)."""
        found = self._J(*np.moveaxis(x, -1, 0), I)
        return found.reshape(*found.shape[:-1], len(self.x), len(self.x))

    def by_input(self, x: Array, I: Array | float) -> Array:
        """df/dI (..., n)."""
        return self._slope(*np.moveaxis(x, -1, 0), I)

    @cached_property
    def boxes(self) -> tuple[tuple[float, float], ...]:
        """Where each coordinate is looked at: around its init, reset, threshold and the zeros of what is linear in it
        alone, by half of their span on both sides."""
        return tuple(self._box(i) for i in range(len(self.x)))

    def _box(self, i: int) -> tuple[float, float]:
        marks = [*self.starts.get(self.names[i], ()), *poly.roots_of_affine_parts(self.numeric, self.x[i])]
        low, high = min(marks, default=0.0), max(marks, default=0.0)
        span = (high - low) or max(abs(high), 1.0)
        return low - span / 2, high + span / 2


def function(symbols: tuple[sp.Symbol, ...], rows: list[sp.Expr]) -> Callable[..., Array]:
    """Numbers of some expressions: arrays by symbol -> (..., rows), not finite where there is no number."""
    plain = [e.xreplace({n: sp.Float(n) for n in e.atoms(sp.Integer) if abs(n) > MOST}) for e in rows]
    made = sp.lambdify(symbols, plain, [FUNCTIONS, "scipy", "numpy"], cse=True)

    def numbers(*values: Array | float) -> Array:
        arrays = [np.asarray(v, float) for v in values]
        with np.errstate(all="ignore"):
            found = [np.real_if_close(np.asarray(r)) for r in made(*arrays)]
        shape = np.broadcast_shapes(*(a.shape for a in arrays))
        real = [np.where(np.iscomplex(r), np.nan, np.real(r)).astype(float) for r in found]
        return np.stack([np.broadcast_to(r, shape) for r in real], axis=-1)

    return numbers


def held_flow(
    system: OdeSystem,
    values: Mapping[str, complex],
    inputs: Mapping[str, float] | None = None,
    against: str | None = None,
) -> HeldFlow:
    """The flow of one neuron.

    Args:
        values: numbers of the parameters (and dt) of one neuron.
        inputs: what inputs are held at; 0 where nothing is said.
        against: the input that is swept; None takes the first current that a flow reads.

    Raises:
        Unsupported: the flow has no such form, or is larger than the budget.
    """
    if system.fractional:
        which = ", ".join(system.fractional)
        raise Unsupported(f"{which} has a fractional derivative: eigenvalues of a slope do not decide its stability")
    inputs, name = dict(inputs or {}), system.spec.name
    if not system.flows:
        raise Unsupported(f"'{name}' has no flow, so no fixed points of a flow")
    swept = swept_input(system, against)
    I = system.symbols.get(f"{swept}[t]", sp.Dummy("I", real=True))
    states = tuple(system.flows)
    still = [_still(system, system.flows[s], I, swept, inputs) for s in states]
    _refuse_large(name, still)
    names, x, rows = _real_coordinates(system, states, still)
    kind = _float if any(map(_grows, still)) else _exact
    known = {s: kind(values[n]) for n, s in system.symbols.items() if n in values}
    unknown = {s.name for e in rows for s in e.free_symbols} - {s.name for s in (*x, I, *known)}
    if unknown:
        raise Unsupported(f"the flow of '{name}' reads {', '.join(sorted(unknown))}, which has no single held value")
    symbolic = sp.Matrix(rows)
    numeric = symbolic.xreplace(known)
    return HeldFlow(
        names, states, x, swept, I, symbolic, numeric, known, float(inputs.get(swept or "", 0.0)),
        _starts(system, known),
    )  # fmt: skip


def swept_input(system: OdeSystem, against: str | None) -> str | None:
    """The first current that a flow reads, or the one that was asked for.

    Raises:
        Unsupported: no flow reads that input as a current.
    """
    read = {s.name.split("[")[0] for e in system.flows.values() for s in e.free_symbols}
    read |= {s.name for s in system.ramps}
    found = [i.name for i in system.spec.inputs if i.kind == "current" and i.name in read]
    if against is not None and against not in found:
        raise Unsupported(f"no flow of '{system.spec.name}' reads a current '{against}'", hint=", ".join(found))
    return against or (found[0] if found else None)


def _still(system: OdeSystem, e: sp.Expr, I: sp.Symbol, swept: str | None, inputs: Mapping[str, float]) -> sp.Expr:
    """The flow with everything that is no running state at its held value."""
    if e.has(fn.operator):
        raise Unsupported(f"the flow of '{system.spec.name}' calls an operator, of which only the name is known")
    ramps = {s: end for s, (_, end) in system.ramps.items() if s.name in system.inputs}
    e = e.xreplace(ramps).replace(fn.detach, lambda a: a)
    left: dict[sp.Symbol, sp.Expr] = {}
    for s in e.free_symbols:
        if match := HELD.match(s.name):
            left[s] = _held_value(system, match["name"], I, swept, inputs)
    return e.xreplace(left)


def _held_value(system: OdeSystem, name: str, I: sp.Symbol, swept: str | None, inputs: Mapping[str, float]) -> sp.Expr:
    if name == swept:
        return I
    if name in system.flows or name in system.tables:
        what = "past values of a flow" if name in system.flows else "a table over time"
        raise Unsupported(f"the flow of '{system.spec.name}' reads {what} ('{name}')")
    known = {x.name: x.init for x in system.states}
    return known.get(name, _exact(inputs.get(name, 0.0)))


def _refuse_large(name: str, rows: list[sp.Expr]) -> None:
    size = sum(e.count_ops() for e in rows)
    if size > MAX_OPERATIONS or len(rows) > MAX_COORDINATES:
        raise Unsupported(
            f"the flow of '{name}' has {len(rows)} states and {size} operations",
            hint=f"fixed points are looked for up to {MAX_COORDINATES} states and {MAX_OPERATIONS} operations",
        )


def _real_coordinates(
    system: OdeSystem, states: tuple[str, ...], rows: list[sp.Expr]
) -> tuple[tuple[str, ...], tuple[sp.Symbol, ...], list[sp.Expr]]:
    """Names, symbols and slopes of the real coordinates."""
    if not any(system.is_complex(s) for s in states):
        return states, tuple(system.symbols.get(s, sp.Symbol(s, real=True)) for s in states), rows
    if sum(e.count_ops() for e in rows) > COMPLEX_OPERATIONS or len(states) > MAX_COORDINATES // 2:
        raise Unsupported(f"the complex flow of '{system.spec.name}' is larger than the budget")
    names: list[str] = []
    left: dict[sp.Symbol, sp.Expr] = {}
    for s in states:
        parts = [f"real({s})", f"imag({s})"] if system.is_complex(s) else [s]
        made = [sp.Symbol(p, real=True) for p in parts]
        names += parts
        left[system.symbols.get(s, sp.Symbol(s))] = made[0] + (sp.I * made[1] if len(made) > 1 else 0)
    found: list[sp.Expr] = []
    for s, e in zip(states, rows, strict=True):
        real, imaginary = e.xreplace(left).expand(complex=True).as_real_imag()
        found += [real, imaginary] if system.is_complex(s) else [real]
    return tuple(names), tuple(sp.Symbol(n, real=True) for n in names), found


def _grows(e: sp.Expr) -> bool:
    """Whether exact numbers in the place of symbols could fill the memory: large powers, powers of parameters."""
    return any(not p.exp.is_number or abs(p.exp) > algebra.LARGEST for p in e.atoms(sp.Pow))


def _exact(value: complex) -> sp.Expr:
    """A number as a rational, as it is printed."""
    value = complex(value)
    if not np.isfinite(value):
        return sp.nan
    parts = [sp.Rational(repr(float(p))) for p in (value.real, value.imag)]
    return parts[0] + sp.I * parts[1]


def _float(value: complex) -> sp.Expr:
    value = complex(value)
    return sp.Float(value.real) + (sp.I * sp.Float(value.imag) if value.imag else 0)


def _starts(system: OdeSystem, known: Mapping[sp.Symbol, sp.Expr]) -> dict[str, tuple[float, ...]]:
    """Inits, values that resets assign, thresholds on single states."""
    found: dict[str, list[sp.Expr]] = {s.name: [s.init] for s in system.states}
    for event in system.events:
        for jump in event.jumps:
            if jump.op == "=" and jump.state in found:
                found[jump.state].append(jump.value)
        for margin in _margins(event.condition):
            for name in system.flows:
                symbol = system.symbols.get(f"{name}[t]")
                if symbol is not None and margin.is_polynomial(symbol) and sp.diff(margin, symbol).is_number:
                    slope = sp.diff(margin, symbol)
                    found[name] += [] if slope == 0 else [-margin.subs(symbol, 0) / slope]
    numbers = {n: [poly.number(e.xreplace(known)) for e in rows] for n, rows in found.items()}
    return {n: tuple(x for x in rows if x is not None and np.isfinite(x)) for n, rows in numbers.items()}


def _margins(c: Condition) -> list[sp.Expr]:
    return [m for item in c.items for m in _margins(item)] if isinstance(c, Combined) else [c.margin]
