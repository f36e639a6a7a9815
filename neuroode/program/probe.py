"""The linear part of a program in numbers: what one step makes of unit values of its carry and inputs.

The body is run as it stands, with its events held at 0, so these are the matrices of the step that every target takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from neuroode.program import interpret
from neuroode.program.types import Assign, Program

Array = np.ndarray


@dataclass(frozen=True, slots=True)
class LinearStep:
    """carry[t] = M carry[t-1] + N x[t], values[t] = C carry[t-1] + D x[t], for each drawn neuron (the first axis)."""

    slots: tuple[str, ...]
    inputs: tuple[str, ...]
    rows: tuple[str, ...]
    M: Array
    N: Array
    C: Array
    D: Array

    def states(self, parts: tuple[str, ...]) -> Array:
        """M between some slots."""
        at = [self.slots.index(p) for p in parts]
        return self.M[:, at][:, :, at]


def linear_step(program: Program, values: Mapping[str, Array], states: tuple[str, ...]) -> LinearStep:
    """Probe a program whose named states step linearly; others stay at their inits.

    Args:
        values: `p.NAME` and `dt` -> a number, or one for each drawn neuron.
        states: names without parts; their lags and those of inputs are probed too.
    """
    silent = replace(program, body=tuple(_silenced(a) for a in program.body))
    wanted = {*states, *program.inputs}
    slots = tuple(s.name for s in program.carry if _base(s.name) in wanted)
    env = interpret.prologue(program, {k: np.asarray(v, float) for k, v in values.items()})
    draws = np.broadcast_shapes((1,), *(np.shape(v) for v in values.values()))
    count = len(slots) + len(program.inputs)
    start = {f"c.{s.name}": np.broadcast_to(env[s.init], (1 + count, *draws)) for s in program.carry}
    start |= {f"c.{name}": _unit(1 + i, 1 + count, draws) for i, name in enumerate(slots)}
    start |= {f"x.{name}": _unit(1 + len(slots) + i, 1 + count, draws) for i, name in enumerate(program.inputs)}
    now = interpret.evaluate(silent.body, env | start, silent)
    after = _slopes([now[dict(program.next)[s]] for s in slots], (1 + count, *draws))
    seen = _slopes([now[value] for _, value in program.trace], (1 + count, *draws))
    n, rows = len(slots), tuple(name for name, _ in program.trace)
    return LinearStep(slots, program.inputs, rows, after[..., :n], after[..., n:], seen[..., :n], seen[..., n:])


def _base(slot: str) -> str:
    return slot.partition("[t")[0].removesuffix(".re").removesuffix(".im")


def _silenced(a: Assign) -> Assign:
    """Without events, and without operators, of which nothing is known here."""
    return Assign(a.name, "const", (), 0.0) if a.op in ("event", "operator", "network") else a


def _unit(row: int, count: int, draws: tuple[int, ...]) -> Array:
    found = np.zeros((count, *draws))
    found[row] = 1.0
    return found


def _slopes(rows: list[Array], shape: tuple[int, ...]) -> Array:
    """(draws, rows, probes): the answer to each probe less that to none."""
    if not rows:
        return np.zeros((shape[1], 0, shape[0] - 1))
    found = np.stack([np.broadcast_to(r, shape) for r in rows])
    with np.errstate(invalid="ignore"):  # beyond the range of numbers: not finite, which is said where it is read
        return np.moveaxis(found[:, 1:] - found[:, :1], (0, 1, 2), (1, 2, 0))
