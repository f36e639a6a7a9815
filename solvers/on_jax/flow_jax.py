"""One lane moved by diffrax over its own length of time: dy/ds = slope(s, y, args), s from 0 to 1.

The length of time is a factor of `slope`, so lanes of a batch move by different times, and the derivative by it is an
ordinary one. Callers map this over lanes: each lane takes its own steps, so what it gives does not depend on who else
is in the batch, an implicit method solves systems of a lane's size, and the error of one stiff lane is not averaged
away among many. The price is that a batch waits for its slowest lane.

Sources: Kidger, On neural differential equations (2022), for diffrax and its adjoints; Kidger, Chen and Lyons, "Hey,
that's not an ODE" (2021), for the norm of the backward solve, which leaves out the integrals.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import diffrax
import jax
import jax.numpy as jnp

Array = jax.Array
Slope = Callable[[Any, Any, Any], Any]

EXPLICIT = {
    "Euler": diffrax.Euler, "Heun": diffrax.Heun, "Midpoint": diffrax.Midpoint, "Ralston": diffrax.Ralston,
    "Bosh3": diffrax.Bosh3, "Tsit5": diffrax.Tsit5, "Dopri5": diffrax.Dopri5, "Dopri8": diffrax.Dopri8,
}  # fmt: skip
IMPLICIT = {
    "ImplicitEuler": diffrax.ImplicitEuler, "Kvaerno3": diffrax.Kvaerno3, "Kvaerno4": diffrax.Kvaerno4,
    "Kvaerno5": diffrax.Kvaerno5,
}  # fmt: skip
METHODS = EXPLICIT | IMPLICIT
ADAPTIVE = tuple(n for n in METHODS if n not in ("Euler", "ImplicitEuler"))  # those that estimate their error
ADJOINTS = ("none", "checkpointed", "backsolve")
STEPS = 256  # of an adaptive method in one call
#: rtol, atol where none are given, by the number of bytes of a float
TOLERANCES = {4: (1e-5, 1e-7), 8: (1e-7, 1e-9)}


@dataclass(frozen=True, slots=True)
class Solver:
    """How a lane is moved.

    Attributes:
        method: a name of `METHODS`.
        rtol, atol: of adaptive steps; None takes `TOLERANCES` of the states' dtype.
        step_size: at most, in units of time: fixed steps; None: adaptive ones.
        first_step: the first try of adaptive steps, in units of time; None: all of the way.
        max_steps: at most, of one call.
        adjoint: none (through every step), checkpointed (steps computed again), backsolve (the adjoint equation).
    """

    method: str = "Tsit5"
    rtol: float | None = None
    atol: float | None = None
    step_size: float | None = None
    first_step: float | None = None
    max_steps: int = STEPS
    adjoint: str = "none"

    def __call__(self, slope: Slope, y: Array, args: Any, length: Array) -> Array:
        """y at s = 1, differentiable as `adjoint` says.

        Args:
            slope: dy/ds at (s, y, args); hashable, and it closes over no array.
            y: (states,). args: what the slope reads of the lane; differentiated.
            length: the lane's time, in the unit of `step_size`; not differentiated.

        Raises:
            the runtime error of diffrax, where `max_steps` do not suffice or an implicit step finds no solution.
        """
        length = jax.lax.stop_gradient(length)
        if self.adjoint == "backsolve":
            return _walked_back(self, slope, y, args, length)
        how = diffrax.DirectAdjoint() if self.adjoint == "none" else diffrax.RecursiveCheckpointAdjoint()
        return _solved(self, slope, y, args, length, how)

    def still(self, slope: Slope, y: Array, args: Any, length: Array) -> Array:
        """The same without a gradient."""
        return _solved(self, slope, y, args, length, diffrax.ForwardMode())

    def tried(self, slope: Slope, y: Array, args: Any, length: Array) -> Array:
        """The same without an error: nan where the way cannot be gone, such as beyond the end of a solution."""
        return _solved(self, slope, y, args, length, diffrax.ForwardMode(), throw=False)

    def back(self, slope: Slope, y: Array, args: Any, length: Array, g: Array) -> tuple[Array, Array, Any]:
        """From y and its cotangent at s = 1: y, its cotangent, and that of args, at s = 0."""
        slots, tree = jax.tree.flatten(args)

        def field(s: Array, now: Any, args: Any) -> Any:
            y, a, _ = now
            d, pull = jax.vjp(lambda y, args: slope(1 - s, y, args), y, args)
            gy, gargs = pull(a)
            return -d, gy, jax.tree.leaves(gargs)

        start = y, g, [jnp.zeros_like(x) for x in slots]
        before, a, found = _solved(self, field, start, args, length, diffrax.ForwardMode(), norm=_of_states)
        return before, a, jax.tree.unflatten(tree, found)


def _of_states(now: Any) -> Array:
    """Root mean square of states and their cotangents: integrals do not feed back, so they do not steer the steps."""
    flat = jnp.concatenate([x.reshape(-1) for x in now[:2]])
    square = jnp.mean(jnp.square(flat))
    return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)


def _solved(
    solver: Solver, slope: Slope, y: Any, args: Any, length: Array, adjoint: Any, *, norm: Any = None,
    throw: bool = True,
) -> Any:  # fmt: skip
    dtype = jax.tree.leaves(y)[0].dtype
    controller, first = _steps(solver, dtype, length, norm)
    found = diffrax.diffeqsolve(
        diffrax.ODETerm(slope), _method(solver, dtype), jnp.zeros((), dtype), jnp.ones((), dtype), first, y, args,
        stepsize_controller=controller, adjoint=adjoint, max_steps=solver.max_steps,
        throw=throw,
    )  # fmt: skip
    done = jax.tree.map(lambda x: x[0], found.ys)
    fine = found.result == diffrax.RESULTS.successful
    return done if throw else jax.tree.map(lambda x: jnp.where(fine, x, jnp.nan), done)


def _tolerances(solver: Solver, dtype: Any) -> tuple[float, float]:
    own = TOLERANCES[dtype.itemsize]
    return solver.rtol or own[0], own[1] if solver.atol is None else solver.atol


def _method(solver: Solver, dtype: Any) -> Any:
    if solver.method not in IMPLICIT or solver.step_size is None:
        return METHODS[solver.method]()
    rtol, atol = _tolerances(solver, dtype)  # of fixed steps; adaptive ones hand their own on
    return IMPLICIT[solver.method](root_finder=diffrax.VeryChord(rtol, atol))


def _steps(solver: Solver, dtype: Any, length: Array, norm: Any) -> tuple[Any, Array]:
    size = jnp.maximum(jnp.abs(length), jnp.finfo(dtype).tiny)
    if solver.step_size is not None:
        count = jnp.maximum(jnp.ceil(size / solver.step_size * (1 - 8 * jnp.finfo(dtype).eps)), 1)
        return diffrax.ConstantStepSize(), (1 / count).astype(dtype)
    first = jnp.ones((), dtype) if solver.first_step is None else jnp.minimum(solver.first_step / size, 1)
    rtol, atol = _tolerances(solver, dtype)
    more = {} if norm is None else {"norm": norm}
    return diffrax.PIDController(rtol=rtol, atol=atol, **more), first.astype(dtype)


def steps_for(length: float, step_size: float) -> int:
    """How many fixed steps a length of time takes."""
    return max(1, math.ceil(length / step_size * (1 - 1e-9)))


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _walked_back(solver: Solver, slope: Slope, y: Array, args: Any, length: Array) -> Array:
    """y at s = 1. Only that value is kept; the way back is solved again, with its cotangents beside it."""
    return solver.still(slope, y, args, length)


def _forward(solver: Solver, slope: Slope, y: Array, args: Any, length: Array) -> tuple[Array, Any]:
    after = solver.still(slope, y, args, length)
    return after, (after, args, length)


def _backward(solver: Solver, slope: Slope, kept: Any, g: Array) -> tuple[Array, Any, Any]:
    after, args, length = kept
    _, a, found = solver.back(slope, after, args, length, g)
    return a, found, jnp.zeros_like(length)


_walked_back.defvjp(_forward, _backward)
