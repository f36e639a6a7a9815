"""The language-neutral program: SSA over real numbers, two pieces (prologue, body), defined by the numpy interpreter.

Names. A value is named once. Values that nothing assigns come from outside:

- `p.NAME`     a parameter in constrained form (a complex one is two: `p.NAME.re`, `p.NAME.im`), and `dt`
- `c.NAME`     the carry before the step: states (`c.v`, `c.u.re`), past values (`c.I[t-1]`), counters
- `x.NAME`     an input of the step
- `%7`         an assigned value

The prologue reads parameters, `dt` and its own values; it runs once per call. The body reads also the carry and the
inputs; it runs once per step. What the body reads of the prologue (or of parameters) are the *coefficients*.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from neuroode.expr.alike import listed, said_once

#: op -> number of arguments (None: any). Comparisons give 0.0 or 1.0.
OPS: dict[str, int | None] = {
    "const": 0,  # value
    "add": 2, "sub": 2, "mul": 2, "div": 2, "neg": 1, "pow": 2,
    "ipow": 1,  # value: whole exponent, may be negative
    "exp": 1, "expm1": 1, "log": 1, "log1p": 1, "sqrt": 1, "sin": 1, "cos": 1, "tan": 1, "atan2": 2,
    "sinh": 1, "cosh": 1, "tanh": 1, "sigmoid": 1, "softplus": 1, "erf": 1, "abs": 1, "sign": 1,
    "floor": 1, "ceil": 1, "round": 1, "min": 2, "max": 2,
    "gt": 2, "ge": 2, "where": 3,  # where(condition, if nonzero, otherwise)
    "phi": 1,  # value k >= 1: phi_1 = (e^z - 1)/z, phi_{k+1} = (phi_k - 1/k!)/z, real z
    "cphi_re": 2, "cphi_im": 2,  # value k: real and imaginary part of phi_k(a + i b)
    "pair": 2,  # value (k, part) at (m, d): phi_k(m + j) = C + S j, j^2 = d; part C, S, T = dS/dd, U = dC/dm, V = dS/dm
    "edd": None,  # divided difference of exp at 2 to 5 real nodes; symmetric; edd(a, a) = e^a
    "expm": None,  # value (n, i, j): entry i, j of the exponential of the n x n matrix given row by row
    "operator": 1,  # value: its name; a function of all neurons of a sample, so lanes are not independent; body only
    "network": None,  # value (name, entry): an operator of all elements of an axis; entry of its gradient, else None
    "event": 1,  # value: name of the EventSlot; 1.0 where the margin passes, 0.0 elsewhere
    "detach": 1,  # the value, without gradient
    "reset": 3,  # reset(e, target, x): target where e is not 0, else x; its gradient is that of x + e*(target - x)
}  # fmt: skip

#: the input of a neuron that declares none: nothing reads it, its shape says how many steps and lanes there are
CLOCK = "(clock)"

#: how many numbers a value stands for, smallest first; a value has the largest level of what it reads
LEVELS = ("layer", "channel", "neuron", "lane")


@dataclass(frozen=True, slots=True)
class Assign:
    """`name = op(args)`; `value` is the immediate of const, ipow, phi, cphi_*, pair, expm, event, operator, network."""

    name: str
    op: str
    args: tuple[str, ...] = ()
    value: object = None


@dataclass(frozen=True, slots=True)
class ParamSlot:
    """One real array of parameters; `level` layer, channel or neuron, `source` declared name, `part` re, im or ''."""

    name: str
    source: str
    part: str
    level: str
    trainable: bool


@dataclass(frozen=True, slots=True)
class CarrySlot:
    """One real number per lane that the next step reads. `init` names a prologue value (or parameter)."""

    name: str
    init: str


@dataclass(frozen=True, slots=True)
class EventSlot:
    """A comparison. 1 where margin > 0 (`strict`) or >= 0.

    `slope` computes the surrogate's derivative at the margin: assigns that end in the value `slope_id`, evaluated only
    by the adjoint; they read the margin and prologue values.
    """

    name: str
    margin: str
    strict: bool
    slope: tuple[Assign, ...]
    slope_id: str


@dataclass(frozen=True, slots=True)
class Coefficient:
    """A prologue value or parameter that the body or a slope reads. `trainable`: it depends on a trainable one."""

    name: str
    level: str
    trainable: bool


@dataclass(frozen=True, slots=True)
class PlanRow:
    """One part of a step: its kind, its states (or its event), how it is run over time, why, and what a step costs.

    Kinds: linear, spiking (linear once its spikes are known), nonlinear, window (past values), event, whole (all).
    """

    component: str
    states: tuple[str, ...]
    schedule: str
    reason: str
    cost: str


def _line(row: PlanRow) -> str:
    names = f"{row.states[0]} ... {row.states[-1]}" if row.component == "window" and row.states[2:] else None
    what = " ".join(x for x in (row.component, names or listed(row.states)) if x)
    return f"{what}: {row.schedule}; {row.reason}" + (f" ({row.cost})" if row.cost else "")


@dataclass(frozen=True, slots=True)
class Plan:
    rows: tuple[PlanRow, ...] = ()

    def __str__(self) -> str:
        if not self.rows:
            return "no dynamics: pointwise"
        return "\n".join(said_once(map(_line, self.rows)))

    def to_json(self) -> list[dict[str, object]]:
        names = ("component", "states", "schedule", "reason", "cost")
        return [{n: list(v) if isinstance(v := getattr(r, n), tuple) else v for n in names} for r in self.rows]


#: what a noise stream holds: uniform in (0, 1), standard normal, or a Wiener increment over the step, N(0, dt)
NOISES = ("uniform", "normal", "wiener")


@dataclass(frozen=True, slots=True)
class Noise:
    """An input that the call draws: one number a step and lane, fixed by seed, name, step, sample and lane."""

    name: str
    kind: str  # one of NOISES


@dataclass(frozen=True, slots=True)
class SequenceSum:
    """An input that is known before the first step: the sum over tau of weight(tau, t)*value(tau), for every t.

    `weight` and `value` are programs without carry and with one output. Inputs of the weight, (tau, t, *level*): `#tau`
    and `#step`, tables at t, parameters over the sequence. Inputs of the value, (tau, B, *size*): those of the neuron
    (`x@2` is x two steps before tau), `#tau`, tables at tau, parameters over the sequence, sums before this one.
    """

    name: str
    weight: Program
    value: Program


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One step of one neuron, and what surrounds it.

    Attributes:
        inputs: names of inputs, in order: those of a call, noise, tables, sums; the body reads `x.NAME`.
        noise: those of the inputs that are random numbers, fresh each step (`solvers/on_numpy/random.py`).
        operators: (name, kind) of the functions across neurons that the body calls: external, dense, network (external,
            of all elements of an axis), and `grad NAME` of the kind gradient.
        tables: those of the inputs that are parameters over time: row `step` of each, (T, *level*) for all samples.
        sums: those of the inputs that are sums over the whole sequence, each after what it reads.
        outputs: (name, value) that the layer returns, in order.
        next: (carry name, value) for every slot of `carry`, in that order.
        trace: (name, value) recorded by `trace`: after(x) of each state part, events, definitions.
        start: where initial values of states are drawn, a program of one step without carry whose outputs are those
            carry slots by name, its noise their draws; the inits of `carry` are then the middle of each draw.
        located: events that lie at a time inside the step (`within_step: locate`); the trace has `NAME.time`.
        digest: of everything above; equal programs have equal digests.
    """

    name: str
    inputs: tuple[str, ...]
    parameters: tuple[ParamSlot, ...]
    carry: tuple[CarrySlot, ...]
    prologue: tuple[Assign, ...]
    body: tuple[Assign, ...]
    events: tuple[EventSlot, ...]
    coefficients: tuple[Coefficient, ...]
    outputs: tuple[tuple[str, str], ...]
    next: tuple[tuple[str, str], ...]
    trace: tuple[tuple[str, str], ...]
    noise: tuple[Noise, ...] = ()
    tables: tuple[str, ...] = ()
    sums: tuple[SequenceSum, ...] = ()
    operators: tuple[tuple[str, str], ...] = ()
    located: tuple[str, ...] = ()
    start: Program | None = None
    digest: str = ""
    plan: Plan = field(default=Plan(), compare=False, repr=False)

    @property
    def given(self) -> tuple[str, ...]:
        """The inputs that a call passes: the declared ones, or the clock."""
        return self.fed[: len(self.fed) - len(self.noise) - len(self.tables)]

    @property
    def fed(self) -> tuple[str, ...]:
        """The inputs of a stand-alone source: all but the sums, which it computes."""
        return self.inputs[: len(self.inputs) - len(self.sums)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Adjoint:
    """The reverse of one body: reads what the body reads, `e.NAME` (the event bits that the forward step found), and
    cotangents `g.out.NAME` (of outputs) and `g.next.NAME` (of the carry after the step).

    `assigns` starts with the forward values that the reverse needs (with `event` ops gone: they are `e.NAME`), then the
    reverse itself. `carry`, `inputs`, `coefficients` give, by name without prefix for carry and input and by full name
    for coefficients, the value that holds the cotangent; a name that is absent has none (zero).
    """

    assigns: tuple[Assign, ...]
    carry: tuple[tuple[str, str], ...]
    inputs: tuple[tuple[str, str], ...]
    coefficients: tuple[tuple[str, str], ...]
