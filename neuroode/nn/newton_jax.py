"""Trajectories of nonlinear and spiking stages by Newton's method over the whole sequence.

The method is that of `newton_torch.py`. After k iterations the first k steps are exact, so as many iterations as steps
always suffice.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from neuroode._errors import readable
from neuroode.program.monoid import LARGEST
from neuroode.program.partition import Stage

Array = jax.Array
Row = tuple[Array, ...]
Rows = dict[str, Array]

LIMIT = 100  # iterations before the loop takes over
TOLERANCE = {4: 1e-5, 8: 1e-11}  # by bytes of a number: of a step, relative to the largest value of its state


@dataclass(frozen=True, slots=True)
class Problem:
    """A stage over a sequence.

    Attributes:
        name: of its states, for reports.
        start: (B, *size*) of each state. shape: (T, B, *size*).
        events: output names of the stage's events.
        step: (states before each step) -> (states after it, bits of its events).
        slopes: (states before each step, bits) -> entries of the Jacobian with the bits held.
        solve: (entries, drive, start) -> states after each step of the linear recurrence.
        loop: () -> states and bits step by step.
        masked: sets what comes after the end of a sample to 0.
    """

    name: str
    start: Sequence[Array]
    shape: tuple[int, ...]
    events: Sequence[str]
    step: Callable[[Row], tuple[Row, Rows]]
    slopes: Callable[[Row, Rows], Sequence[Array]]
    solve: Callable[[Sequence[Array], Sequence[Array], Sequence[Array]], Sequence[Array]]
    loop: Callable[[], tuple[Row, Rows]]
    masked: Callable[[Array], Array]


def name_of(stage: Stage) -> str:
    """Its states, as the language writes them."""
    return readable(", ".join(stage.states))


def too_large(stage: Stage) -> bool:
    """Whether no scan is written for so many states: it runs step by step, and a RuntimeWarning says so."""
    if stage.size <= LARGEST:
        return False
    what = f"newton is written for up to {LARGEST} states, not {stage.size} ({name_of(stage)})"
    warnings.warn(f"{what}: they run step by step instead", RuntimeWarning, stacklevel=2)
    return True


def newton(problem: Problem) -> tuple[Row, Rows, Array]:
    """The trajectory, bits of the stage's events, and how many iterations it took.

    Where it does not settle within `LIMIT` iterations, a RuntimeWarning says so and the loop's trajectory is returned.
    """
    limit = min(LIMIT, problem.shape[0])
    found = tuple(jnp.broadcast_to(s, problem.shape) for s in problem.start)
    bits = {e: jnp.full(problem.shape, -1, found[0].dtype) for e in problem.events}
    first = (jnp.zeros((), int), found, bits, jnp.zeros((), bool))
    count, found, bits, settled = jax.lax.while_loop(
        lambda state: ~state[3] & (state[0] <= limit), partial(_iterate, problem), first
    )
    jax.debug.callback(partial(_report, problem.name, limit), settled)
    found, bits = jax.lax.cond(settled, lambda: (found, bits), problem.loop)
    return found, bits, count - 1


def _iterate(problem: Problem, state: Any) -> Any:
    count, found, bits, _ = state
    before = tuple(jnp.concatenate([s[None], x[:-1]]) for s, x in zip(problem.start, found, strict=True))
    after, fresh = problem.step(before)
    settled = _settled(problem, found, after) & _equal(bits, fresh)
    entries = problem.slopes(before, fresh)
    solved = [problem.masked(x) for x in problem.solve(entries, _drive(entries, before, after), problem.start)]
    rows = zip(found, solved, after, problem.start, strict=True)
    return count + 1, tuple(jnp.where(settled, x, _finite(n, a, s)) for x, n, a, s in rows), fresh, settled


def _drive(entries: Sequence[Array], before: Row, after: Row) -> list[Array]:
    """What is left of the step without its linear part."""
    n = len(before)
    return [after[i] - sum(entries[i * n + j] * before[j] for j in range(n)) for i in range(n)]


def _settled(problem: Problem, found: Row, after: Row) -> Array:
    near = [_near(problem.masked(x), problem.masked(a)) for x, a in zip(found, after, strict=True)]
    return jnp.all(jnp.stack(near))


def _near(x: Array, after: Array) -> Array:
    scale = jnp.maximum(jnp.abs(x).max(initial=0), jnp.finfo(x.dtype).tiny)
    return jnp.all(jnp.abs(x - after) <= TOLERANCE[x.dtype.itemsize] * scale)


def _equal(bits: Rows, fresh: Rows) -> Array:
    return jnp.all(jnp.stack([jnp.array(True), *(jnp.all(bits[n] == fresh[n]) for n in bits)]))


def _finite(solved: Array, after: Array, start: Array) -> Array:
    """An iterate that left the range of numbers starts again from a plain step."""
    return jnp.where(jnp.isfinite(solved), solved, jnp.where(jnp.isfinite(after), after, start))


def _report(name: str, limit: int, settled: Any) -> None:
    if not settled:
        what = f"newton did not settle on {name} within {limit} iterations: it runs step by step instead"
        warnings.warn(what, RuntimeWarning, stacklevel=2)
