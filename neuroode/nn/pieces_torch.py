"""A step around its flow, in torch: what comes before, the field, what comes after (`program.hybrid`)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from neuroode.nn.eager_torch import eager_program
from neuroode.program.hybrid import Hybrid
from neuroode.program.types import CLOCK, Program

Tensor = torch.Tensor
Row = dict[str, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """What one step is given.

    Attributes:
        coefficients: broadcast against (B, *size*).
        carry, inputs: (B, *size*) each, in the program's order.
        h: length of the step, a number or broadcast against (B, *size*).
        live: (B, 1, ...) samples that have not ended; None: all.
    """

    coefficients: Sequence[Tensor]
    carry: Sequence[Tensor]
    inputs: Sequence[Tensor]
    h: Any
    live: Tensor | None = None

    @property
    def lanes(self) -> torch.Size:
        return self.inputs[0].shape

    @property
    def step_length(self) -> Tensor:
        """`h` as a tensor."""
        like = self.inputs[0]
        return torch.as_tensor(self.h, dtype=like.dtype, device=like.device)

    @property
    def length(self) -> float:
        """The longest step of a sample."""
        return float(self.h.detach().amax()) if isinstance(self.h, Tensor) else float(self.h)

    def detached(self) -> Moment:
        """The same without gradients."""
        h = self.h.detach() if isinstance(self.h, Tensor) else self.h
        rows = ([x.detach() for x in group] for group in (self.coefficients, self.carry, self.inputs))
        coefficients, carry, inputs = rows
        return replace(self, coefficients=coefficients, carry=carry, inputs=inputs, h=h)


@dataclass(frozen=True, slots=True)
class After:
    """Outputs, the next carry, what a trace records; (B, *size*) each."""

    outputs: list[Tensor]
    carry: list[Tensor]
    trace: list[Tensor]


class Pieces:
    """The pieces of a hybrid, evaluated for all lanes of a step at once. Vectors y are (states, B, *size*)."""

    def __init__(self, hybrid: Hybrid) -> None:
        self.hybrid = hybrid
        slots = [s.name for s in hybrid.whole.carry]
        self.flow_slots = [slots.index(s) for s in hybrid.states]
        readers = (*hybrid.start.inputs, *hybrid.field.inputs)
        read = {n for p in (hybrid.field, hybrid.guards, hybrid.jump, hybrid.finish) for n in p.inputs}
        self.reads_past = any(f"c.{s}" in read for s in hybrid.states)  # flow states of the step before, in the step
        self.early = tuple(dict.fromkeys(n for n in readers if n.startswith("e.")))  # events that no flow decides

    def known(self, m: Moment) -> Row:
        """What every piece may read, by name."""
        whole = self.hybrid.whole
        rows = {f"c.{s.name}": x for s, x in zip(whole.carry, m.carry, strict=True)}
        rows |= dict(zip(whole.inputs, m.inputs, strict=True))
        rows.setdefault(CLOCK, m.inputs[0])
        if self.early:
            bits = self.evaluate(self.hybrid.guards, m, self.with_vector(rows, self.carried(m)))
            rows |= {n: bits[n] for n in self.early}
        return rows

    def evaluate(self, program: Program, m: Moment, known: Row, shape: torch.Size | None = None) -> Row:
        """The outputs of a piece by name, (B, *size*) each, or of a wider shape that they broadcast to."""
        rows, _, _ = eager_program(program).step(tuple(m.coefficients), (), tuple(known[n] for n in program.inputs))
        return {n: x.expand(shape or m.lanes) for (n, _), x in zip(program.outputs, rows, strict=True)}

    def carried(self, m: Moment) -> Tensor:
        """The flow states that the last step left."""
        return torch.stack([m.carry[i] for i in self.flow_slots])

    def with_vector(self, known: Row, y: Tensor) -> Row:
        return known | {f"y.{s}": x for s, x in zip(self.hybrid.states, y.unbind(0), strict=True)}

    def vector(self, rows: Row, kind: str) -> Tensor:
        return torch.stack([rows[f"{kind}.{s}"] for s in self.hybrid.states])

    def start(self, m: Moment, known: Row) -> Tensor:
        """y when the flow begins; samples that have ended rest."""
        y = self.vector(self.evaluate(self.hybrid.start, m, known), "y")
        return y if m.live is None else torch.where(m.live, y, self.carried(m))

    def slope(self, m: Moment, known: Row, y: Tensor, fraction: Any) -> Tensor:
        """dy/dtime at a fraction of the step."""
        at = torch.as_tensor(fraction, dtype=y.dtype, device=y.device)
        rows = self.evaluate(self.hybrid.field, m, self.with_vector(known, y) | {"fraction": at}, y.shape[1:])
        return self.vector(rows, "d")

    def guards(self, m: Moment, known: Row, y: Tensor) -> Row:
        """`e.NAME` and `m.NAME` at y, or along a path of it (states, samples, B, *size*)."""
        if not self.hybrid.events:
            return {}
        return self.evaluate(self.hybrid.guards, m, self.with_vector(known, y), y.shape[1:])

    def moves(self, event: str) -> bool:
        """Whether its resets assign flow states."""
        return f"j.{event}" in self.hybrid.jump.inputs

    def jump(self, m: Moment, known: Row, y: Tensor, acts: Row) -> Tensor:
        """y behind the resets of the events whose `j.NAME` is 1."""
        return self.vector(self.evaluate(self.hybrid.jump, m, self.with_vector(known, y) | acts), "y")

    def finish(self, m: Moment, known: Row, y: Tensor, signals: Row, inside: Collection[str] = ()) -> After:
        """What the step leaves; `signals` by `e.NAME`; y is behind the resets of the events `inside` already."""
        acts = {f"j.{n[2:]}": torch.zeros_like(x) if n[2:] in inside else x for n, x in signals.items()}
        rows = self.evaluate(self.hybrid.finish, m, self.with_vector(known, y) | signals | acts)
        whole = self.hybrid.whole
        made = After(
            [rows[f"out.{n}"] for n, _ in whole.outputs],
            [rows[f"next.{s.name}"] for s in whole.carry],
            [rows[f"trace.{n}"] for n, _ in whole.trace],
        )
        return made if m.live is None else _rested(m, made)


def _rested(m: Moment, made: After) -> After:
    """Samples that have ended keep their carry, and their outputs are 0."""
    live = m.live
    assert live is not None
    silent = m.inputs[0].new_zeros(())
    return After(
        [torch.where(live, x, silent) for x in made.outputs],
        [torch.where(live, x, old) for x, old in zip(made.carry, m.carry, strict=True)],
        made.trace,
    )


def signals_of(rows: Row) -> Row:
    """The signals among what guards give."""
    return {n: x for n, x in rows.items() if n.startswith("e.")}
