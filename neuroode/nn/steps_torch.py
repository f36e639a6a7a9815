"""Steps of a solver layer, one after the other: what a call gives them, what they leave."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from neuroode.nn.eager_torch import at_step
from neuroode.nn.events_torch import Locating, located
from neuroode.nn.noisy_torch import Waves
from neuroode.nn.pieces_torch import After, Moment, Pieces, Row, signals_of
from neuroode.solvers.on_torch.flow_torch import Solver

Tensor = torch.Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A sequence.

    Attributes:
        coefficients: broadcast against (B, *size*); those that differ from step to step (T, B or 1, *size*).
        inputs: (T, B, *size*) each; behind a sample's end they hold what its last step read.
        h: length of the steps, a number or (T, B or 1, 1, ...).
        lengths: (B,) steps of each sample.
    """

    coefficients: Sequence[Tensor]
    inputs: Sequence[Tensor]
    h: Any
    lengths: Tensor | None = None

    @property
    def steps(self) -> int:
        return self.inputs[0].shape[0]

    def at(self, t: int, carry: Sequence[Tensor]) -> Moment:
        """What step t is given."""
        rows = at_step(self.coefficients, t, self.inputs[0])
        h, inputs = self.length_at(t), [x[t] for x in self.inputs]
        return Moment(coefficients=rows, carry=carry, inputs=inputs, h=h, live=self.live_at(t))

    def part(self, first: int, last: int) -> Call:
        """Some of the steps."""
        wide = self.inputs[0].dim()
        coefficients = [c[first:last] if c.dim() == wide else c for c in self.coefficients]
        h = self.h[first:last] if isinstance(self.h, Tensor) else self.h
        lengths = None if self.lengths is None else self.lengths - first
        return Call(coefficients=coefficients, inputs=[x[first:last] for x in self.inputs], h=h, lengths=lengths)

    def replaced(self, coefficients: Sequence[Tensor], inputs: Sequence[Tensor]) -> Call:
        """The same with other numbers."""
        return replace(self, coefficients=coefficients, inputs=inputs)

    def length_at(self, t: int) -> Any:
        return self.h[t] if isinstance(self.h, Tensor) else self.h

    def live_at(self, t: int) -> Tensor | None:
        if self.lengths is None:
            return None
        return (self.lengths > t).reshape(-1, *([1] * (self.inputs[0].dim() - 2)))


@dataclass(frozen=True, slots=True)
class Done:
    """One step: what it leaves; y when its flow began and ended; by event the time of the first since the start of the
    step, inf where there is none; which lanes had one inside (None: none can)."""

    after: After
    start: Tensor
    end: Tensor
    times: Row = field(default_factory=dict)
    acted: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """How a step is made: `pieces` around a flow that `solver` moves.

    Attributes:
        locating: how events act inside the step; None: all at its end.
        timed: times of events are outputs too.
        waves: moves a flow with noise, in place of `solver`.
    """

    pieces: Pieces
    solver: Solver
    locating: Locating | None = None
    timed: bool = False
    waves: Waves | None = None

    def __call__(self, m: Moment) -> Done:
        known = self.pieces.known(m)
        y = self.pieces.start(m, known)
        if self.locating is None:
            end = self.flow(m, known, y)
            return Done(self.close(m, known, end), y, end)
        end, signals, times, acted = located(self, m, known, y)
        return Done(self.pieces.finish(m, known, end, signals, times), y, end, times, acted)

    def flow(self, m: Moment, known: Row, y: Tensor) -> Tensor:
        """y at the end of the step, without events inside."""
        if self.waves is not None:
            end = self.waves(self.pieces, m, known, y)
        else:
            h = lengths_of(m)
            end = self.solver(lambda s, y: h * self.pieces.slope(m, known, y, s), y, m.length)
        return end if m.live is None else torch.where(m.live, end, y)

    def close(self, m: Moment, known: Row, y: Tensor) -> After:
        """The end of a step inside which nothing happened."""
        signals = signals_of(self.pieces.guards(m, known, y))
        if self.locating is None:
            return self.pieces.finish(m, known, y, signals)
        return self.pieces.finish(m, known, y, self.locating.graded(signals), self.locating.events)

    def outputs(self, done: Done) -> list[Tensor]:
        """What is collected of a step."""
        return [*done.after.outputs, *(done.times.values() if self.timed else ())]


def lengths_of(m: Moment) -> Any:
    """How long each lane flows; samples that have ended do not."""
    return m.h if m.live is None else torch.where(m.live, m.step_length, 0.0)


def _times(step: Step, m: Moment, done: Done) -> Row:
    """For a trace: the times of events inside the step, its end where there is none."""
    if step.locating is None:
        return {}
    return {f"{e}.time": torch.where(x.isfinite(), x, m.step_length) for e, x in done.times.items()}


def run(step: Step, call: Call, carry: Sequence[Tensor], first: int, last: int) -> tuple[list[Tensor], list[Tensor]]:
    """Outputs (last - first, B, *size*) of some steps, and the carry after them."""
    rows = []
    for t in range(first, last):
        m = call.at(t, carry)
        done = step(m)
        carry = done.after.carry
        rows.append(step.outputs(done))
    return [torch.stack(column) for column in zip(*rows, strict=True)], list(carry)


def traced(step: Step, call: Call, carry: Sequence[Tensor], names: Sequence[str]) -> dict[str, Tensor]:
    """Everything that a trace shows, (T, B, *size*) each; after a sample's end states rest and signals are 0."""
    whole, rows = step.pieces.hybrid.whole, []
    states = {s.name for s in whole.carry}
    signals = {n for n, _ in whole.outputs} | set(step.pieces.hybrid.events)
    shown = {s.name: x for s, x in zip(whole.carry, carry, strict=True)}
    for t in range(call.steps):
        m = call.at(t, carry)
        done = step(m)
        carry = done.after.carry
        now = dict(zip(names, done.after.trace, strict=True)) | _times(step, m, done)
        if m.live is not None:
            rest = {n: shown.get(n, torch.zeros_like(x)) for n, x in now.items()}
            silent = {n for n in now if n in signals and n not in states}
            now = {n: torch.where(m.live, x, torch.zeros_like(x) if n in silent else rest[n]) for n, x in now.items()}
        shown |= now
        rows.append(now)
    return {n: torch.stack([r[n] for r in rows]) for n in rows[0]} if rows else {}
