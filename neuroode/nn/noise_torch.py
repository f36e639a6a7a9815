"""Noise streams of a call: drawn where nobody gives them, replayed where somebody does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from neuroode._errors import RunError
from neuroode.nn.carry import NOISE_KEY
from neuroode.nn.inputs_torch import Sequence, checked, read_inputs
from neuroode.nn.native_random_torch import draw
from neuroode.nn.times_torch import timed
from neuroode.program.noise import check_replayed, check_seed, elements, refuse_unread, streams
from neuroode.solvers.on_numpy.random import SEEDS

Tensor = torch.Tensor


def with_noise(layer: Any, given: Sequence, carry: Any, seed: Any, noise: Mapping[str, Tensor] | None) -> Sequence:
    """The inputs of a call followed by its noise, (T, B, *size*) each, with the keys that it leaves and starts with.

    Args:
        seed: None goes on with that of the carry, or draws one from torch's generator.
        noise: stream name -> (T, B, *size*, *axes*), replayed.

    Raises:
        RunError: a seed or a stream that does not fit.
    """
    program = layer.program
    check_seed(program, seed)
    replayed = check_replayed(program, noise)
    fresh = program.start is not None and carry is None
    if not program.noise and not fresh:
        refuse_unread(program, seed)
        return given
    unread = not fresh and set(replayed) == {g.name for g in streams(program)}
    key = _key(layer, given, carry, seed, unread)
    given = replace(given, start_key=key) if fresh else given
    if not program.noise:
        return given
    rows = _replayed(layer, given, replayed)
    found = [rows[n.name] if n.name in rows else _drawn(layer, given, n, key) for n in program.noise]
    steps = given.inputs[0].shape[0] if given.lengths is None else given.lengths
    after = torch.stack([key[:, 0], key[:, 1] + steps], dim=1)
    return replace(given, inputs=[*given.inputs, *found], noise_key=after)


def _key(layer: Any, given: Sequence, carry: Any, seed: Any, replayed: bool) -> Tensor:
    """(B, 2): seed and first step of each sample. Where all noise is replayed, the generator is left alone."""
    device = layer._like.device
    if carry is not None and NOISE_KEY in carry:  # whether it is of this layer is asked where its states are read
        before = carry[NOISE_KEY]
        if before.dim() != 2 or before.shape[0] != given.batch:
            raise RunError(f"carry '{NOISE_KEY}' is {tuple(before.shape)}, expected ({given.batch}, 2)",
                           hint="the batch changed? pass carry=None to start afresh")  # fmt: skip
        return before if seed is None else torch.stack([torch.full_like(before[:, 0], seed), before[:, 1]], dim=1)
    return fresh_key(given.batch, device, 0 if replayed and seed is None else seed)


def fresh_key(batch: int, device: Any, seed: int | None = None) -> Tensor:
    """(B, 2): a seed, of torch's generator where none is given, and step 0, for every sample."""
    # drawn where the default generator is: a seed means the same on every device
    start = torch.randint(SEEDS, (1,)).to(device) if seed is None else torch.full((1,), int(seed), device=device)
    return torch.stack([start.expand(batch), torch.zeros(batch, dtype=torch.int64, device=device)], dim=1)


def _replayed(layer: Any, given: Sequence, noise: Mapping[str, Any]) -> dict[str, Tensor]:
    found, shape = streams(layer.program), given.inputs[0].shape
    arrays = {g.name: checked(layer, g, noise[g.name], "noise") for g in found if g.name in noise}
    for name, x in arrays.items():
        if x.shape[:2] != shape[:2]:
            raise RunError(f"noise '{name}' is {tuple(x.shape)}, the inputs are {tuple(shape)}; they must agree")
    return elements(found, arrays, [n.name for n in layer.program.noise])


def _drawn(layer: Any, given: Sequence, stream: Any, key: Tensor) -> Tensor:
    like = given.inputs[0]
    found = draw(stream.kind, stream.name, key, tuple(like.shape), like.dtype)
    if stream.kind != "wiener":
        return found
    step = layer.dt if given.durations is None else given.durations
    return found * (step**0.5 if given.durations is None else step.sqrt().to(like.dtype))


def given_of(
    layer: Any, x: Any, carry: Any, *, lengths: Any = None, times: Any = None, steps: int | None = None,
    batch: int | None = None, seed: int | None = None, noise: Mapping[str, Tensor] | None = None,
) -> Sequence:  # fmt: skip
    """What a call passes, checked, with the length of each step and its noise."""
    return with_noise(layer, timed(layer, read_inputs(layer, x, lengths, steps, batch), times), carry, seed, noise)
