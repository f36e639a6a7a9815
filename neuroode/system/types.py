"""The symbolic system: every read resolved to one symbol with one time, definitions inlined, units gone.

Symbols by name: `v` the running value of a flow state (inside a flow only), `v[t]` the value that guards see, `v[t-k]`
what step t-k left, `after(v)` the value after this step's resets, `I[t]`, `s[t]` inputs and events of this step, `I`
the running value of an input that is a ramp (inside a flow only).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import sympy as sp

from neuroode.expr import functions as fn
from neuroode.expr.alike import said_once
from neuroode.spec.types import NeuronSpec
from neuroode.system.sequences import SequenceSum
from neuroode.system.show import show


@dataclass(frozen=True, slots=True)
class State:
    """A state; `kind` flow or map, `init` an expression of parameters."""

    name: str
    kind: str
    complex: bool
    init: sp.Expr


@dataclass(frozen=True, slots=True)
class Test:
    """margin > 0 (strict) or margin >= 0; the margin is left - right, or right - left for < and <=.

    `chance`: the probability that it holds, where an event's gradient is made of that (`system/chances.py`).
    """

    margin: sp.Expr
    strict: bool
    chance: sp.Expr | None = None


@dataclass(frozen=True, slots=True)
class Combined:
    """`and`, `or` or `not` of conditions."""

    op: str
    items: tuple[Condition, ...]


Condition = Test | Combined


@dataclass(frozen=True, slots=True)
class Jump:
    """One assignment of a reset: op is = += -= *=.

    `memory` says what it does to the past of a fractional state (language.md, 8): jump, impulse, restart, or current,
    whose amount is added to the right side for `duration` (running time).
    """

    state: str
    op: str
    value: sp.Expr
    memory: str = "jump"
    duration: sp.Expr | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """`slope` is the surrogate's derivative, an expression in the symbol `m`.

    `silent` is the number of steps after an event in which its guard is false (None: no refractory time); `hold` names
    the states that rest in them. `gradient`: surrogate, expected or reinforce.
    """

    name: str
    condition: Condition
    jumps: tuple[Jump, ...]
    late: bool
    detached: bool
    slope: sp.Expr
    silent: sp.Expr | None = None
    hold: tuple[str, ...] = ()
    gradient: str = "surrogate"


@dataclass(frozen=True, slots=True)
class Impulse:
    """coefficient * input is added to a flow state, at the start of the step or at its end; `lag`: steps of a delay."""

    state: str
    input: str
    coefficient: sp.Expr
    at: str
    lag: int = 0

    @property
    def number(self) -> str:
        """The name of the symbol that is added: `x[t]`, `x[t-3]`."""
        return f"{self.input}[t-{self.lag}]" if self.lag else f"{self.input}[t]"


@dataclass(frozen=True, slots=True)
class Fractional:
    """The left side of a fractional line: the sum of coefficient * D^order of a state, in Caputo's sense.

    One term alone has the coefficient 1. Time is measured in the declared unit of `dt`.
    """

    terms: tuple[tuple[sp.Expr, sp.Expr], ...]


@dataclass(frozen=True, slots=True)
class OdeSystem:
    """Flows, maps, impulses and events of one neuron; `definitions` as guards and outputs read them.

    `spec` is the declaration with its axes written out, one name an element: `z__0`, `z__1` (`system/axes.py`).

    `complex` names the states, parameters and definitions that are complex; `removable` maps quotients with a removable
    0/0 as they were written, and as they are computed. `ramps`: what flows read that runs linearly over the step (an
    input with `hold: linear`, or the running time `t`) -> its values at the start and at the end. `step` counts steps.
    `diffusion`: what a flow state gains per Wiener increment, by state and stream: dX = flows[X]*dt + sum of
    diffusion[X][W]*dW, in the sense of `calculus`.
    `noise`: streams of random numbers by name, their kind uniform, normal or wiener; read as `NAME[t]`.
    `tables`: those of the inputs that are parameters over time, read by `step`. `sums`: those that are sums over the
    whole sequence, each after what it reads. `fractional`: states whose entry in `flows` is no slope but what their
    fractional derivatives add up to. `start`: where inits are drawn, a system whose outputs are those initial values,
    its noise their draws (`system/starts.py`); the states then have the middle of each draw as their init.
    """

    spec: NeuronSpec
    states: tuple[State, ...]
    parameters: tuple[str, ...]
    inputs: tuple[str, ...]
    flows: dict[str, sp.Expr]
    maps: dict[str, sp.Expr]
    impulses: tuple[Impulse, ...]
    events: tuple[Event, ...]
    definitions: dict[str, sp.Expr]
    outputs: tuple[tuple[str, sp.Expr], ...]
    complex: frozenset[str]
    symbols: dict[str, sp.Symbol] = field(repr=False)
    removable: dict[sp.Expr, sp.Expr] = field(default_factory=dict, repr=False)
    noise: dict[str, str] = field(default_factory=dict)
    diffusion: dict[str, dict[str, sp.Expr]] = field(default_factory=dict)
    calculus: str = "ito"
    tables: tuple[str, ...] = ()
    sums: tuple[SequenceSum, ...] = ()
    ramps: dict[sp.Symbol, tuple[sp.Expr, sp.Expr]] = field(default_factory=dict, repr=False)
    fractional: dict[str, Fractional] = field(default_factory=dict)
    start: OdeSystem | None = None

    def state(self, name: str) -> State:
        return next(s for s in self.states if s.name == name)

    def is_complex(self, name: str) -> bool:
        return name.rstrip("'") in self.complex

    def _flow_line(self, name: str, e: sp.Expr) -> str:
        if name in self.diffusion:
            waves = (f" + ({show(g)})*{w}" for w, g in self.diffusion[name].items())
            return f"d{name} = ({show(e)})*dt{''.join(waves)}  ({self.calculus})"
        return f"{self._slope(name)} = {show(e)}"

    def __str__(self) -> str:
        rows = [self._flow_line(n, e) for n, e in self.flows.items()]
        rows += [f"{n}[t] = {show(e)}" for n, e in self.maps.items()]
        rows += [
            f"{i.state} += {show(i.coefficient)}*{i.number if i.lag else i.input}  ({_when(i)})" for i in self.impulses
        ]
        rows += [f"{e.name}[t] = {show_condition(e.condition)}" for e in self.events]
        rows += [f"    at {e.name}: {j.state} {j.op} {show(j.value)}" for e in self.events for j in e.jumps]
        return "\n".join(said_once(rows))

    def _slope(self, name: str) -> str:
        if name in self.fractional:
            return " + ".join(_derivative(name, c, a) for c, a in self.fractional[name].terms)
        return f"({name})'" if "'" in name else f"d{name}/dt"


def _derivative(name: str, coefficient: sp.Expr, order: sp.Expr) -> str:
    exponent = show(order) if order.is_Atom and not order.is_Rational else f"({show(order)})"
    factor = (
        "" if coefficient == 1 else f"{show(coefficient)}*" if not coefficient.is_Add else f"({show(coefficient)})*"
    )
    return f"{factor}D^{exponent} {name}"


def _when(i: Impulse) -> str:
    return f"impulse, at the {i.at} of the step"


def show_condition(c: Condition) -> str:
    if isinstance(c, Test) and isinstance(c.margin, fn.peak):
        return f"{show(c.margin.args[0])} >= inf"
    if isinstance(c, Test):
        return f"{show(c.margin)} {'>' if c.strict else '>='} 0"
    parts = [show_condition(i) for i in c.items]
    return f"not ({parts[0]})" if c.op == "not" else "(" + f") {c.op} (".join(parts) + ")"
