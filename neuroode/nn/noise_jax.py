"""Noise streams of a call: drawn from the call's key where nobody gives them, replayed where somebody does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp

from neuroode._errors import RunError
from neuroode.nn.carry import NOISE_KEY
from neuroode.nn.inputs_jax import Sequence, checked, read_inputs
from neuroode.program.noise import check_replayed, check_seed, elements, refuse_unread, streams
from neuroode.solvers.on_jax.random_jax import draw

Array = jax.Array


def given_of(
    frame: Any, x: Any, carry: Any, *, lengths: Any = None, steps: int | None = None, batch: int | None = None,
    times: Any = None, key: Any = None, seed: Any = None, noise: Mapping[str, Any] | None = None,
) -> Sequence:  # fmt: skip
    """What a call passes, checked: inputs, the length of each step, noise (T, B, *size*) and the noise key it leaves.

    Args:
        key, seed: what noise and initial values are drawn from; None goes on with the carry's. noise: stream name ->
            (T, B, *size*, *axes*), replayed.

    Raises:
        RunError: something that does not fit, or noise without a key.
    """
    given, program = read_inputs(frame, x, lengths, steps, batch, times), frame.program
    if not isinstance(seed, jax.Array):
        check_seed(program, seed)
    replayed = check_replayed(program, noise)
    begins = program.start is not None and carry is None
    if not program.noise and not begins:
        refuse_unread(program, seed)
        return given
    unread = not begins and set(replayed) == {g.name for g in streams(program)}
    at = _key(frame, given.batch, carry, seed, key, unread)
    given = replace(given, start_seeds=at[:, 0]) if begins else given
    if not program.noise:
        return given
    rows = _replayed(frame, given, replayed)
    found = [rows[n.name] if n.name in rows else _drawn(frame, given, n, at) for n in program.noise]
    count = given.inputs[0].shape[0] if given.lengths is None else given.lengths
    after = at.at[:, 1].add(jnp.asarray(count, jnp.uint32))
    return replace(given, inputs=[*given.inputs, *found], noise_key=after)


def _key(frame: Any, batch: int, carry: Any, seed: Any, key: Any, unread: bool) -> Array:
    """(B, 2): seed and first step of each sample; any where nothing reads it."""
    fresh = seed is not None or key is not None
    if carry is not None and NOISE_KEY in carry:  # whether it is of this layer is asked where its states are read
        before = carry[NOISE_KEY]
        if before.shape != (batch, 2):
            raise RunError(f"carry '{NOISE_KEY}' is {before.shape}, expected ({batch}, 2)",
                           hint="the batch changed? pass carry=None to start afresh")  # fmt: skip
        return before.at[:, 0].set(_seed(seed, key)) if fresh else before
    return fresh_key(frame, batch, 0 if unread and not fresh else seed, key)


def fresh_key(frame: Any, batch: int, seed: Any, key: Any) -> Array:
    """(B, 2): seed and step 0 of every sample.

    Raises:
        RunError: neither seed nor key is given.
    """
    if seed is None and key is None:
        what = "has noise" if frame.program.noise else "draws initial values"
        raise RunError(f"'{frame.neuron.spec.name}' {what}, and the call passes no key",
                       hint="pass key=jax.random.key(0), or seed=0")  # fmt: skip
    start = jnp.broadcast_to(_seed(seed, key), (batch,))
    return jnp.stack([start, jnp.zeros_like(start)], axis=1)


def _seed(seed: Any, key: Any) -> Array:
    """uint32 of one of both."""
    if seed is not None and key is not None:
        raise RunError("the call passes seed= and key=, which say the same thing twice", hint="leave one of them out")
    if seed is None and not hasattr(key, "dtype"):
        raise RunError(f"key is {key!r}, no key of JAX", hint="pass key=jax.random.key(0), or seed=0")
    return jnp.asarray(seed, jnp.uint32) if seed is not None else jax.random.bits(key, (), jnp.uint32)


def _replayed(frame: Any, given: Sequence, noise: Mapping[str, Any]) -> dict[str, Array]:
    found, shape = streams(frame.program), given.inputs[0].shape
    arrays = {g.name: checked(frame, g, noise[g.name], "noise") for g in found if g.name in noise}
    for name, x in arrays.items():
        if x.shape[:2] != shape[:2]:
            raise RunError(f"noise '{name}' is {x.shape}, the inputs are {shape}; they must agree")
    return elements(found, arrays, [n.name for n in frame.program.noise])


def _drawn(frame: Any, given: Sequence, stream: Any, key: Array) -> Array:
    shape = given.inputs[0].shape
    found = draw(stream.kind, stream.name, key[:, 0], key[:, 1], shape, frame.dtype)
    if stream.kind != "wiener":
        return found
    if given.durations is None:
        return found * jnp.asarray(frame.dt**0.5, frame.dtype)
    step = jnp.sqrt(given.durations)
    return found * step.reshape(*step.shape, *([1] * (len(shape) - 2))).astype(frame.dtype)
