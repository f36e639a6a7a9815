"""Observation times of a call: how long each step is, and coefficients at that length."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from neuroode._errors import RunError, Unsupported
from neuroode.nn.eager_jax import jax_program
from neuroode.nn.parameters_jax import widest
from neuroode.nn.times import refuse_counted

Array = jax.Array
Row = tuple[Array, ...]


def read_times(frame: Any, times: Any, steps: int, batch: int) -> Array | None:
    """The length of each step, (T, B or 1), in float64 where jax has it.

    Raises:
        RunError: not (T,) or (T, B) finite times that increase from above 0.
        Unsupported: the neuron counts steps, or the schedule takes all steps to be alike.
    """
    if times is None:
        return None
    refuse_counted(frame.neuron, frame.program)
    if frame.schedule not in ("auto", "eager"):
        raise Unsupported(f'schedule="{frame.schedule}" takes all steps to be alike', hint='schedule="eager"')
    given = times if isinstance(times, jax.core.Tracer) else np.asarray(times, float)
    if given.shape not in ((steps,), (steps, batch)):
        wanted = f"({steps},) or ({steps}, {batch})"
        raise RunError(f"times has shape {tuple(given.shape)}, expected {wanted}", hint="one time for each step")
    rows = given.reshape(steps, -1)
    if isinstance(rows, jax.core.Tracer):
        found = jnp.diff(rows.astype(widest()), axis=0, prepend=0)
        return eqx.error_if(found, ~((found > 0) & jnp.isfinite(found)).all(), "times must increase from above 0")
    lengths = np.diff(rows, axis=0, prepend=0)
    bad = np.argwhere(~((lengths > 0) & np.isfinite(lengths)))
    if len(bad):
        t, b = bad[0]
        before = rows[t - 1, b] if t else 0.0
        sample = f", sample {b}" if given.ndim == 2 else ""
        raise RunError(
            f"times[{t}] is {rows[t, b]:g} behind {before:g}{sample}; times increase, and the first is above 0",
            hint="step k runs from times[k-1], or 0, to times[k]",
        )
    return jnp.asarray(lengths, widest())


class AtTimes:
    """A step whose last input is its length: coefficients are computed at it.

    Args:
        step: (coefficients, carry, inputs, dt) -> outputs, carry, trace.
    """

    def __init__(self, frame: Any, parameters: Any, step: Callable[..., Any]) -> None:
        self.frame, self.step, self.slots = frame, step, parameters.slots()
        self.prologue = jax_program(frame.program).prologue

    def __call__(self, _: Row, carry: Row, inputs: Row, **more: Any) -> Any:
        *given, lengths = inputs
        own = lengths.reshape(lengths.shape[0], -1)[:, 0]
        own = jnp.where(own > 0, own, self.frame.dt)  # of samples without any step, which nothing reads
        dt = own.reshape(-1, *([1] * len(self.frame.size)))
        return self.step(self._coefficients(own), carry, tuple(given), dt.astype(self.frame.dtype), **more)

    def _coefficients(self, dt: Array) -> Row:
        """Coefficients that broadcast against (B, *size*), once for each length."""
        shape, dtype = self.frame.size, self.frame.dtype

        def one(dt: Array) -> Row:
            rows, _ = self.prologue(self.slots, dt.astype(widest()))
            return tuple(jnp.asarray(c, dtype) for c in rows)

        if len(dt) == 1:
            return one(dt[0])
        return jax.vmap(lambda dt: tuple(jnp.broadcast_to(c, shape) for c in one(dt)))(dt)


def step_of(
    frame: Any, parameters: Any, inputs: list[Array], durations: Array | None
) -> tuple[Callable[..., Any] | None, list[Array]]:
    """The step that stands for that of the frame's program, if there is one, and its inputs (T, B, *size*)."""
    step: Callable[..., Any] | None = frame.solved
    if durations is not None:
        step = AtTimes(frame, parameters, step or _without_length(frame))
        rows = durations.reshape(*durations.shape, *([1] * (inputs[0].ndim - 2)))
        inputs = [*inputs, rows.astype(inputs[0].dtype)]
    if step and frame.solved and frame.solved.choice.solver.adjoint == "checkpointed":
        step = jax.checkpoint(partial(_called, step))
    return step, inputs


def _called(step: Callable[..., Any], *given: Any) -> Any:
    return step(*given)


def _without_length(frame: Any) -> Callable[..., Any]:
    step = jax_program(frame.program).step
    return lambda coefficients, carry, inputs, dt, **more: step(coefficients, carry, inputs, **more)
