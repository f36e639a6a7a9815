"""The Jacobian of a stage in its own states, and what drives it, as pointwise programs."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from functools import partial

import numpy as np

from neuroode.program.adjoint import reverse_rows
from neuroode.program.builder import Builder
from neuroode.program.interpret import evaluate, prologue
from neuroode.program.slices import builder_of, signed, with_outputs
from neuroode.program.types import Program

POINTS = 4  # at which a matrix is compared with that of a complex number
Matrix = tuple[tuple[str, ...], ...]


def jacobian(step: Program, blocks: Iterable[tuple[str, ...]]) -> tuple[Builder, tuple[Matrix, ...]]:
    """d next/d own of each block of a pointwise step without events: a builder, and the names of the entries."""
    b = builder_of(step)
    rename: dict[str, str] = {}
    b.adopt(step.body, rename)
    forward, values = list(b.assigns), dict(step.outputs)

    def row(slot: str, own: list[str]) -> tuple[str, ...]:
        value = values[f"n.{slot}"]
        return reverse_rows(b, forward, rename.get(value, value), own)

    return b, tuple(tuple(row(s, [f"x.c.{o}" for o in block]) for s in block) for block in blocks)


def entries(step: Program, b: Builder, matrices: tuple[Matrix, ...]) -> Program:
    """The program that gives the entries, as outputs `J.block.row.column`."""
    rows = {
        f"J.{k}.{i}.{j}": value
        for k, matrix in enumerate(matrices)
        for i, row in enumerate(matrix)
        for j, value in enumerate(row)
    }
    return with_outputs(step, b, rows)


def attached(step: Program) -> Program:
    """The same values, with every `detach` gone: its derivative is the slope of what it computes."""
    rename: dict[str, str] = {}
    body = []
    for a in step.body:
        args = tuple(rename.get(x, x) for x in a.args)
        if a.op == "detach":
            rename[a.name] = args[0]
        else:
            body.append(replace(a, args=args))
    outputs = tuple((n, rename.get(v, v)) for n, v in step.outputs)
    return signed(replace(step, body=tuple(body), outputs=outputs))


def drive(step: Program, slots: Iterable[str]) -> Program:
    """The next values with the own states at 0: of an affine step, what is added to the product with its matrix."""
    b = builder_of(step)
    rename = {f"x.c.{s}": b.const(0.0) for s in slots}
    b.adopt(step.body, rename)
    values = dict(step.outputs)
    return with_outputs(step, b, {f"b.{s}": rename.get(values[f"n.{s}"], values[f"n.{s}"]) for s in slots})


def is_invariant(b: Builder, matrix: Matrix) -> bool:
    """Whether the matrix is the same in every step."""
    return all(b.levels[value] != "lane" for row in matrix for value in row)


def is_whole(b: Builder, matrix: Matrix) -> bool:
    """Whether all entries are whole numbers: then counts stay whole in a loop and in a scan, but not in a transform."""
    numbers = [b.constant(value) for row in matrix for value in row]
    return all(n is not None and n == round(n) for n in numbers)


def is_complex(b: Builder, matrix: Matrix, given: Program) -> bool:
    """Whether a 2 x 2 matrix is [[a, -b], [b, a]]: the product with a complex number.

    Where it is not written so, its entries (`given`) are compared at random numbers: they are analytic, and what holds
    at random points of an open set holds everywhere (the identity theorem), up to rounding.
    """
    if len(matrix) != 2:
        return False
    (a, minus), (plus, d) = matrix
    written = a == d and (b.emit("neg", plus) == minus or b.emit("neg", minus) == plus)
    return written or all(map(partial(_turns, given), range(POINTS)))


def _turns(given: Program, seed: int) -> bool:
    """Whether the entries at one random point are those of a complex number; not if they are no finite numbers."""
    random = np.random.default_rng(seed)
    parameters = {p.name: np.asarray(random.uniform(0.2, 0.9)) for p in given.parameters}
    parameters["dt"] = np.asarray(random.uniform(0.1, 0.4))
    inputs = {f"x.{n}": np.asarray(random.normal()) for n in given.inputs}
    now = evaluate(given.body, prologue(given, parameters) | inputs, given)
    (a, minus, plus, d) = (float(now[v]) for _, v in given.outputs)
    scale = max(abs(a), abs(plus))
    return math.isfinite(scale) and abs(a - d) <= 1e-13 * scale and abs(plus + minus) <= 1e-13 * scale
