"""What `neuroode.nn.linear_gaussian` needs of jax: a step of a layer on a basis, and array functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from neuroode._errors import RunError
from neuroode.nn import eager_jax, forward_jax
from neuroode.nn.linear_gaussian import Transition
from neuroode.nn.parameters_jax import Parameters

Array = jax.Array
Pair = tuple[Array, Array]
concat, broadcast, log, cholesky, held = (
    jnp.concatenate, jnp.broadcast_to, jnp.log, jnp.linalg.cholesky, jax.lax.stop_gradient,
)  # fmt: skip
jax.tree_util.register_dataclass(Transition, ["A", "B", "b", "L"], ["states", "inputs", "noisy"])


def end(layer: Any, rows: Mapping[str, np.ndarray]) -> Array:
    """(rows, *size*, n): the states after one step from each row of numbers."""
    return _end(
        layer.frame, layer.parameters_of_neuron, {n: jnp.asarray(v, layer.frame.dtype) for n, v in rows.items()}
    )


@partial(jax.jit, static_argnums=0)
def _end(frame: Any, parameters: Parameters, rows: Mapping[str, Array]) -> Array:
    program, count = frame.program, len(next(iter(rows.values())))
    coefficients, _ = forward_jax.prepare(frame, parameters, count)
    shape = (count, *[1] * len(frame.size))
    wide = {n: broadcast(v.reshape(shape), (count, *frame.size)) for n, v in rows.items()}
    start = [wide[s.name] for s in program.carry]
    return stack(eager_jax.run(program, coefficients, [wide[n][None] for n in program.inputs], start).carry)


def moved(layer: Any) -> bool:
    """Whether a solver, or a method of the whole past, moves the layer."""
    return layer.frame.solver is not None


def may_differ(x: Array) -> bool:
    """Whether some number is not 0, as far as it is known."""
    return isinstance(x, jax.core.Tracer) or bool((x != 0).any())


def stack(columns: Sequence[Array]) -> Array:
    return jnp.stack(list(columns), axis=-1)


def steps(after: Callable[[Pair, Array], Pair], start: Pair, drive: Array) -> Pair:
    """`after` repeated over the rows of `drive`."""

    def both(now: Pair, c: Array) -> tuple[Pair, Pair]:
        now = after(now, c)
        return now, now

    return jax.lax.scan(both, start, drive)[1]


def solve(root: Array, x: Array) -> Array:
    shape = np.broadcast_shapes(root.shape[:-2], x.shape[:-2])
    left, right = (broadcast(a, (*shape, *a.shape[-2:])) for a in (root, x))
    return jax.scipy.linalg.solve_triangular(left, right, lower=True)


def eps(x: Array) -> float:
    return float(jnp.finfo(x.dtype).eps)


def refuse(value: Array, bad: Array, what: str, hint: str) -> Array:
    """The value, where it is not bad; under a trace it is an error when it runs."""
    if isinstance(bad, jax.core.Tracer):
        return eqx.error_if(value, bad, what)
    if bad:
        raise RunError(what, hint=hint)
    return value
