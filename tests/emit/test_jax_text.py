"""The emitted jax text: every op against the interpreter, with its gradients, at branch edges and degenerate sets."""

from __future__ import annotations

import ast
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import INVENTED
from oracles import neuron as invented
from references import OPS_AT, distance, interpreted, one_op

from neuroode.emit.python_jax import jax_source
from neuroode.models import names
from neuroode.program.types import OPS, Program

jax.config.update("jax_enable_x64", True)
Args = list[np.ndarray]
#: seconds to compile: tried with a few numbers of arguments, or on request
HEAVY = {("edd", 4), ("edd", 5), ("expm", 9), ((1, "C"), 2), ((2, "C"), 2), ((2, "S"), 2)}


def gathered() -> dict[tuple[str, object, int], Args]:
    """The arguments of each op as one row an argument."""
    rows: dict[tuple[str, object, int], Args] = {}
    for op, value, args in OPS_AT:
        before = rows.get((op, value, len(args)))
        rows[op, value, len(args)] = (
            args if before is None else [np.r_[a, b] for a, b in zip(before, args, strict=True)]
        )
    return rows


def by_jax(program: Program, args: Args) -> tuple[np.ndarray, list[np.ndarray]]:
    """Value, and gradients of the sum in every argument."""
    space: dict[str, Any] = {"__name__": "emitted"}
    exec(compile(jax_source(program), "<emitted>", "exec"), space)
    sources = [p.source for p in program.parameters]

    def value(*leaves: jax.Array) -> jax.Array:
        coefficients, carry = space["prologue"](dict(zip(sources, leaves, strict=False)), jnp.ones(()))
        x = (jnp.zeros_like(leaves[0]),) if sources else leaves
        return space["step"](coefficients, carry, x)[0][0]

    def both(*leaves: jax.Array) -> tuple[jax.Array, tuple[jax.Array, ...]]:
        y, back = jax.vjp(value, *leaves)
        return y, back(jnp.ones_like(y))

    y, slopes = jax.jit(both)(*map(jnp.asarray, args))
    return np.asarray(y), [np.asarray(s) for s in slopes]


def cases() -> list[Any]:
    rows = [(op, value, args) for (op, value, _), args in gathered().items()]
    heavy = [(op, len(args)) in HEAVY or (value, len(args)) in HEAVY or value in ((2, 0, 0), (2, 1, 0), (2, 1, 1))
             for op, value, args in rows]  # fmt: skip
    return [
        pytest.param(*row, id=f"{row[0]}-{row[1]}", marks=pytest.mark.slow if slow else ())
        for row, slow in zip(rows, heavy, strict=True)
    ]


@pytest.mark.parametrize(("op", "value", "args"), cases())
def test_an_op(op: str, value: object, args: Args) -> None:
    program = one_op(op, len(args), value)
    wanted, slopes = interpreted(program, args)
    found, theirs = by_jax(program, args)
    assert distance(found, wanted) <= (1e-13 if op == "expm" else 2e-14)
    for ours, other in zip(slopes, theirs, strict=True):
        assert np.abs(ours - other).max() <= 1e-11 * max(1, np.abs(ours).max()), (ours, other)


def test_every_op_is_tried() -> None:
    assert {op for op, _, _ in OPS_AT} | {"const", "event", "operator", "network"} == set(OPS)


DEGENERATE: list[tuple[str, object, list[list[float]]]] = [
    ("phi", 1, [[0, -1e4]]),
    ("phi", 3, [[0, 2]]),
    ("cphi_re", 1, [[0, -1e4], [0, 1e4]]),
    ("cphi_im", 2, [[0, 1], [0, 0]]),
    ("edd", None, [[0, -1e4], [0, -1e4]]),
    ("edd", None, [[0, -1e4], [0, 0], [0, -1e4]]),
    ("pair", (0, "C"), [[0, 0], [0, 1]]),
    ("atan2", None, [[0], [0]]),
    ("pow", None, [[0], [2]]),
    ("sigmoid", None, [[-1e4]]),
    ("softplus", None, [[1e4]]),
    ("expm", (2, 0, 1), [[0, -1e4], [1, 0], [0, 1e-9], [0, -1e4]]),
    pytest.param("pair", (1, "S"), [[0, -1e4], [0, -1e8]], marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("op", "value", "args"), DEGENERATE)
def test_gradients_stay_finite_on_degenerate_sets(op: str, value: object, args: list[list[float]]) -> None:
    program = one_op(op, len(args), value)
    rows = [np.array(a, float) for a in args]
    wanted, slopes = interpreted(program, rows)
    found, theirs = by_jax(program, rows)
    assert np.isfinite([found, *theirs]).all()
    assert np.abs(found - wanted).max() <= 1e-13
    assert all(np.abs(a - b).max() <= 1e-12 for a, b in zip(slopes, theirs, strict=True))


@pytest.mark.parametrize("name", [*names(), *INVENTED])
def test_the_text_is_plain_python_without_neuroode(name: str) -> None:
    n = invented(name)
    text = jax_source(n.program(n.step_length(None) if n.spec.dt else 0.1))
    tree = ast.parse(text)
    imported = {a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names}
    assert imported == {"functools", "math", "jax", "jax.numpy"}
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert "neuroode" not in text


def test_second_derivatives_of_a_reset() -> None:
    """reset(e, a, b) is differentiated as b + e*(a - b), twice."""
    space: dict[str, Any] = {"__name__": "emitted"}
    exec(compile(jax_source(one_op("reset", 3)), "<emitted>", "exec"), space)
    point = tuple(jnp.asarray(v) for v in (1.0, 0.3, -0.2))

    def plain(e: jax.Array, a: jax.Array, b: jax.Array) -> jax.Array:
        return (b + e * (a - b)) ** 2

    def ours(e: jax.Array, a: jax.Array, b: jax.Array) -> jax.Array:
        return space["reset"](e, a, b) ** 2

    found, wanted = (np.array(jax.hessian(f, argnums=(0, 1, 2))(*point)) for f in (ours, plain))
    assert np.abs(found - wanted).max() <= 1e-15
    back = np.array(jax.jacrev(jax.grad(ours, argnums=(0, 1, 2)), argnums=(0, 1, 2))(*point))
    assert np.abs(back - wanted).max() <= 1e-15
