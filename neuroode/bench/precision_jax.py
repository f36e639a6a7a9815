"""Work against precision: diffrax's Tsit5 on fields written by hand."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import numpy as np

from neuroode.bench.precision_torch import Point, timed
from neuroode.bench.problems import LANES, Problem


def peer(problem: Problem, tolerances: tuple[float, ...]) -> Iterator[Point]:
    """Each lane with steps of its own (vmap), compiled; over a window without spikes, in float64."""
    with jax.enable_x64(True):
        current = jnp.asarray(problem.currents(False))
        start = tuple(jnp.full(LANES, v) for v in problem.start)
        for rtol in tolerances:
            solve: Any = jax.jit(jax.vmap(partial(_integrate, problem, rtol=rtol)))
            yield timed(problem, "diffrax Tsit5", rtol, partial(_array, solve, start, current))


def _array(solve: Any, start: Any, current: Any) -> np.ndarray:
    return np.asarray(solve(start, current))


def _integrate(problem: Problem, start: Any, current: Any, rtol: float) -> Any:
    term = diffrax.ODETerm(lambda _, y, i: problem.field(y, i, jnp.exp))
    control = diffrax.PIDController(rtol=rtol, atol=1e-2 * rtol)
    return diffrax.diffeqsolve(
        term, diffrax.Tsit5(), 0.0, problem.length(False), 0.01, start, current, stepsize_controller=control
    ).ys[0][-1]
