"""Sums over the whole sequence of a call, as inputs of the program: pointwise programs and one matrix product each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from neuroode.nn import eager_torch
from neuroode.nn.inputs_torch import Sequence
from neuroode.program.types import CLOCK, Program, SequenceSum
from neuroode.program.values import check_horizon
from neuroode.system.indices import is_table, weight_values
from neuroode.system.sequences import EARLIER, STEP, source_of

Tensor = torch.Tensor


def with_sums(layer: Any, given: Sequence) -> Sequence:
    """The inputs of a call, tables among them, followed by the sums, each (T, B, *size*).

    Raises:
        RunError: more steps than the horizon.
    """
    program: Program = layer.program
    if not program.sums:
        return given
    steps = given.inputs[0].shape[0]
    check_horizon(layer.neuron.spec, steps)
    live = None if given.lengths is None else torch.arange(steps, device=given.lengths.device)[:, None] < given.lengths
    known = {n: _valid(x, live) for n, x in zip(program.inputs, given.inputs, strict=False)} | _weights(layer, steps)
    for each in program.sums:
        weight = _evaluated(layer, each.weight, _pairs(layer, each, known, steps))
        value = _evaluated(layer, each.value, [_of_steps(n, known, given) for n in each.value.inputs])
        value = value.expand(given.inputs[0].shape)
        padded = value if live is None else torch.where(_wide(live, value), value, torch.zeros_like(value))
        known[each.name] = _contracted(weight, padded)
    return replace(given, inputs=[*given.inputs, *(known[s.name] for s in program.sums)])


def _valid(x: Tensor, live: Tensor | None) -> Tensor:
    """Padded steps as the first one: nothing of the padding enters, not even 0*nan."""
    if live is None or not len(x):
        return x
    first = torch.where(_wide(live[:1], x[:1]), x[:1], torch.zeros_like(x[:1]))
    return torch.where(_wide(live, x), x, first)


def _wide(live: Tensor, like: Tensor) -> Tensor:
    return live.reshape(*live.shape, *([1] * (like.dim() - 2)))


def _weights(layer: Any, steps: int) -> dict[str, Tensor]:
    """Parameters over the sequence, their first steps: (tau, time or 1, *size* or ones)."""
    parameters, rows = layer.parameters_of_neuron, {}
    for p in parameters.weights:
        for name, value in weight_values(p, parameters.sizes, parameters.exact(p), torch.movedim).items():
            first = value[:steps, :steps] if is_table(p) else value[:steps, None]
            level = first.shape[2:]
            lanes = (*level, *([1] * (len(layer.size) - len(level))))
            rows[name] = first.reshape(*first.shape[:2], *lanes).to(layer._like.dtype)
    return rows


def _pairs(layer: Any, each: SequenceSum, known: Mapping[str, Tensor], steps: int) -> list[Tensor]:
    """The inputs of a weight over (tau, t, *level*)."""
    rows = []
    for name in each.weight.inputs:
        if name in (EARLIER, STEP, CLOCK):
            at = torch.arange(steps, dtype=layer._like.dtype, device=layer._like.device)
            rows.append(at.reshape(*((-1, 1) if name == EARLIER else (1, -1)), *([1] * len(layer.size))))
        else:
            table = name in layer.program.tables
            rows.append(known[name].transpose(0, 1)[:1] if table else known[name])
    return rows


def _of_steps(name: str, known: Mapping[str, Tensor], given: Sequence) -> Tensor:
    """An input of a value over (tau, B, *size*)."""
    like, (base, lag) = given.inputs[0], source_of(name)
    if base in (EARLIER, CLOCK):
        return torch.arange(len(like), dtype=like.dtype, device=like.device).reshape(-1, *([1] * (like.dim() - 1)))
    x = known[base]
    return torch.cat([torch.zeros_like(x[:lag]), x[: len(x) - lag]]) if lag else x


def _evaluated(layer: Any, program: Program, inputs: list[Tensor]) -> Tensor:
    """The output of a program without carry on arrays of any shape."""
    result = program.outputs[0][1]
    if result in (names := [f"x.{n}" for n in program.inputs]):
        return inputs[names.index(result)]
    found = eager_torch.eager_program(program)
    if not program.coefficients:
        return found.step((), (), tuple(inputs))[0][0]
    dt = torch.tensor(layer.dt, dtype=torch.float64, device=layer._like.device)
    coefficients, _ = found.prologue(layer.parameters_of_neuron.slots(), dt)
    outputs, _, _ = found.step(tuple(c.to(layer._like.dtype) for c in coefficients), (), tuple(inputs))
    return outputs[0]


def _contracted(weight: Tensor, value: Tensor) -> Tensor:
    """sum over tau of weight (tau, t, *level*) times value (tau, B, *size*): (t, B, *size*)."""
    steps = len(value)
    with torch.autocast(value.device.type, enabled=False):
        if all(n == 1 for n in weight.shape[2:]):
            flat = weight.expand(steps, steps, *weight.shape[2:]).reshape(steps, steps)
            return (flat.T @ value.flatten(1)).reshape(value.shape)
        return torch.einsum("st...,sb...->tb...", weight.expand(steps, steps, *weight.shape[2:]), value)
