"""What a call passes: checked, by name, in the layer's dtype."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from neuroode._errors import RunError
from neuroode.nn.inputs import by_name, check_agree, check_shape, clock_shape, refuse_clock
from neuroode.nn.times_jax import read_times
from neuroode.program.pack import Group
from neuroode.program.types import CLOCK

SHORT = (jnp.float16, jnp.bfloat16)


@dataclass(frozen=True, slots=True)
class Sequence:
    """Inputs (T, B, *size*) in the program's order, one an element; `dtype` is what the outputs are returned in.

    `durations`: the length of each step, (T, B or 1), of a call with times. `noise_key`: after the call. `start_seeds`,
    (B,), of a call that starts afresh from values that are drawn.
    """

    inputs: list[jax.Array]
    batch: int
    lengths: jax.Array | None
    dtype: Any
    durations: jax.Array | None = None
    noise_key: jax.Array | None = None
    start_seeds: jax.Array | None = None


def read_inputs(frame: Any, x: Any, lengths: Any, steps: int | None, batch: int | None, times: Any = None) -> Sequence:
    """Check shapes, dtypes, names and times. A neuron without inputs gets its clock.

    Raises:
        RunError: with what was found, what is allowed and what to write.
    """
    found = frame.border.inputs
    names, model = [g.name for g in found], frame.neuron.spec.name
    if names == [CLOCK]:
        x = jnp.zeros(clock_shape(model, x, steps, batch, frame.size), frame.dtype)
    else:
        refuse_clock(model, names, x, steps, batch)
    given = by_name(model, names, x)
    rows = [checked(frame, g, value) for g, value in zip(found, given, strict=True)]
    check_agree(names, [r.shape[: 2 + len(frame.size)] for r in rows])
    dtype = given[0].dtype if given[0].dtype in SHORT else frame.dtype
    inputs = frame.border.split(dict(zip(names, rows, strict=True)), found)
    shape = rows[0].shape[:2]
    return Sequence(inputs, shape[1], _lengths(lengths, *shape), dtype, read_times(frame, times, *shape))


def checked(frame: Any, group: Group, x: Any, what: str = "input") -> jax.Array:
    """One array of a call, (T, B, *size*, *axes*), in the layer's dtype; `what` it is called in a message."""
    name = group.name
    if not isinstance(x, jax.Array | np.ndarray):
        raise RunError(f"{what} '{name}' is a {type(x).__name__}, not an array of jax or numpy")
    check_shape(name, x.shape, (*frame.size, *group.shape), what)
    if x.dtype in SHORT:
        return jnp.asarray(x, frame.dtype)
    if x.dtype != frame.dtype:
        raise RunError(
            f"{what} '{name}' is {x.dtype}, the layer computes in {frame.dtype}",
            hint=f"write x.astype(jax.numpy.{frame.dtype})",
        )
    return jnp.asarray(x)


def _lengths(lengths: Any, steps: int, batch: int) -> jax.Array | None:
    if lengths is None:
        return None
    try:
        given = jnp.asarray(lengths)
    except (TypeError, ValueError) as error:
        raise RunError(f"lengths is {lengths!r}, expected whole numbers of shape ({batch},)") from error
    if given.shape != (batch,) or not jnp.issubdtype(given.dtype, jnp.integer):
        raise RunError(f"lengths is {given.dtype} of shape {given.shape}, expected whole numbers of shape ({batch},)")
    if isinstance(given, jax.core.Tracer):  # a trace knows no numbers
        return jnp.clip(given, 0, steps)
    found = np.asarray(given)
    if batch and (found.min() < 0 or found.max() > steps):
        raise RunError(f"lengths run from {found.min()} to {found.max()}, allowed are 0 to {steps}")
    return given
