"""A second implementation of language.md, section 3: a declaration stepped by its syntax tree, in torch float64.

It shares the parser and nothing else with the compiler: no sympy, no program, no adjoint. Linear flows are solved by
the exponential of a matrix that is found by probing the right side, arrays are taken apart index by index, and
gradients are autograd's. Slow, and meant to be read beside the language's text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import product
from math import ceil
from typing import Any

import torch
from gen_expressions import F64, Expressions, Key, Tensor, number

from neuroode.expr.nodes import Call, Expr, Logic, Ref, children, walk
from neuroode.spec.types import EventDecl

# surrogates: height*shape(m/width), language.md section 7

SHAPES: dict[str, Callable[[Tensor], Tensor]] = {
    "fast_sigmoid": lambda x: (1 + x.abs()) ** -2,
    "sigmoid": lambda x: torch.cosh(x / 2) ** -2,
    "atan": lambda x: 1 / (1 + x * x),
    "triangle": lambda x: torch.relu(1 - x.abs()),
    "rectangle": lambda x: (x.abs() <= 1).to(F64),
    "gaussian": lambda x: torch.exp(-x * x / 2),
    "exponential": lambda x: torch.exp(-x.abs()),
    "straight_through": torch.ones_like,
    "none": torch.zeros_like,
}


def _lobes(kind: str, x: Tensor, h: Tensor, r: Tensor) -> list[tuple[Tensor, Tensor]]:
    """(weighted lobe, its radius) of the kinds made of Gaussians."""

    def g(c: float, radius: Tensor) -> Tensor:
        return torch.exp(-((x - c) ** 2) / (2 * radius**2))

    one = torch.ones_like(h)
    first = ((1 + h) * g(0, one), one)
    if kind == "double_gaussian":
        return [first, (-2 * h * g(0, r), r)]
    return [first, (-h * g(1, r), r), (-h * g(-1, r), r)]


class Reference(Expressions):
    """One neuron, step by step."""

    # the sequence

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Inputs (T, B, *size*, axes) in declared units -> after(x) of states, and events, (T, B, *size*, axes).

        `outputs` keeps what the layer returns, in the same shape.
        """
        first = next(iter(inputs.values()))
        self.steps = len(first)
        self.lanes = tuple(first.shape[1 : 2 + len(self.size)])
        self.given = {n: x * self.unit(n) for n, x in inputs.items()}
        self.left = {k: self.wide(self.init(k)) for k in self.keys([*self.flows, *self.maps])}
        self.resting: dict[Key, Tensor] = {}
        rows: dict[str, list[Tensor]] = {}
        outputs: dict[str, list[Tensor]] = {n: [] for n, _ in self.spec.outputs}
        for self.step in range(len(first)):
            self.now = {}
            for name, value in self.spec.outputs:
                unit = self.unit(value.name) if isinstance(value, Ref) else 1.0
                outputs[name].append(self.output(value) / unit)
            for name, value in self.finish().items():
                rows.setdefault(name, []).append(value)
        self.outputs = {n: torch.stack(v) for n, v in outputs.items()}
        return {n: torch.stack(v) for n, v in rows.items()}

    def finish(self) -> dict[str, Tensor]:
        """Everything of this step, then the records that the next ones read."""
        shown = {n: self.array(n, self.after) for n in [*self.flows, *self.maps]}
        shown |= {n: self.array(n, self.event) for n in self.events}
        left = {k: self.after(k) for k in self.left}
        recorded = {k: self.input(k) for k in self.keys(self.inputs)}
        recorded |= {k: self.event(k) for k in self.keys(self.events)}
        recorded |= {k: self.wide(self.definition(k, None)) for k in self.keys(self.definitions)}
        for k, v in (left | recorded).items():
            self.past.setdefault(k, []).append(v)
        self.left = left
        return shown

    def output(self, value: Expr) -> Tensor:
        names = list(dict.fromkeys(free_axes(value, self.sizes)))
        cells = [
            self.wide(self.ev(value, None, dict(zip(names, at, strict=True))))
            for at in product(*(range(self.count(n)) for n in names))
        ]
        return torch.stack(cells, -1).reshape(*self.lanes, *map(self.count, names)) if names else cells[0]

    # values of this step

    def input(self, key: Key) -> Tensor:
        return self.given[key[0]][(self.step, ..., *key[1])]

    def state(self, key: Key) -> Tensor:
        """x[t]: after flow or map, impulses and late resets."""
        if key[0] in self.flows:
            return self.memo(("[t]", key), lambda: self.late(key, self.flow()[key]))
        return self.memo(("[t]", key), lambda: self.late(key, self.moving(key, self.map(key), self.left[key])))

    def moving(self, key: Key, new: Tensor, rest: Tensor) -> Tensor:
        """`new`, or `rest` where a refractory time holds this state."""
        for e in self.events.values():
            if e.refractory and key[0] in e.refractory.hold:
                for passed in self.silenced(e, (e.name, key[1] if e.axes else ())):
                    new = torch.where(passed.detach() != 0, rest.to(new.dtype), new)
        return new

    def silenced(self, e: EventDecl, key: Key) -> list[Tensor]:
        """The event in the last ceil(duration/dt) steps."""
        steps = ceil(float(self.ev(e.refractory.duration, None, {})) / self.seconds - 1e-6) if e.refractory else 0
        return self.past.get(key, [])[-steps:] if steps else []

    def map(self, key: Key) -> Tensor:
        value = self.ev(self.maps[key[0]].rhs, None, dict(zip(self.axes_of(key[0]), key[1], strict=True)))
        return self.wide(value.to(torch.complex128) if key[0] in self.complex else value)

    def definition(self, key: Key, running: dict[Key, Tensor] | None) -> Tensor:
        axes = dict(zip(self.axes_of(key[0]), key[1], strict=True))
        return self.ev(self.definitions[key[0]].rhs, running, axes)

    def late(self, key: Key, value: Tensor) -> Tensor:
        for e in self.events.values():
            if e.reset and e.reset.when == "next_step":
                value = self.assigned(key, value, e, lambda k: self.before(k, 1), own=True)
        return value

    def after(self, key: Key) -> Tensor:
        value = self.state(key)
        for e in self.events.values():
            if e.reset and e.reset.when == "same_step":
                value = self.assigned(key, value, e, self.event, own=False)
        return value

    def assigned(
        self, key: Key, value: Tensor, e: EventDecl, signal: Callable[[Key], Tensor], own: bool
    ) -> Tensor:  # fmt: skip
        """x + e*(target - x) of every assignment of `e` to this state; the value is the target where e is 1."""
        for a in e.reset.do if e.reset else ():
            if a.name != key[0]:
                continue
            at = dict(zip(a.axes, key[1], strict=False))
            s = self.wide(signal((e.name, key[1] if e.axes else ())))
            s = s.detach() if e.reset_gradient == "detached" else s
            if own:  # inside a late reset the state's own name is its value so far
                self.now["[t]", key] = value
            found = self.ev(a.value, None, at)
            if own:
                del self.now["[t]", key]
            target = {"=": found, "+=": value + found, "-=": value - found, "*=": value * found}[a.op]
            slope = value + s * (target - value)
            exact = torch.where(s != 0, target.expand(self.lanes).to(slope.dtype), value.to(slope.dtype))
            value = exact.detach() + (slope - slope.detach())
        return value

    # events

    def event(self, key: Key) -> Tensor:
        return self.memo(key, lambda: self.fired(key))

    def fired(self, key: Key) -> Tensor:
        e = self.events[key[0]]
        value = self.test(e, e.when, dict(zip(e.axes, key[1], strict=True)))
        for passed in self.silenced(e, key):
            value = torch.where(passed.detach() != 0, torch.zeros_like(value), value)
        return value

    def test(self, e: EventDecl, c: Any, at: dict[str, int]) -> Tensor:
        if isinstance(c, Logic):
            parts = [self.test(e, a, at) for a in c.args]
            if c.op == "not":
                return 1 - parts[0]
            if c.op == "and":
                return parts[0] * parts[1]
            return 1 - (1 - parts[0]) * (1 - parts[1])
        left, right = self.ev(c.left, None, at), self.ev(c.right, None, at)
        unit = self.unit(c.left.name) if isinstance(c.left, Ref) else 1.0
        m = self.wide(left - right if c.op[0] == ">" else right - left) / unit
        hit = (m >= 0) if c.op[1:] else (m > 0)
        self.near(m)
        straight = m * self.slope(e, m.detach()).detach()
        if e.gradient == "expected":
            straight = self.probability(c, at)
        return hit.to(F64) + (straight - straight.detach())  # exactly 0 or 1

    def probability(self, c: Any, at: dict[str, int]) -> Tensor:
        """Of left > right, whose difference falls from m_0 to m_1 while the one uniform stream that it reads rises."""
        (stream,) = (k for k in self.keys(self.noise) if k[0] in {r.name for r in walk(c) if isinstance(r, Ref)})
        ends = []
        for u in (0.0, 1.0):
            self.instead = {**self.instead, stream: number(u)}
            ends.append(self.wide(self.ev(c.left, None, at) - self.ev(c.right, None, at)))
        self.instead = {k: v for k, v in self.instead.items() if k != stream}
        return (ends[0] / (ends[0] - ends[1])).clamp(0, 1)

    def near(self, m: Tensor) -> None:
        self.nearest = min(self.nearest, float(m.detach().abs().min()))

    def slope(self, e: EventDecl, m: Tensor) -> Tensor:
        s = e.surrogate
        if s.expression is not None:
            return self.wide(self.ev(s.expression, None, {"m": m}))
        o: dict[str, Any] = {"width": 0.5, "height": 1.0, "h": 0.15, "ratio": 6.0}
        o = {k: number(v) for k, v in o.items()}
        o |= {k: self.ev(v, None, {}) for k, v in s.options if not isinstance(v, bool)}
        x = m / o["width"]
        if s.kind in SHAPES:
            return o["height"] * SHAPES[s.kind](x)
        area = dict(s.options).get("normalised") is True
        rows = _lobes(s.kind, x, o["h"], o["ratio"])
        total = sum(g / ((2 * torch.pi) ** 0.5 * r * o["width"] if area else 1) for g, r in rows)
        return o["height"] * total

    # flows

    def flow(self) -> dict[Key, Tensor]:
        if "flow" not in self.now:
            keys = self.keys(self.flows)
            x = self.kicked({k: self.left[k] for k in keys}, "start")
            self.now["flow"] = self.kicked(self.moved(x), "end")  # type: ignore[assignment]
        return self.now["flow"]  # type: ignore[return-value]

    def rates(self, x: dict[Key, Tensor], keys: list[Key], kick: str | None = None) -> dict[Key, Tensor]:
        """dx/dt at the running values x; impulses are 0, but for that of the input `kick`."""
        self.kick = kick
        rows = {}
        for name, at in keys:
            e = self.flows[name]
            if name != e.name + "'" * (e.order - 1):
                rows[name, at] = x[name + "'", at]
            else:
                rows[name, at] = self.wide(self.ev(e.rhs, x, dict(zip(e.axes, at, strict=True))))
        return {k: self.moving(k, r, torch.zeros_like(r)) for k, r in rows.items()}

    def kicked(self, x: dict[Key, Tensor], at: str) -> dict[Key, Tensor]:
        """x with coefficient*I[t] added; the coefficients are taken before."""
        moved = dict(x)
        for i in self.inputs.values():
            if i.kind != "current" and i.at == at:
                self.part = 0.0 if at == "start" else 1.0
                off, on = self.rates(x, list(x)), self.rates(x, list(x), i.name)
                moved = {k: v + (on[k] - off[k]) for k, v in moved.items()}
        return moved

    def moved(self, x: dict[Key, Tensor]) -> dict[Key, Tensor]:
        new = dict(x)
        for keys, method in self.methods:
            self.part = 0.0
            new |= getattr(self, "by_" + method.partition("(")[0])(x, list(keys))
        return new

    def affine(self, x: dict[Key, Tensor], keys: list[Key]) -> tuple[Tensor, Tensor]:
        """A and u of dx/dt = A x + u in these states, found by probing; the others stand still."""
        zero = {k: torch.zeros_like(x[k]) for k in keys}
        u = self.rates(x | zero, keys)
        columns = []
        for k in keys:
            at = self.rates(x | zero | {k: torch.ones_like(x[k])}, keys)
            columns.append(torch.stack([at[j] - u[j] for j in keys], -1))
        return torch.stack(columns, -1), torch.stack([u[k] for k in keys], -1)

    def driven(self, x: dict[Key, Tensor], keys: list[Key]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """A, u at the start and at the end of the step (inputs may be held linearly), and x, as arrays."""
        A, first = self.affine(x, keys)
        self.part = 1.0
        last = self.affine(x, keys)[1]
        self.part = 0.0
        kind = torch.promote_types(A.dtype, torch.promote_types(first.dtype, x[keys[0]].dtype))
        return A.to(kind), first.to(kind), last.to(kind), torch.stack([x[k] for k in keys], -1).to(kind)

    def by_exact(self, x: dict[Key, Tensor], keys: list[Key], held: bool = False) -> dict[Key, Tensor]:
        """x' = A x + u + (w - u) s, s' = 1/h, as one exponential."""
        if len(keys) == 1 and not held and (bend := self.bend(x, keys[0])).abs().max() > 1e-9:
            return {keys[0]: self.by_riccati(x, keys[0], bend)}
        A, u, w, start = self.driven(x, keys)
        w = u if held else w
        n, h = len(keys), self.seconds
        top = torch.cat([A * h, (w - u)[..., None] * h, u[..., None] * h], -1)
        ramp = top.new_zeros(*top.shape[:-2], 2, n + 2)
        ramp[..., 0, n + 1] = 1
        E = torch.linalg.matrix_exp(torch.cat([top, ramp], -2))
        end = (E[..., :n, :n] @ start[..., None])[..., 0] + E[..., :n, n + 1]
        return {k: end[..., j].to(x[k].dtype) for j, k in enumerate(keys)}

    def bend(self, x: dict[Key, Tensor], key: Key) -> Tensor:
        """A of x' = A x^2 + B x + C, by probing; 0 for complex states."""
        if x[key].is_complex():
            return torch.zeros(())
        at = [self.rates(x | {key: torch.full_like(x[key], v)}, [key])[key] for v in (-1.0, 0.0, 1.0)]
        return (at[0] + at[2]) / 2 - at[1]

    def by_riccati(self, x: dict[Key, Tensor], key: Key, A: Tensor) -> Tensor:
        """x = y/z with y' = B/2 y + C z, z' = -A y - B/2 z, as one exponential."""
        C, up = (self.rates(x | {key: torch.full_like(x[key], v)}, [key])[key] for v in (0.0, 1.0))
        B = up - C - A
        rows = [torch.stack([B / 2, C], -1), torch.stack([-A, -B / 2], -1)]
        E = torch.linalg.matrix_exp(torch.stack(rows, -2) * self.seconds)
        y, z = (E[..., i, 0] * x[key] + E[..., i, 1] for i in (0, 1))
        return y / z

    def by_bilinear(self, x: dict[Key, Tensor], keys: list[Key]) -> dict[Key, Tensor]:
        A, u, w, start = self.driven(x, keys)
        half, one = A * (self.seconds / 2), torch.eye(len(keys), dtype=A.dtype)
        right = (one + half) @ start[..., None] + self.seconds * ((u + w) / 2)[..., None]
        end = torch.linalg.solve(one - half, right)[..., 0]
        return {k: end[..., j].to(x[k].dtype) for j, k in enumerate(keys)}

    def by_exp_euler(self, x: dict[Key, Tensor], keys: list[Key]) -> dict[Key, Tensor]:
        return {k: v for key in keys for k, v in self.by_exact(x, [key], held=True).items()}

    def by_euler(self, x: dict[Key, Tensor], keys: list[Key]) -> dict[Key, Tensor]:
        slopes = self.rates(x, keys)
        return {k: x[k] + self.seconds * slopes[k] for k in keys}

    def by_semi_implicit(self, x: dict[Key, Tensor], keys: list[Key]) -> dict[Key, Tensor]:
        new = dict(x)
        for k in keys:
            new[k] = x[k] + self.seconds * self.rates(new, [k])[k]
        return {k: new[k] for k in keys}

    def by_heun(self, x: dict[Key, Tensor], keys: list[Key]) -> dict[Key, Tensor]:
        h, a = self.seconds, self.rates(x, keys)
        self.part = 1.0
        b = self.rates(x | {k: x[k] + h * a[k] for k in keys}, keys)
        return {k: x[k] + h / 2 * (a[k] + b[k]) for k in keys}

    def by_rk4(self, x: dict[Key, Tensor], keys: list[Key]) -> dict[Key, Tensor]:
        h, rows = self.seconds, [self.rates(x, keys)]
        for self.part in (0.5, 0.5, 1.0):
            rows.append(self.rates(x | {k: x[k] + self.part * h * rows[-1][k] for k in keys}, keys))
        a, b, c, d = rows
        return {k: x[k] + h / 6 * (a[k] + 2 * b[k] + 2 * c[k] + d[k]) for k in keys}


def free_axes(node: Any, sizes: Mapping[str, Any]) -> list[str]:
    """Axes of an output: those that its expression names and does not sum over."""
    if isinstance(node, Call) and node.name.startswith(("sum_", "mean_")):
        return [a for a in free_axes(node.args[0], sizes) if a != node.name.split("_", 1)[1]]
    own = [i for i in node.indices if i in sizes] if isinstance(node, Ref) else []
    own += [node.name] if isinstance(node, Ref) and node.name in sizes else []
    return own + [a for c in children(node) for a in free_axes(c, sizes)]
