"""One step around a memory, in torch: what it hands to the past, and what it makes of the sums over the past.

Right sides, bases and sums are vectors (states, B, *size*). The definitions are those of `program/history_run.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from neuroode._errors import RunError
from neuroode.nn.pieces_torch import After, Moment, Pieces, Row, signals_of
from neuroode.program.history import History, Method

Tensor = torch.Tensor
NEWTON = 50
CHANNELS = {"abm": 2}  # of values and sums; one of each for the others


@dataclass(frozen=True, slots=True)
class Memory:
    """What a step knows of the past beside the sums: `base`, the right side at the end of the last step, and what
    will be added to the right side in this step, the next, ..."""

    base: Tensor
    right: Tensor
    pending: list[Tensor]

    def rows(self) -> list[Tensor]:
        return [self.base, self.right, *self.pending]

    @classmethod
    def of(cls, rows: Sequence[Tensor]) -> Memory:
        return cls(rows[0], rows[1], list(rows[2:]))


@dataclass(frozen=True, slots=True)
class Done:
    """What a step leaves; `end` before resets; `kept`: 1, or 0 where a lane has forgotten its past, None: none can."""

    after: After
    memory: Memory
    end: Tensor
    kept: Tensor | None


class HistoryStep:
    """A step of a method.

    Args:
        durations: of currents, (event, slot) -> steps.
        first: the first step of the past comes first in this call.
    """

    def __init__(self, history: History, method: Method, durations: dict[tuple[str, str], float]) -> None:
        self.history, self.method, self.durations = history, method, durations
        self.pieces = Pieces(history.hybrid)
        self.states = history.hybrid.states
        self.channels = CHANNELS.get(method.name, 1)
        self.due = max([1 if history.impulses else 0, *(_steps(d) for d in durations.values())])

    def fresh(self, start: Tensor) -> Memory:
        """At an origin whose states are `start`."""
        zero = torch.zeros_like(start)
        return Memory(start, zero, [zero] * self.due)

    def before(self, m: Moment, memory: Memory, *, origin: bool) -> Tensor:
        """What the past takes in of the start of this step, (channels, states, B, *size*)."""
        if self.method.implicit and self.method.name != "flmm2":
            return memory.right[None]
        known = self.pieces.known(m)
        left = self._slope(m, known, memory, self.pieces.start(m, known), 0.0)
        if self.method.name == "abm":
            return torch.stack([left, memory.right])
        return (left if origin or self.method.name != "flmm2" else (left + memory.right) / 2)[None]

    def after(self, m: Moment, memory: Memory, sums: Tensor, newest: Tensor, end: Tensor | None = None) -> Done:
        """The rest of the step.

        Args:
            sums: (channels, states, B, *size*); newest: weight of the right side at the end of the step.
            end: the solution of an implicit step, where it is known already.
        """
        known = self.pieces.known(m)
        start = self.pieces.start(m, known)
        before, memory = memory, replace(memory, base=memory.base + start - self.pieces.carried(m))
        end = self._end(m, known, memory, sums, newest, start if end is None else end, solve=end is None)
        reads = self.method.implicit or self.method.name == "abm"
        right = self._slope(m, known, memory, end, 1.0) if reads else memory.right
        return self._closed(m, known, replace(memory, right=right), end, before)

    def _slope(self, m: Moment, known: Row, memory: Memory, y: Tensor, fraction: float) -> Tensor:
        slope = self.pieces.slope(m, known, y, fraction)
        return slope + memory.pending[0] if memory.pending else slope

    def _end(
        self, m: Moment, known: Row, memory: Memory, sums: Tensor, newest: Tensor, y: Tensor, *, solve: bool
    ) -> Tensor:
        if self.method.name == "abm":
            return memory.base + sums[1] + newest * self._slope(m, known, memory, memory.base + sums[0], 1.0)
        past = memory.base + sums[0]
        if not self.method.implicit:
            return past
        if solve:
            y = self._solved(m, known, memory, past.detach(), newest.detach(), y.detach())
        if not torch.is_grad_enabled():
            return y
        matrix, _ = self._jacobian(m, known, memory, newest, y)
        rest = y.detach() - past - newest * self._slope(m, known, memory, y.detach(), 1.0)
        return y.detach() - _solve(matrix, rest)  # the value is y; the gradient that of the equation

    @torch.no_grad()
    def _solved(self, m: Moment, known: Row, memory: Memory, past: Tensor, newest: Tensor, y: Tensor) -> Tensor:
        tolerance = 20 * torch.finfo(y.dtype).eps
        for _ in range(NEWTON):
            matrix, slope = self._jacobian(m, known, memory, newest, y)
            change = _solve(matrix, y - past - newest * slope)
            y = y - change
            if not bool((change.abs() > tolerance * y.abs().clamp_min(1.0)).any()):
                return y
        raise RunError(f"method {self.method}: the implicit step was not solved in {NEWTON} iterations",
                       hint="a smaller dt, or method: soe")  # fmt: skip

    def _jacobian(self, m: Moment, known: Row, memory: Memory, newest: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """1 - newest*df/dy, (states, states, B, *size*), and f at y; both without gradient."""
        m, known = m.detached(), {n: x.detach() for n, x in known.items()}
        memory = Memory.of([x.detach() for x in memory.rows()])
        count = len(y)
        with torch.enable_grad():
            leaf = y.detach().requires_grad_()
            slope = self._slope(m, known, memory, leaf, 1.0)
            rows = torch.stack([_slope_of(slope[k], leaf) for k in range(count)])
        one = torch.eye(count, dtype=y.dtype, device=y.device).reshape(count, count, *(1 for _ in y.shape[1:]))
        wide = newest.detach().expand(count, *newest.shape[1:])[:, None]
        return one - wide * rows, slope.detach()

    def _closed(self, m: Moment, known: Row, memory: Memory, end: Tensor, before: Memory) -> Done:
        """Guards and resets, and what they do to the memory; a lane that has ended keeps `before`."""
        signals = signals_of(self.pieces.guards(m, known, end))
        after = self.pieces.finish(m, known, end, signals)
        left = torch.stack([after.carry[i] for i in self.pieces.flow_slots])
        kept = self._kept(signals, end)
        moved = left - (end - memory.base) if kept is None else left - kept * (end - memory.base)
        right = memory.right if kept is None else memory.right * kept
        new = Memory(moved, right, self._due(m, known, memory, end, signals))
        if m.live is not None:
            new = Memory.of([torch.where(m.live, x, old) for x, old in zip(new.rows(), before.rows(), strict=True)])
            kept = None if kept is None else torch.where(m.live, kept, 1.0)
        return Done(after, new, end, kept)

    def _kept(self, signals: Row, like: Tensor) -> Tensor | None:
        if not self.history.restarts:
            return None
        rows = [torch.ones_like(x) for x in like]
        for event, slot in self.history.restarts:
            e = signals[f"e.{event}"]
            k = self.states.index(slot)
            rows[k] = rows[k] * (1 - (e.detach() if event in self.history.detached else e))
        return torch.stack(rows)

    def _due(self, m: Moment, known: Row, memory: Memory, end: Tensor, signals: Row) -> list[Tensor]:
        """What resets will add to the right side in the next step, the one after it, ..."""
        due = [*memory.pending[1:], torch.zeros_like(end)] if self.due else []
        if not due:
            return due
        acts = {f"j.{n[2:]}": x for n, x in signals.items()}
        rows = self.pieces.evaluate(self.history.kicks, m, self.pieces.with_vector(known, end) | signals | acts)
        for event, slot in self.history.impulses:
            due[0] = due[0] + self._at(slot, rows[f"k.{event}.{slot}"] / m.h)
        for (event, slot), steps in self.durations.items():
            kick = self._at(slot, rows[f"k.{event}.{slot}"])
            for k in range(_steps(steps)):
                due[k] = due[k] + kick * min(1.0, steps - k)
        return due

    def _at(self, slot: str, x: Tensor) -> Tensor:
        """`x` in the row of a state, 0 in the others."""
        return torch.stack([x if s == slot else torch.zeros_like(x) for s in self.states])


def _slope_of(x: Tensor, leaf: Tensor) -> Tensor:
    """d x/d leaf, lane by lane."""
    if not x.requires_grad:
        return torch.zeros_like(leaf)
    found = torch.autograd.grad(x.sum(), leaf, retain_graph=True, allow_unused=True)[0]
    return torch.zeros_like(leaf) if found is None else found


def _solve(matrix: Tensor, right: Tensor) -> Tensor:
    """x of matrix*x = right, per lane; (states, states, ...) and (states, ...)."""
    if len(matrix) == 1:
        return right / matrix[0]
    rows = torch.linalg.solve(matrix.movedim((0, 1), (-2, -1)), right.movedim(0, -1)[..., None])
    return rows[..., 0].movedim(-1, 0)


def _steps(duration: float) -> int:
    """Steps that a duration, measured in steps, touches."""
    return -int(-(duration - 1e-6) // 1)
