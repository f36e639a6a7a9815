"""The adjoint that runs back in time: states are not stored but integrated back, together with their cotangents.

With dy/dt = f(y, theta) the cotangent obeys dlambda/dt = -(df/dy)' lambda, and that of theta is the integral of
(df/dtheta)' lambda. A step is walked back from its end: through what follows the flow, back over the flow, through what
comes before it. Memory is that of inputs, outputs and their gradients, whatever the length, and of what no flow gives
back: the other parts of the carry (maps, lags, counters), and the states of the lanes in which something jumped.

Running back is unstable where running forward is stable: errors grow by exp(|rate| * time) (a leak of 20 ms loses 7
digits in 320 ms). So the state that the walk ends in is compared with the one that the call began in; `restart` stores
the states every so many steps and begins again from there.
Sources: Chen et al., Neural ordinary differential equations, NeurIPS 2018; Kidger, Chen and Lyons, "Hey, that's not an
ODE", ICML 2021, for the error control by states and their cotangents alone; Gholami, Keutzer and Biros, ANODE, IJCAI
2019, for the instability.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from neuroode._errors import RunError
from neuroode.nn.adjoints_torch import Gradients, Run, in_one, pulled_back
from neuroode.nn.pieces_torch import Moment, Row
from neuroode.nn.steps_torch import Call, Done, Step, lengths_of
from neuroode.program.pulled import pulled
from neuroode.program.types import Program
from neuroode.solvers.on_torch.flow_torch import worst_lane

Tensor = torch.Tensor
LOST = 1e-2  # of the states' size: from here on the gradient is that of another trajectory
HINT = "solver_options={'restart': 10} stores every tenth state; adjoint='checkpointed' needs none to run back"
_programs: dict[tuple[str, tuple[str, ...]], Program] = {}


def backsolve(
    step: Step, call: Call, carry: Sequence[Tensor], restart: int | None, report: Callable[[float], None]
) -> Run:
    """A sequence whose gradient runs back in time.

    Args:
        restart: every how many steps the states are stored; None: never.
        report: told how far the states at the end of the way back lie from where they were, relative to their size.
    """
    return in_one(_Back(step, restart, report), call, carry)


@dataclass
class _Kept:
    """What the flow does not give back.

    Attributes:
        others: by step, slots of the carry that are no flow states.
        states: by step, flow states before it, of the lanes (flat indices; None: all, to begin again from).
    """

    others: list[list[Tensor]] = field(default_factory=list)
    states: dict[int, tuple[Tensor | None, Tensor]] = field(default_factory=dict)


@dataclass(frozen=True)
class _Back:
    step: Step
    restart: int | None
    report: Callable[[float], None]

    def forward(self, call: Call, carry: list[Tensor]) -> tuple[list[Tensor], list[Tensor], _Kept]:
        kept, rows = _Kept(), []
        for t in range(call.steps):
            m = call.at(t, carry)
            done = self.step(m)
            self._keep(kept, t, m, done)
            rows.append(self.step.outputs(done))
            carry = done.after.carry
        return [torch.stack(column) for column in zip(*rows, strict=True)], carry, kept

    def _keep(self, kept: _Kept, t: int, m: Moment, done: Done) -> None:
        pieces = self.step.pieces
        kept.others.append([x for i, x in enumerate(m.carry) if i not in pieces.flow_slots])
        before = pieces.carried(m)
        after = torch.stack([done.after.carry[i] for i in pieces.flow_slots])
        jumped = ((before != done.start) | (after != done.end)).any(0)
        jumped = jumped if done.acted is None else jumped | done.acted
        at = jumped.flatten().nonzero()[:, 0]
        if pieces.reads_past or (self.restart and t % self.restart == 0 and t):
            kept.states[t] = (at if len(at) or pieces.reads_past else None, before.flatten(1))
        elif len(at):
            kept.states[t] = (at, before.flatten(1)[:, at])

    def backward(
        self, call: Call, kept: _Kept, ends: tuple[list[Tensor], list[Tensor]], g_outputs: Sequence[Tensor],
        into: Gradients,
    ) -> None:  # fmt: skip
        walk = _Walk(self.step, call, kept, g_outputs, into)
        walk.y = torch.stack([ends[1][i] for i in self.step.pieces.flow_slots])
        walk.compare(walk.y)
        for t in range(call.steps - 1, -1, -1):
            walk.back(t)
        walk.compare(torch.stack([ends[0][i] for i in self.step.pieces.flow_slots]))
        self.report(walk.gap())
        if not walk.gap() < LOST:
            what = f"backsolve lost the states on the way back: they came out {walk.gap():.1g} of their size away"
            raise RunError(what, hint=HINT)


class _Walk:
    """Back over a sequence; `y`: flow states after the step that is walked next."""

    y: Tensor

    def __init__(self, step: Step, call: Call, kept: _Kept, g_outputs: Sequence[Tensor], into: Gradients) -> None:
        self.step, self.call, self.kept, self.g_outputs, self.into = step, call, kept, g_outputs, into
        self.pieces = step.pieces
        self.size = self.off = 0.0

    def gap(self) -> float:
        return self.off / max(self.size, 1e-300)

    def compare(self, true: Tensor, lanes: Tensor | None = None) -> None:
        """Measure how far y is from what it was."""
        self.size = max(self.size, float(true.abs().amax()))
        y = self.y.flatten(1)
        off = (y if lanes is None else y[:, lanes]) - true.flatten(1)
        self.off = max(self.off, float(off.abs().nan_to_num(torch.inf).amax()) if off.numel() else 0.0)

    def back(self, t: int) -> None:
        """Over step t; the lanes in which something jumped go through autograd, and with them the whole step."""
        at, states = self.kept.states.get(t, (None, None))
        if at is None or not len(at):
            self._smooth(t)
            if states is not None:
                self.compare(states)
                self.y = states.reshape(self.y.shape)
            return
        if len(at) < self.y[0].numel() and states is not None and states.shape[1] == len(at):
            self._rewound(t, at, states)
        elif states is not None:
            self.y = states.reshape(self.y.shape)
        carry = self._carry(t, self.y)
        pulled_back(self.step, self.call, carry, self.g_outputs, self.into, (t, t + 1))

    def _carry(self, t: int, y: Tensor) -> list[Tensor]:
        others = iter(self.kept.others[t])
        slots = dict(zip(self.pieces.flow_slots, y.unbind(0), strict=True))
        return [slots[i] if i in slots else next(others) for i in range(len(self.into.carry))]

    def _rewound(self, t: int, at: Tensor, states: Tensor) -> None:
        """y before a step in which some lanes jumped: of those stored, of the others run back."""
        m = self.call.at(t, self._carry(t, self.y))
        moving = torch.ones(self.y[0].numel(), dtype=self.y.dtype, device=self.y.device)
        moving[at] = 0.0
        h = lengths_of(m) * moving.reshape(self.y[0].shape)
        known = self.pieces.known(m)
        y = self.step.solver(lambda s, y: -h * self.pieces.slope(m, known, y, 1 - s), self.y, m.length)
        y = y.flatten(1).clone()
        y[:, at] = states
        self.y = y.reshape(self.y.shape)

    # a step in which nothing jumped

    def _smooth(self, t: int) -> None:
        at = self.kept.states.get(t)
        exact = at[1].reshape(self.y.shape) if at is not None and self.pieces.reads_past else self.y
        m = self.call.at(t, self._carry(t, exact))
        g_end = self._through_end(t, m)
        known = {n: x.detach() for n, x in self.pieces.known(m).items()}
        before, g_start, g_early = self._over_flow(t, m, known, g_end)
        self.y = before
        self._through_start(t, replaced(m, self._carry(t, before)), g_start, g_early)

    def _through_end(self, t: int, m: Moment) -> Tensor:
        """The cotangent of y at the end of the flow; those of what else the end of the step reads go into `into`."""
        leaves, k, fresh = self._leaves(m)
        y = self.y.detach().requires_grad_()
        with torch.enable_grad():
            after = self.step.close(fresh, self.pieces.known(fresh), y)
        made = [*after.outputs, *after.carry]
        given = [*(g[t] for g in self.g_outputs[: len(after.outputs)]), *self.into.carry]
        rows = [(x, g) for x, g in zip(made, given, strict=True) if x.requires_grad]
        found = torch.autograd.grad([x for x, _ in rows], [y, *leaves], [g for _, g in rows], allow_unused=True)
        self._collect(t, found[1:], k, leaves)
        return torch.zeros_like(y) if found[0] is None else found[0]

    def _through_start(self, t: int, m: Moment, g: Tensor, g_early: Row) -> None:
        """From y when the flow begins to the carry."""
        held = self.into.carry
        leaves, k, fresh = self._leaves(m)
        with torch.enable_grad():
            known = self.pieces.known(fresh)
            made = [self.pieces.start(fresh, known), *(known[n] for n in g_early)]
        rows = [(x, g) for x, g in zip(made, [g, *g_early.values()], strict=True) if x.requires_grad]
        found = torch.autograd.grad([x for x, _ in rows], leaves, [g for _, g in rows], allow_unused=True)
        self._collect(t, found, k, leaves)
        self.into.carry = [a + b for a, b in zip(held, self.into.carry, strict=True)]

    def _leaves(self, m: Moment) -> tuple[list[Tensor], int, Moment]:
        """Coefficients, inputs and carry as leaves of a graph; how many the first two are; the moment of them."""
        leaves = [x.detach().requires_grad_() for x in (*m.coefficients, *m.inputs, *m.carry)]
        n, k = len(m.coefficients), len(m.coefficients) + len(m.inputs)
        return leaves, k, replaced(m, leaves[k:], leaves[:n], leaves[n:k])

    def _collect(self, t: int, found: Sequence[Tensor | None], k: int, leaves: list[Tensor]) -> None:
        self.into.add(self._of_steps(found[:k]), t, t + 1)
        self.into.carry = [torch.zeros_like(x) if g is None else g for x, g in zip(leaves[k:], found[k:], strict=True)]

    def _of_steps(self, found: Sequence[Tensor | None]) -> list[Tensor | None]:
        """Cotangents of what differs from step to step, as rows of one step."""
        return [g[None] if many and g is not None else g for g, many in zip(found, self.into.many, strict=True)]

    def _over_flow(self, t: int, m: Moment, known: Row, g: Tensor) -> tuple[Tensor, Tensor, Row]:
        """y and its cotangent when the flow began, and the cotangents of early events; the rest goes into `into`."""
        names, program = self._program(known)
        scale = g.abs().amax()
        scale = torch.where(scale > 0, scale, torch.ones_like(scale))  # the solver's atol knows states of size 1
        h, states = lengths_of(m), self.pieces.hybrid.states
        shapes = {n: self._shape(n, m) for n in names}

        def slope(s: Tensor, z: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            at = (1 - s).to(z[0].dtype)
            seeds = {f"g.{n}": x for n, x in zip(states, (h * z[1]).unbind(0), strict=True)}
            rows = self.pieces.evaluate(program, m, self.pieces.with_vector(known, z[0]) | seeds | {"fraction": at})
            more = (rows[f"by.{n.removeprefix('x.')}"].sum_to_size(shapes[n]) for n in names)
            return -h * self.pieces.vector(rows, "d"), self.pieces.vector(rows, "by.y"), *more

        zeros = [g.new_zeros(shapes[n]) for n in names]
        z = self.step.solver(slope, (self.y, g / scale, *zeros), m.length, norm=_states_only)
        return z[0], z[1] * scale, self._spread(t, dict(zip(names, (x * scale for x in z[2:]), strict=True)))

    def _program(self, known: Row) -> tuple[tuple[str, ...], Program]:
        """The field with its products, by what is trained or has a gradient."""
        whole, wanted = self.pieces.hybrid, []
        n = len(whole.whole.coefficients)
        for c, total in zip(whole.whole.coefficients, self.into.leaves[:n], strict=True):
            wanted += [c.name] if total is not None and c.trainable else []
        gradient = dict(zip(whole.whole.inputs, self.into.leaves[n:], strict=True))
        for name in whole.field.inputs:
            if name[:2] in ("c.", "e.") or gradient.get(name) is not None:
                wanted.append(f"x.{name}")
        key = whole.field.digest, tuple(wanted)
        if key not in _programs:
            _programs[key] = pulled(whole, key[1])
        return key[1], _programs[key]

    def _shape(self, name: str, m: Moment) -> torch.Size:
        """Of a cotangent: that of the coefficient, or a number a lane."""
        names = [c.name for c in self.pieces.hybrid.whole.coefficients]
        return m.lanes if name.startswith("x.") else m.coefficients[names.index(name)].shape

    def _spread(self, t: int, found: Row) -> Row:
        """Add cotangents to where they belong; those of early events are given back."""
        whole = self.pieces.hybrid.whole
        rows = [found.get(c.name) for c in whole.coefficients] + [found.get(f"x.{n}") for n in whole.inputs]
        self.into.add(self._of_steps(rows), t, t + 1)
        self.into.carry = [x + found[f"x.c.{s.name}"] if f"x.c.{s.name}" in found else x
                           for x, s in zip(self.into.carry, whole.carry, strict=True)]  # fmt: skip
        return {n[2:]: x for n, x in found.items() if n.startswith("x.e.")}


def replaced(m: Moment, carry: Sequence[Tensor], coefficients: Sequence[Tensor] | None = None,
             inputs: Sequence[Tensor] | None = None) -> Moment:  # fmt: skip
    """The same moment with other numbers."""
    return Moment(coefficients=m.coefficients if coefficients is None else coefficients, carry=carry,
                  inputs=m.inputs if inputs is None else inputs, h=m.h, live=m.live)  # fmt: skip


def _states_only(z: tuple[Tensor, ...]) -> Any:
    """Integrals along the way follow from states and cotangents; their errors need no steps of their own."""
    return torch.maximum(worst_lane(z[0]), worst_lane(z[1]))
