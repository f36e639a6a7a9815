"""Expressions of a declaration in torch float64, read from their syntax trees: `gen_reference` without time.

Arrays are taken apart: a value is named by (name, indices).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import product
from typing import Any

import torch

from neuroode.expr.nodes import Binary, Call, Compare, Logic, Neg, Num, Ref
from neuroode.expr.units import scale_and_dimension
from neuroode.spec.types import NeuronSpec

Tensor = torch.Tensor
Key = tuple[str, tuple[int, ...]]
F64 = torch.float64


def _exprel(x: Tensor) -> Tensor:
    safe = torch.where(x.abs() < 1e-5, torch.ones_like(x), x)
    return torch.where(x.abs() < 1e-5, 1 + x / 2 + x * x / 6, torch.expm1(safe) / safe)


def _larger(a: Tensor, b: Tensor) -> Tensor:
    return torch.where(a > b, a, b)  # at a tie the gradient is the second's: relu(x) = max(x, 0) has none at 0


def _smaller(a: Tensor, b: Tensor) -> Tensor:
    return torch.where(a < b, a, b)


def _folded(f: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def fold(*args: Tensor) -> Tensor:
        total = args[0]
        for a in args[1:]:
            total = f(total, a)
        return total

    return fold


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "exp": torch.exp, "log": torch.log, "sqrt": torch.sqrt, "sin": torch.sin, "cos": torch.cos, "tan": torch.tan,
    "sinh": torch.sinh, "cosh": torch.cosh, "tanh": torch.tanh, "sigmoid": torch.sigmoid,
    "softplus": lambda x: torch.logaddexp(x, torch.zeros_like(x)), "relu": torch.relu, "erf": torch.erf,
    "abs": torch.abs, "sign": torch.sign, "floor": torch.floor, "ceil": torch.ceil, "round": torch.round,
    "real": torch.real, "imag": lambda x: x.imag if x.is_complex() else torch.zeros_like(x), "conj": torch.conj,
    "arg": torch.angle, "exprel": _exprel, "detach": lambda x: x.detach(),
    "straight_through": lambda a, b: (a - b).detach() + b,
    "clip": lambda x, lo, hi: _smaller(_larger(x, lo), hi), "min": _folded(_smaller), "max": _folded(_larger),
}  # fmt: skip


def number(x: Any) -> Tensor:
    return torch.tensor(x, dtype=torch.complex128 if isinstance(x, complex) else F64)


def scale(unit: str | None) -> float:
    return float(scale_and_dimension(unit)[0]) if unit else 1.0


@dataclass
class Expressions:
    """What an expression is worth in a step of one neuron.

    `values` are constrained, in declared units; a level's axes first, then index axes.

    `methods` says for each flow state how its time is stepped, and which states are stepped together.
    """

    spec: NeuronSpec
    dt: float
    values: Mapping[str, Tensor]
    size: tuple[int, ...]
    methods: tuple[tuple[tuple[Key, ...], str], ...]
    step: int = 0
    part: float = 0.0  # of the step that has passed, inside a flow
    kick: str | None = None  # the impulse input that acts, inside a flow
    instead: dict[Key, Tensor] = field(default_factory=dict)  # values that a slope is taken in
    now: dict[Any, Tensor] = field(default_factory=dict)
    past: dict[Key, list[Tensor]] = field(default_factory=dict)
    steps: int = 0  # of the run
    given: Mapping[str, Tensor] = field(default_factory=dict)
    nearest: float = float("inf")  # the smallest margin of an event or a comparison

    def __post_init__(self) -> None:
        spec = self.spec
        self.flows = {e.name + "'" * k: e for e in spec.equations if e.kind == "flow" for k in range(e.order)}
        self.maps = {e.name: e for e in spec.equations if e.kind == "map"}
        self.definitions = {e.name: e for e in spec.equations if e.kind == "definition"}
        self.inputs = {i.name: i for i in spec.inputs}
        self.noise = {n.name: n for n in spec.noise}
        self.parameters = {p.name: p for p in spec.parameters}
        self.events = {e.name: e for e in spec.events}
        self.declared = {s.name: s for s in spec.states}
        self.sizes = {a.name: a.size for a in spec.axes}
        self.complex = {s.name for s in spec.states if s.type == "complex"} | {
            e.name for e in spec.equations if e.complex
        }
        self.seconds = self.dt * scale(spec.dt.unit if spec.dt else None)

    # names and arrays

    def count(self, axis: str) -> int:
        found = self.sizes[axis]
        if found == "time":
            return self.steps
        return found if isinstance(found, int) else self.count(str(found))

    def axes_of(self, name: str) -> tuple[str, ...]:
        bare = name.rstrip("'")
        for table in (self.flows, self.maps, self.definitions, self.inputs, self.noise, self.events):
            if bare in table:
                return table[bare].axes
        return ()

    def keys(self, names: Any) -> list[Key]:
        return [(n, at) for n in names for at in product(*(range(self.count(a)) for a in self.axes_of(n)))]

    def array(self, name: str, read: Callable[[Key], Tensor]) -> Tensor:
        axes = self.axes_of(name)
        cells = [self.wide(read(k)) / self.unit(name) for k in self.keys([name])]
        return torch.stack(cells, -1).reshape(*self.lanes, *map(self.count, axes)) if axes else cells[0]

    def unit(self, name: str) -> float:
        for table in (self.declared, self.inputs, self.parameters):
            if name in table:
                return scale(table[name].unit)
        return 1.0

    def wide(self, value: Tensor) -> Tensor:
        return value.expand(self.lanes)

    def init(self, key: Key) -> Tensor:
        name, at = key
        decl = self.declared.get(name)
        value = number(0.0)
        if decl is not None and decl.init is not None:
            value = self.ev(decl.init, None, dict(zip(self.axes_of(name), at, strict=True)), inits=True)
        return value.to(torch.complex128) if name.rstrip("'") in self.complex else value

    def before(self, key: Key, lag: int) -> Tensor:
        """What step t - lag left or recorded; before the first step a state is its init, the others are 0."""
        record = self.past.get(key, [])
        if lag <= len(record):
            return record[-lag]
        is_state = key[0] in self.flows or key[0] in self.maps
        return self.wide(self.init(key)) if is_state else torch.zeros(self.lanes, dtype=F64)

    def memo(self, key: Any, make: Callable[[], Tensor]) -> Tensor:
        if key not in self.now:
            self.now[key] = make()
        return self.now[key]

    # expressions

    def ev(self, node: Any, running: dict[Key, Tensor] | None, at: dict[str, Any], inits: bool = False) -> Tensor:
        match node:
            case Num():
                value = float(node.value) * scale(node.unit)
                return number(value * 1j if node.imaginary else value)
            case Neg():
                return -self.ev(node.arg, running, at, inits)
            case Binary():
                return self.binary(node, running, at, inits)
            case Call():
                return self.call(node, running, at, inits)
            case Ref():
                return self.read(node, running, at, inits)
            case Compare():
                left, right = self.ev(node.left, running, at), self.ev(node.right, running, at)
                self.near(left - right)
                return _compare(node.op, left, right)
            case Logic():
                parts = [self.ev(a, running, at) for a in node.args]
                return (
                    ~parts[0] if node.op == "not" else parts[0] & parts[1] if node.op == "and" else parts[0] | parts[1]
                )
        raise TypeError(node)

    def binary(self, node: Binary, running: Any, at: dict[str, Any], inits: bool) -> Tensor:
        if node.op == "/" and node.right == Binary("-", Call("exp", (node.left,)), Num(Fraction(1))):
            return 1 / _exprel(self.ev(node.left, running, at, inits))  # x/(exp(x) - 1), section 7
        a = self.ev(node.left, running, at, inits)
        b = self.ev(node.right, running, at, inits)
        match node.op:
            case "+":
                return a + b
            case "-":
                return a - b
            case "*":
                return a * b
            case "/":
                return a / b
        return a ** int(b) if not b.is_complex() and not b.requires_grad and b.dim() == 0 and b == b.round() else a**b

    def call(self, node: Call, running: Any, at: dict[str, Any], inits: bool) -> Tensor:
        if node.name.startswith(("sum_", "mean_")):
            kind, axis = node.name.split("_", 1)
            rows = [self.ev(node.args[0], running, at | {axis: i}, inits) for i in range(self.count(axis))]
            return sum(rows[1:], rows[0]) / (len(rows) if kind == "mean" else 1)
        if node.name == "after":
            return self.after(self.key(node.args[0], at))
        if node.name in ("delay", "grad", "poly", "chebyshev"):
            return getattr(self, f"call_{node.name}")(node, running, at)
        args = [self.ev(a, running, at, inits) for a in node.args]
        if node.name == "where":
            return torch.where(args[0], args[1], args[2])
        return FUNCTIONS[node.name](*args)

    def call_delay(self, node: Call, running: Any, at: dict[str, Any]) -> Tensor:
        """x as it was, to the nearest step; a delayed impulse stays an impulse."""
        ref, lag = node.args[0], round(float(self.ev(node.args[1], None, at).detach()) / self.seconds)
        if lag == 0:
            return self.read(ref, running, at, False)
        silent = running is not None and ref.name in self.inputs and self.inputs[ref.name].kind != "current"
        if silent and self.kick != ref.name:
            return torch.zeros(self.lanes, dtype=F64)
        if ref.name in self.inputs and self.inputs[ref.name].hold == "linear" and running is not None:
            key = self.key(ref, at)
            return (1 - self.part) * self.before(key, lag + 1) + self.part * self.before(key, lag)
        return self.before(self.key(ref, at), lag)

    def call_grad(self, node: Call, running: Any, at: dict[str, Any]) -> Tensor:
        """dU/dq by autograd, everything else held."""
        key = self.key(node.args[1], at)
        q = self.read(node.args[1], running, at, False)
        leaf = q.detach().requires_grad_() if not q.requires_grad else q * 1
        self.instead = {key: leaf}
        U = self.wide(self.ev(node.args[0], running, at))
        self.instead = {}
        (slope,) = torch.autograd.grad(U.sum(), leaf, create_graph=True)
        return slope

    def coefficients(self, node: Call, at: dict[str, Any]) -> list[Tensor]:
        name = node.args[0].name
        axis = next(a for a in self.parameters[name].per if a in self.sizes)
        return [self.read(Ref(name, indices=(k,)), None, at, False) for k in range(self.count(axis))]

    def call_poly(self, node: Call, running: Any, at: dict[str, Any]) -> Tensor:
        x = self.ev(node.args[1], running, at)
        return sum((c * x**k for k, c in enumerate(self.coefficients(node, at))), torch.zeros((), dtype=F64))

    def call_chebyshev(self, node: Call, running: Any, at: dict[str, Any]) -> Tensor:
        x, total = self.ev(node.args[1], running, at), torch.zeros((), dtype=F64)
        a, b = torch.ones_like(x), x
        for c in self.coefficients(node, at):
            total, a, b = total + c * a, b, 2 * x * b - a
        return total

    def key(self, ref: Any, at: dict[str, Any]) -> Key:
        return ref.name + "'" * ref.primes, tuple(self.index(i, at) for i in ref.indices)

    def index(self, i: str | int, at: dict[str, Any]) -> int:
        return i if isinstance(i, int) else at[i]

    def read(self, node: Ref, running: dict[Key, Tensor] | None, at: dict[str, Any], inits: bool) -> Tensor:
        name = node.name + "'" * node.primes
        whole = [i for i in node.indices if self.sizes.get(i) == "time"]
        if whole and name not in self.parameters:
            now = replace(node, indices=tuple(i for i in node.indices if i not in whole))
            return self.elsewhere(at[whole[0]], lambda: self.read(now, None, at, inits))
        if name in at and not node.indices:
            return at[name] if isinstance(at[name], Tensor) else number(float(at[name]))
        if name in self.parameters:
            return self.parameter(node, at)
        own = any(name in t for t in (self.flows, self.maps, self.definitions, self.inputs, self.noise, self.events))
        fixed = {"pi": torch.pi, "i": 1j, "dt": self.seconds, "step": float(self.step)}
        fixed["t"] = (self.step + (1 if running is None else self.part)) * self.seconds
        if name in fixed and not own:
            return number(fixed[name])
        key = self.key(node, at)
        if key in self.instead and node.time is None:
            return self.instead[key]
        if inits:
            return self.init(key)
        lag = round(float(self.ev(node.time.lag, None, at))) if node.time else 0
        return self.present(key, node, running) if lag == 0 else self.before(key, lag)

    def elsewhere(self, step: int, read: Callable[[], Tensor]) -> Tensor:
        """A value of another step, which inputs alone decide."""
        kept = self.step, self.now, self.past
        rows = {k: self.given[k[0]][(slice(step), ..., *k[1])] for k in self.keys(self.inputs)}
        self.step, self.now, self.past = step, {}, {k: list(v) for k, v in rows.items()}
        found = read()
        self.step, self.now, self.past = kept
        return found

    def present(self, key: Key, node: Ref, running: dict[Key, Tensor] | None) -> Tensor:
        name = key[0]
        if name in self.definitions:
            return self.definition(key, running)
        if name in self.inputs:
            silent = running is not None and self.inputs[name].kind != "current" and self.kick != name
            if running is not None and self.inputs[name].hold == "linear" and node.time is None:
                return (1 - self.part) * self.before(key, 1) + self.part * self.input(key)
            return torch.zeros(self.lanes, dtype=F64) if silent else self.input(key)
        if name in self.noise:
            return self.input(key)
        if name in self.events:
            return self.event(key)
        if running is not None and name in self.flows and node.time is None:
            return running[key]
        return self.state(key)

    def parameter(self, node: Ref, at: dict[str, Any]) -> Tensor:
        p = self.parameters[node.name]
        value = self.values[node.name] * scale(p.unit)
        where = [self.index(i, at) for i in node.indices]
        where += [self.step] if node.time else []
        value = value[(..., *where)] if where else value
        if "channel" in p.per:
            value = value.reshape(-1, *([1] * (len(self.size) - 1)))
        return value


def _compare(op: str, a: Tensor, b: Tensor) -> Tensor:
    return {">": a > b, ">=": a >= b, "<": a < b, "<=": a <= b}[op]
