"""Runs over whole sequences, stage by stage: solve without a gradient, then linearize at the solution.

A stage is s[t] = f(s[t-1], x[t]). Whatever found its trajectory, the cotangents follow
lambda[t] = g[t] + J[t+1]' lambda[t+1], a linear scan in reverse with the Jacobian of f at the trajectory; what lambda
does to inputs and parameters is pointwise in t. So every neuron, however nonlinear, has a parallel backward pass.
Source: the adjoint of a discrete system, Griewank and Walther, Evaluating Derivatives (2008), ch. 3; solving and
linearizing apart, Lim et al., ICLR 2024.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from neuroode._errors import Unsupported, readable
from neuroode.nn import eager_torch, scans_torch
from neuroode.nn.eager_torch import eager_program
from neuroode.nn.loops_torch import loop
from neuroode.nn.native_torch import refuse_transforms
from neuroode.nn.newton_torch import Problem, newton
from neuroode.nn.once_torch import once
from neuroode.nn.vmap_torch import is_mapped
from neuroode.program.collapse import Collapse
from neuroode.program.partition import Parts, Stage, partition
from neuroode.program.types import CLOCK, Program
from neuroode.solvers.on_torch import convolution_torch

Tensor = torch.Tensor
Row = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class ParallelRun:
    """Outputs (T, B, *size*), the carry (B, *size*) after each sample's last step, newton's iterations by states."""

    outputs: list[Tensor]
    carry: list[Tensor]
    iterations: dict[str, int]


def run(
    program: Program, coefficients: Sequence[Tensor], inputs: Sequence[Tensor], carry: Sequence[Tensor],
    *, lengths: Tensor | None = None, schedule: str = "scan",
) -> ParallelRun:  # fmt: skip
    """Run over T steps.

    Args:
        coefficients: broadcast against *size*. inputs: (T, B, *size*) each. carry: (B, *size*) each.
        lengths: (B,) steps of each sample; afterwards outputs are 0.
        schedule: scan, fft (invariant stages as convolutions) or newton (loops by iteration).
    """
    every = [*coefficients, *inputs, *carry]
    refuse_transforms(every)
    if is_mapped(every):
        what = f"schedule '{schedule}' knows no torch.func.vmap: its batch is the second axis of x"
        raise Unsupported(what, hint="choose auto or eager, which fold the mapped axis in")
    if not inputs[0].numel():  # no step, or no sample: shapes, and the graph to the parameters
        found = eager_torch.run(program, list(coefficients), list(inputs), list(carry), lengths=lengths)
        return ParallelRun(found.outputs, found.carry, {})
    given = dict(zip(program.inputs, held(inputs, lengths), strict=True))
    start = dict(zip((s.name for s in program.carry), carry, strict=True))
    collapsed = schedule == "fft" and lengths is None  # the states of samples that end early are needed
    sweep = _Sweep(partition(program, collapsed), tuple(coefficients), given, start, lengths, schedule)
    for stage in sweep.parts.stages:
        sweep.solve(stage)
    return ParallelRun(sweep.outputs(program), [sweep.after[s.name] for s in program.carry], sweep.iterations)


def run_chosen(program: Program, *given: Sequence[Tensor], lengths: Tensor | None, schedule: str) -> ParallelRun:
    """`run` where the cost model chose: it knows no numbers, so where a transform would lose digits, a scan runs."""
    try:
        return run(program, *given, lengths=lengths, schedule=schedule)
    except convolution_torch.Growth:
        return run(program, *given, lengths=lengths, schedule="scan")


@dataclass
class _Sweep:
    """What is known so far: sequences (T, B, *size*) by name, the carry after the last step."""

    parts: Parts
    coefficients: tuple[Tensor, ...]
    known: Row
    start: Row
    lengths: Tensor | None
    schedule: str
    after: Row = field(default_factory=dict)
    iterations: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.shape = next(iter(self.known.values())).shape
        if CLOCK not in self.known:
            self.known[CLOCK] = next(iter(self.known.values())).new_zeros(()).expand(self.shape)

    def solve(self, stage: Stage) -> None:
        """Add what a stage finds."""
        if stage.collapse is not None:
            self._collapsed(stage, stage.collapse)
        else:
            by_kind = {"event": self._event, "delay": self._delay}
            by_kind.get(stage.kind, self._recurrence)(stage)

    def outputs(self, program: Program) -> list[Tensor]:
        rows = self._evaluate(self.parts.outputs, self.known)
        return [self._masked(rows[n]) for n, _ in program.outputs]

    def _event(self, stage: Stage) -> None:
        self.known |= self._evaluate(stage.step, self.known)

    def _delay(self, stage: Stage) -> None:
        """One line of memory: what was before the first step, oldest first, then the sequence."""
        slots = stage.slots
        newest = self._evaluate(stage.step, self.known)[f"n.{slots[0]}"]
        line = torch.cat([torch.stack([self.start[s] for s in reversed(slots)]), newest])
        steps, depth = self.shape[0], len(slots)
        for k, slot in enumerate(slots):
            own = line[depth - 1 - k : depth - k + steps]
            self.known[f"c.{slot}"] = self._before(own)
            self.after[slot] = self._last(own)
        self.known[f"n.{slots[0]}"] = newest

    def _collapsed(self, stage: Stage, what: Collapse) -> None:
        """Readings by one convolution each; the states themselves are known after the last step only."""
        size = self.shape[2:]
        branches = scans_torch.Branches(stage, size)
        gain = branches.numbers(self._evaluate(what.gains, self.known, wide=False), "g.")
        factor = branches.factors(list(self._evaluate(stage.matrix, self.known, wide=False).values()))
        weights = self._evaluate(what.weights, self.known, wide=False)
        signal = self._evaluate(what.signal, self.known)["u"]
        start = branches.states([self.start[s] for s in stage.slots])
        for i, name in enumerate(what.readings.values()):
            reading = branches.numbers(weights, f"C.{i}.").conj()
            self.known[name], last = convolution_torch.collapsed(reading, gain, factor, signal, start)
        self.after |= dict(zip(stage.slots, branches.apart(last), strict=True))

    def _recurrence(self, stage: Stage) -> None:
        with torch.no_grad():
            found, bits = self._solution(stage)
        rows = found
        if torch.is_grad_enabled():
            rows = self._linearized(stage, found, bits)
        for slot, row in zip(stage.slots, rows, strict=True):
            line = torch.cat([self.start[slot][None], row])
            self.known |= {f"n.{slot}": self._behind(line), f"c.{slot}": self._before(line)}
            self.after[slot] = self._last(line)
        if stage.spikes is not None:
            self.known |= self._evaluate(stage.spikes, self.known | bits) if torch.is_grad_enabled() else bits

    def _solution(self, stage: Stage) -> tuple[list[Tensor], Row]:
        """The trajectory of each slot after each step, and the bits of the stage's own events; no gradient."""
        start = [self.start[s].detach() for s in stage.slots]
        if stage.kind == "affine":
            matrix, drive = self._entries(stage.matrix), self._rows(stage.drive)
            solve = scans_torch.convolve if self._by_transform(stage) else scans_torch.scan
            return [self._masked(x) for x in solve(stage, matrix, drive, start)], {}
        if stage.kind == "moebius":
            return [self._masked(scans_torch.moebius(self._entries(stage.matrix), start[0], self.shape))], {}
        if self.schedule == "newton":
            rows, bits = self._by_newton(stage, start)
            if rows is not None:
                return rows, bits
        given = [self.known[n].detach() for n in stage.once.inputs]
        return loop(stage.once, self.coefficients, given, start, self.lengths)

    def _by_newton(self, stage: Stage, start: list[Tensor]) -> tuple[list[Tensor] | None, Row]:
        known = self._detached()

        def step(before: Sequence[Tensor]) -> tuple[list[Tensor], Row]:
            rows = self._evaluate(stage.once, known, carry=before)
            return [rows.pop(f"n.{s}") for s in stage.slots], rows

        def slopes(before: Sequence[Tensor], bits: Row) -> list[Tensor]:
            own = {f"c.{s}": x for s, x in zip(stage.slots, before, strict=True)}
            return self._entries(stage.matrix, known | bits | own)

        def solve(*parts: Sequence[Tensor]) -> list[Tensor]:
            return scans_torch.scan(stage, *parts)

        name = readable(", ".join(stage.states))
        problem = Problem(name, start, self.shape, step, slopes, solve, self._masked)
        found, bits, self.iterations[name] = newton(problem)
        return found, bits

    def _by_transform(self, stage: Stage) -> bool:
        return self.schedule == "fft" and stage.invariant

    def _linearized(self, stage: Stage, found: list[Tensor], bits: Row) -> list[Tensor]:
        """The trajectory with its gradient."""
        fixed = self._around(stage, found, bits)
        rows = self._evaluate(stage.step, fixed)
        with torch.no_grad():
            slopes = self._entries(stage.jacobian, {n: x.detach() for n, x in fixed.items()})
        return list(
            _Trajectory.apply((stage, self._by_transform(stage)), slopes, found, *(rows[f"n.{s}"] for s in stage.slots))
        )

    def _around(self, stage: Stage, found: list[Tensor], bits: Row) -> Row:
        """What the pointwise step reads: its own states before each step; only the first has a gradient from here."""
        lines = {s: torch.cat([self.start[s][None], x]) for s, x in zip(stage.slots, found, strict=True)}
        return self.known | bits | {f"c.{s}": self._before(line) for s, line in lines.items()}

    def _entries(self, program: Program | None, known: Row | None = None) -> list[Tensor]:
        return list(self._evaluate(program, known or self._detached(), wide=False).values())

    def _rows(self, program: Program | None) -> list[Tensor]:
        return list(self._evaluate(program, self._detached()).values())

    def _detached(self) -> Row:
        return {n: x.detach() for n, x in self.known.items()}

    def _evaluate(
        self, program: Program | None, known: Mapping[str, Tensor], wide: bool = True, carry: Sequence[Tensor] = ()
    ) -> Row:
        """The outputs of a program for all steps at once, from the states before each of them."""
        assert program is not None
        inputs = tuple(known[n] for n in program.inputs)
        rows, _, _ = eager_program(program).step(self.coefficients, tuple(carry), inputs)
        named = zip((n for n, _ in program.outputs), rows, strict=True)
        return {n: x.expand(self.shape) if wide and x.shape != self.shape else x for n, x in named}

    def _before(self, line: Tensor) -> Tensor:
        """From (T + 1, ...), the entry before each step; behind a sample's end that of its last step again.

        So whatever is computed there is what a valid step computed, and a gradient of 0 meets no infinite slope.
        """
        if self.lengths is None:
            return line[:-1]
        return self._gathered(line, torch.minimum(self._steps(), (self.lengths - 1).clamp_min(0)))

    def _behind(self, line: Tensor) -> Tensor:
        """The same of the entry after each step."""
        if self.lengths is None:
            return line[1:]
        return self._gathered(line, torch.minimum(self._steps() + 1, self.lengths))

    def _last(self, line: Tensor) -> Tensor:
        """From (T + 1, ...), the entry after the last step of each sample."""
        return line[-1] if self.lengths is None else self._gathered(line, self.lengths[None])[0]

    def _steps(self) -> Tensor:
        return torch.arange(self.shape[0], device=next(iter(self.known.values())).device)[:, None]

    def _gathered(self, line: Tensor, at: Tensor) -> Tensor:
        """Entries by index (steps, B)."""
        wide = at.reshape(*at.shape, *([1] * (line.dim() - 2)))
        return line.gather(0, wide.expand(len(at), *line.shape[1:]))

    def _masked(self, row: Tensor) -> Tensor:
        return row if self.lengths is None else torch.where(_live(self.lengths, self.shape), row, row.new_zeros(()))


