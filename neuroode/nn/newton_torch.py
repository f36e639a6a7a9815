"""Trajectories of nonlinear and spiking stages by Newton's method over the whole sequence.

With the spikes of the last iterate held, the step is linearized everywhere and the linear recurrence is solved by a
scan. After k iterations the first k steps are exact, so as many iterations as steps always suffice; for a neuron that
is linear between its spikes, an iteration is a sweep that corrects spikes from left to right.
Sources: Lim et al., ICLR 2024 (DEER); Gonzalez et al., NeurIPS 2024, for the guarantee.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

Tensor = torch.Tensor
Row = dict[str, Tensor]

LIMIT = 100  # iterations before the loop takes over
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-11}  # of a step, relative to the largest value of its state


@dataclass(frozen=True, slots=True)
class Problem:
    """A stage over a sequence.

    Attributes:
        name: of its states, for reports.
        start: (B, *size*) of each state. shape: (T, B, *size*).
        step: (states before each step) -> (states after it, bits of its events).
        slopes: (states before each step, bits) -> entries of the Jacobian with the bits held.
        solve: (entries, drive, start) -> states after each step of the linear recurrence.
        masked: sets what comes after the end of a sample to 0.
    """

    name: str
    start: Sequence[Tensor]
    shape: torch.Size
    step: Callable[[Sequence[Tensor]], tuple[list[Tensor], Row]]
    slopes: Callable[[Sequence[Tensor], Row], list[Tensor]]
    solve: Callable[[Sequence[Tensor], Sequence[Tensor], Sequence[Tensor]], list[Tensor]]
    masked: Callable[[Tensor], Tensor]


def newton(problem: Problem) -> tuple[list[Tensor] | None, Row, int]:
    """The trajectory, None where it was not reached; bits of the stage's events; how many iterations it took."""
    found = [s.expand(problem.shape) for s in problem.start]
    bits: Row = {}
    for count in range(1, min(LIMIT, problem.shape[0]) + 2):
        before = _before(problem, found)
        after, fresh = problem.step(before)
        if _settled(problem, found, after) and _equal(bits, fresh):
            return found, fresh, count - 1
        bits = fresh
        entries = problem.slopes(before, bits)
        drive = _drive(entries, before, after)
        solved = [problem.masked(x) for x in problem.solve(entries, drive, problem.start)]
        found = [_finite(new, a, s) for new, a, s in zip(solved, after, problem.start, strict=True)]
    what = f"newton did not settle on {problem.name} within {min(LIMIT, problem.shape[0])} iterations"
    warnings.warn(f"{what}: it runs step by step instead", RuntimeWarning, stacklevel=2)
    return None, {}, LIMIT


def _before(problem: Problem, found: Sequence[Tensor]) -> list[Tensor]:
    return [torch.cat([s[None], x[:-1]]) for s, x in zip(problem.start, found, strict=True)]


def _drive(entries: Sequence[Tensor], before: Sequence[Tensor], after: Sequence[Tensor]) -> list[Tensor]:
    """What is left of the step without its linear part."""
    n = len(before)
    return [after[i] - sum(entries[i * n + j] * before[j] for j in range(n)) for i in range(n)]


def _settled(problem: Problem, found: Sequence[Tensor], after: Sequence[Tensor]) -> bool:
    return all(_near(problem.masked(x), problem.masked(a)) for x, a in zip(found, after, strict=True))


def _near(x: Tensor, after: Tensor) -> bool:
    scale = x.abs().amax().clamp_min(torch.finfo(x.dtype).tiny)
    return bool(((x - after).abs() <= TOLERANCE[x.dtype] * scale).all())


def _equal(bits: Row, fresh: Row) -> bool:
    return bits.keys() == fresh.keys() and all(torch.equal(bits[n], fresh[n]) for n in fresh)


def _finite(solved: Tensor, after: Tensor, start: Tensor) -> Tensor:
    """An iterate that left the range of numbers starts again from a plain step."""
    plain = torch.where(after.isfinite(), after, start)
    return torch.where(solved.isfinite(), solved, plain)
