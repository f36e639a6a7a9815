"""Sums over the whole sequence, in numpy: what an input `sum_tau` of a program is, and its gradient.

sum[t] = sum over tau of weight[tau, t]*value[tau], for all t at once. The weight's program runs over pairs (tau, t),
the value's over (tau, B, *size*): one step each, with these as lanes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from neuroode.program.interpret import Gradients, Run, gradients, run, sum_to
from neuroode.program.types import CLOCK, Program, SequenceSum
from neuroode.system.sequences import EARLIER, STEP, source_of

Array = np.ndarray


@dataclass(frozen=True, slots=True)
class SumRun:
    """What the gradient of one sum needs: both runs, and weight (tau, t, *level*) and value (tau, B, *size*)."""

    weight: Run
    value: Run
    w: Array
    v: Array


def completed(
    program: Program, parameters: Mapping[str, Array], inputs: Mapping[str, Array]
) -> tuple[dict[str, Array], list[SumRun]]:
    """The inputs with every sum, (T, B, *size*), and what it was made of.

    Args:
        inputs: of the call; tables, (T, 1, *size*); parameters over the sequence, (tau, t, *level*) or (tau, *level*).
    """
    known, runs = dict(inputs), []
    shape = np.broadcast_shapes(*[np.shape(inputs[n]) for n in program.fed])
    for each in program.sums:
        found = _ran(each, parameters, known, shape)
        known[each.name] = np.einsum("st...,sb...->tb...", found.w, found.v)
        runs.append(found)
    return known, runs


def _ran(each: SequenceSum, parameters: Mapping[str, Array], known: Mapping[str, Array], shape: tuple) -> SumRun:
    steps, lanes = shape[0], len(shape) - 2
    pairs = {n: _of_pairs(n, known, steps, lanes) for n in each.weight.inputs}
    own = [np.shape(parameters[p.name]) for p in each.weight.parameters]
    wide = np.broadcast_shapes((steps, steps, *(1,) * lanes), *own, *(x.shape for x in pairs.values()))
    weight = run(each.weight, parameters, {n: np.broadcast_to(x, wide)[None] for n, x in pairs.items()})
    value = run(each.value, parameters, {n: _of_steps(n, known, shape)[None] for n in each.value.inputs})
    return SumRun(weight, value, weight.outputs["value"][0], value.outputs["value"][0])


def _of_pairs(name: str, known: Mapping[str, Array], steps: int, lanes: int) -> Array:
    """An input of a weight over (tau, t, *level*)."""
    ones = (1,) * lanes
    if name in (EARLIER, STEP, CLOCK):
        at = np.arange(steps, dtype=float)
        return np.broadcast_to(at[:, None] if name == EARLIER else at, (steps, steps)).reshape(steps, steps, *ones)
    found = np.asarray(known[name], float)
    if found.ndim == lanes + 1:  # over tau alone
        return found[:, None]
    return found if found.shape[1] == steps else np.swapaxes(found, 0, 1)


def _of_steps(name: str, known: Mapping[str, Array], shape: tuple[int, ...]) -> Array:
    """An input of a value over (tau, B, *size*)."""
    base, lag = source_of(name)
    if base in (EARLIER, CLOCK):
        return np.broadcast_to(np.arange(shape[0], dtype=float).reshape(-1, *(1,) * (len(shape) - 1)), shape)
    found = np.asarray(known[base], float)
    found = found[:, None] if found.ndim < len(shape) else found
    whole = np.broadcast_to(found, shape)
    return np.concatenate([np.zeros_like(whole[:lag]), whole[: len(whole) - lag]]) if lag else whole


def pull_back(
    program: Program, parameters: Mapping[str, Array], runs: list[SumRun], inputs: Mapping[str, Array], found: Gradients
) -> Gradients:
    """Cotangents of sums, in `found.inputs`, as cotangents of what they read.

    Args:
        inputs: as `completed` was given them: tables and parameters over the sequence get cotangents of their shape.
    """
    by_input, by_parameter = dict(found.inputs), dict(found.parameters)
    by_input |= {n: sum_to(by_input[n], np.shape(inputs[n])) for n in program.tables}
    for each, ran in zip(reversed(program.sums), reversed(runs), strict=True):
        g = by_input.pop(each.name)
        g_w = sum_to(np.einsum("tb...,sb...->st...", g, ran.v), ran.w.shape)
        g_v = np.einsum("st...,tb...->sb...", ran.w, g)
        for sub, result, seed in ((each.weight, ran.weight, g_w), (each.value, ran.value, g_v)):
            back = gradients(sub, parameters, result, {"value": seed[None]})
            for name, slope in back.parameters.items():
                by_parameter[name] = by_parameter.get(name, 0.0) + slope
            for name, slope in back.inputs.items():
                base, lag = source_of(name)
                if base not in (EARLIER, STEP, CLOCK):
                    shape = np.shape(by_input[base] if base in by_input else inputs[base])
                    by_tau = slope[0] if sub is each.value or base not in program.tables else slope[0].swapaxes(0, 1)
                    by_input[base] = by_input.get(base, 0.0) + _collected(_unshifted(by_tau, lag), shape)
    return Gradients(by_input, found.carry, by_parameter)


def _unshifted(g: Array, lag: int) -> Array:
    return np.concatenate([g[lag:], np.zeros_like(g[:lag])]) if lag else g


def _collected(g: Array, shape: tuple[int, ...]) -> Array:
    """A cotangent over (tau, t, *level*) or (tau, B, *size*) in the shape of what it belongs to."""
    return sum_to(g if len(shape) == g.ndim else g.sum(1), shape)