class _Trajectory(torch.autograd.Function):
    """The value of a solution; its gradient goes to the right sides of the steps, through the adjoint recurrence."""

    @staticmethod
    def forward(
        ctx: Any, how: tuple[Stage, bool], slopes: list[Tensor], found: list[Tensor], *rows: Tensor
    ) -> tuple[Tensor, ...]:  # type: ignore[override]
        ctx.how = how
        ctx.save_for_backward(*slopes)
        return tuple(x.clone() if any(x is r for r in rows) else x for x in found)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple:
        slopes = ctx.saved_tensors
        with torch.no_grad():
            stage, by_transform = ctx.how
            found: list[Tensor | None] = list(
                scans_torch.adjoint(stage, list(slopes), [g.contiguous() for g in grads], by_transform)
            )
        return None, None, None, *once(found, (*slopes, *grads))


def _live(lengths: Tensor, shape: torch.Size) -> Tensor:
    steps = torch.arange(shape[0], device=lengths.device)[:, None]
    return (lengths > steps).reshape(*shape[:2], *([1] * (len(shape) - 2)))


def held(inputs: Sequence[Tensor], lengths: Tensor | None) -> list[Tensor]:
    """Inputs whose padding holds the last valid step: nothing of it enters, not even 0*nan."""
    if lengths is None:
        return list(inputs)
    shape = inputs[0].shape
    at = torch.minimum(torch.arange(shape[0], device=lengths.device)[:, None], (lengths - 1).clamp_min(0))
    at = at.reshape(*shape[:2], *([1] * (len(shape) - 2)))
    empty = (lengths == 0).reshape(1, -1, *([1] * (len(shape) - 2)))
    return [torch.where(empty, x.new_zeros(()), x.gather(0, at.expand(x.shape))) for x in inputs]
