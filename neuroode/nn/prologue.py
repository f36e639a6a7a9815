"""The prologue in numpy, forward and reverse: a few numbers per neuron, where the cost is that of each operation.

`Plan.forward` takes constrained values by slot name, `Plan.reverse` cotangents of coefficients and inits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from operator import itemgetter
from typing import Any, cast

import numpy as np

from neuroode.program.adjoint import pullback
from neuroode.program.interpret import IMMEDIATE, NUMPY, matrix_name
from neuroode.program.types import Assign, Program
from neuroode.solvers.on_numpy import special

Array = np.ndarray
Line = tuple[str, Callable[..., Array], tuple[str, ...]]


class Plan:
    """Straight-line numpy code of one program's prologue, and of its reverse."""

    def __init__(self, program: Program) -> None:
        self.coefficients = [c.name for c in program.coefficients]
        self.inits = [s.init for s in program.carry]
        self.trained = [p.name for p in program.parameters if p.trainable]
        self._forward = _lines(program.prologue)
        wanted = dict.fromkeys([*self.coefficients, *self.inits])
        self._seeds = {name: f"g.{name}" for name in wanted}
        code, self._found = pullback(program.prologue, self._seeds, self.trained)
        self._reverse = _lines(code)

    def forward(self, values: Mapping[str, Any]) -> dict[str, Array]:
        """Every value of the prologue; `values` has the slots `p.NAME` and `dt`."""
        return _run(self._forward, dict(values))

    def reverse(self, env: Mapping[str, Array], cotangents: Mapping[str, Any]) -> dict[str, Array]:
        """Cotangents of trained slots by name, of the values' broadcast shape; missing ones are zero."""
        placed = _placed({name: np.asarray(g) for name, g in cotangents.items()})
        seeds = {g: placed.get(name, 0.0) for name, g in self._seeds.items()}
        now = _run(self._reverse, dict(env) | seeds)
        return {p: now[v] for p, v in self._found.items()}


def _placed(cotangents: dict[str, Array]) -> dict[str, Array]:
    """All in one shape, so that a sum over lanes counts each once: what is one number for many lanes stands in the
    first of them."""
    shape = np.broadcast_shapes(*(g.shape for g in cotangents.values()))
    return {name: g if g.shape == shape else _at_start(g, shape) for name, g in cotangents.items()}


def _at_start(value: Array, shape: tuple[int, ...]) -> Array:
    wide = np.zeros(shape)
    own = (1,) * (len(shape) - value.ndim) + value.shape
    wide[tuple(slice(n) for n in own)] = value.reshape(own)
    return wide


def _lines(code: tuple[Assign, ...]) -> list[Line]:
    """All entries of one matrix exponential share its line."""
    lines: dict[str, Line] = {}
    for a in code:
        if a.op == "expm":
            n, *at = cast("tuple[int, int, int]", a.value)
            matrix = matrix_name(a)
            lines.setdefault(matrix, (matrix, partial(_matrix, n), a.args))
            lines[a.name] = (a.name, itemgetter((..., *at)), (matrix,))
        else:
            lines[a.name] = (a.name, _function(a), a.args)
    return list(lines.values())


def _matrix(n: int, *entries: Array) -> Array:
    return special.expm(n, list(entries))


def _function(a: Assign) -> Callable[..., Array]:
    return partial(IMMEDIATE[a.op], a.value) if a.op in IMMEDIATE else NUMPY[a.op]


def _run(code: list[Line], env: dict[str, Any]) -> dict[str, Any]:
    with np.errstate(all="ignore"):
        for name, f, args in code:
            env[name] = f(*[env[x] for x in args])
    return env


def _expit(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


#: transform -> (value, slope) at a stored number, given the bounds
TRANSFORMS: dict[str, Callable[[Array, tuple[float, float]], tuple[Array, Any]]] = {
    "none": lambda r, b: (r, 1.0),
    "project": lambda r, b: (r, 1.0),
    "softplus": lambda r, b: (np.logaddexp(r, 0.0), _expit(r)),
    "abs": lambda r, b: (np.abs(r), np.sign(r)),
    "relu": lambda r, b: (np.maximum(r, 0.0), (r >= 0) * 1.0),
    "exp": lambda r, b: (np.exp(r), np.exp(r)),
    "sigmoid": lambda r, b: (b[0] + (b[1] - b[0]) * _expit(r), (b[1] - b[0]) * _expit(r) * (1 - _expit(r))),
    "tanh": lambda r, b: (b[0] + (b[1] - b[0]) * (np.tanh(r) + 1) / 2, (b[1] - b[0]) * (1 - np.tanh(r) ** 2) / 2),
}
