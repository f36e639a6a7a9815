"""What was declared: frozen data that round-trips to YAML. Defaults are the language's (language.md, section 2)."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

from neuroode._errors import Place
from neuroode.expr.nodes import Cond, Expr

NOWHERE = Place()


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """A number with an optional unit, as written."""

    value: Fraction
    unit: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InputDecl:
    name: str
    kind: str = "current"  # current | impulse | spike
    axes: tuple[str, ...] = ()
    unit: str | None = None
    hold: str = "zero"  # zero | linear
    at: str = "start"  # start | end
    about: str = ""
    place: Place = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class StateDecl:
    """A declared state. A derivative state is named with its primes, `x'`."""

    name: str
    init: Expr | None = None  # None: 0
    type: str = "real"  # real | complex
    unit: str | None = None
    about: str = ""
    place: Place = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterDecl:
    """`trainable` is False for a bare value, True for a mapping that does not say otherwise.

    Exactly one of `value` (an expression without draws, or nested tuples of them for lists) and `init` is set.
    """

    name: str
    value: Expr | tuple | None = None
    init: Expr | None = None
    per: tuple[str, ...] = ("layer",)  # at most one level, then axes, then `time`
    domain: str = "real"  # canonical text: `positive`, `interval(0, 1/dt)`, ...
    bounds: tuple[Expr, ...] = ()  # parsed arguments of interval(a, b)
    transform: str | None = None  # None: by domain
    type: str = "real"  # real | complex | integer
    unit: str | None = None
    trainable: bool = True
    about: str = ""
    place: Place = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class AxisDecl:
    name: str
    size: int | str  # a number, another axis, or "time"
    place: Place = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseDecl:
    name: str
    kind: str  # uniform | normal
    axes: tuple[str, ...] = ()
    place: Place = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Equation:
    """One line of `equations`.

    kind: flow (dx/dt, x', x''), map (x[t]), definition, fractional (D^alpha), differential (dx = ...).
    """

    kind: str
    name: str
    rhs: Expr
    order: int = 1  # of a flow: number of primes
    axes: tuple[str, ...] = ()
    fractional: tuple[tuple[Expr | None, Expr], ...] = ()  # (coefficient, order) of each D term
    complex: bool = False
    place: Place = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """`name op value` in a reset; op is = += -= *=."""

    name: str
    op: str
    value: Expr
    axes: tuple[str, ...] = ()
    place: Place = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reset:
    do: tuple[Assignment, ...]
    when: str = "same_step"  # same_step | next_step
    memory: str = "jump"  # jump | impulse | restart | current
    duration: Expr | None = None  # of memory: current(duration)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surrogate:
    """A kind with its options, or `expression` in the margin `m`."""

    kind: str = "fast_sigmoid"
    options: tuple[tuple[str, Expr | bool], ...] = ()  # width, height, h, ratio, normalised; sorted by name
    expression: Expr | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refractory:
    duration: Expr
    hold: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EventDecl:
    name: str
    when: Cond
    reset: Reset | None = None
    reset_gradient: str = "through"  # through | detached
    refractory: Refractory | None = None
    surrogate: Surrogate = Surrogate()
    gradient: str = "surrogate"  # surrogate | expected | reinforce
    axes: tuple[str, ...] = ()
    about: str = ""
    place: Place = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class NeuronSpec:
    """A whole declaration, after checks, inheritance and compat.

    `short_event` says that the text used `spike:`/`reset:`; `source` is the YAML file, if any.
    `compat` keeps the alternatives as plain mappings (what the YAML said), each checked when it is loaded.
    """

    name: str
    about: str = ""
    cite: tuple[str, ...] = ()
    dt: Quantity | None = None
    method: str | tuple[tuple[str, str], ...] = "auto"
    within_step: str = "saturate"
    inputs: tuple[InputDecl, ...] = ()
    states: tuple[StateDecl, ...] = ()  # every state, declared or not, in the order of its equation
    parameters: tuple[ParameterDecl, ...] = ()
    axes: tuple[AxisDecl, ...] = ()
    calculus: str = "ito"
    horizon: int | None = None
    noise: tuple[NoiseDecl, ...] = ()
    operators: tuple[tuple[str, str], ...] = ()
    equations: tuple[Equation, ...] = ()
    events: tuple[EventDecl, ...] = ()
    outputs: tuple[tuple[str, Expr], ...] = ()  # always filled: the default is made explicit
    checks: tuple[Cond, ...] = ()
    compat: tuple[tuple[str, object], ...] = ()
    short_event: bool = field(default=False, compare=False)
    source: str = field(default="", compare=False)
    places: tuple[tuple[str, Place], ...] = field(default=(), compare=False, repr=False)  # of the top-level keys

    def place_of(self, key: str) -> Place:
        """Where a top-level key stands; the file alone if it does not."""
        return dict(self.places).get(key, Place(self.source or "<model>"))
