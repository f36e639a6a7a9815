"""One lane with noise moved by diffrax: dy = slope ds + spread dW, s from 0 to 1 (`flow_jax` without noise).

Each lane has its own length of time in `slope`, its root in `spread`, and its own steps. Methods without an error
estimate compare a step with its two halves.

Sources: Kidger, On neural differential equations (2022), for diffrax; Foster, "On the convergence of adaptive
approximations for stochastic differential equations" (2023) for SPaRK and for which adaptive steps converge; Foster,
dos Reis and Strange, SIAM J. Numer. Anal. 62 (2024) for SEA, ShARK and SlowRK; Roessler (2010) for SRA1.
"""

from __future__ import annotations

from typing import Any, ClassVar

import diffrax
import jax
import jax.numpy as jnp

from neuroode._errors import RunError, Unsupported
from neuroode.solvers.on_jax.brownian_jax import DEPTH, Path
from neuroode.solvers.on_jax.flow_jax import Slope, Solver

Array = jax.Array

ITO = {"Euler": diffrax.Euler, "ItoMilstein": diffrax.ItoMilstein}
STRATONOVICH = {
    "EulerHeun": diffrax.EulerHeun, "Heun": diffrax.Heun, "Midpoint": diffrax.Midpoint, "Ralston": diffrax.Ralston,
    "ReversibleHeun": diffrax.ReversibleHeun, "StratonovichMilstein": diffrax.StratonovichMilstein,
    "SPaRK": diffrax.SPaRK, "GeneralShARK": diffrax.GeneralShARK, "SlowRK": diffrax.SlowRK,
    "SEA": diffrax.SEA, "ShARK": diffrax.ShARK, "SRA1": diffrax.SRA1,
}  # fmt: skip
METHODS = ITO | STRATONOVICH
ADDITIVE = ("SEA", "ShARK", "SRA1")  # for additive noise
COMMUTATIVE = ("ItoMilstein", "StratonovichMilstein", "SlowRK")  # and for one stream, and diagonal noise
SHORTEST = 2.0 ** (4 - DEPTH)  # of a step: the path has leaves of 1/16 of it
RTOL, ATOL = 1e-3, 1e-4
DEFAULT = "SPaRK"  # it estimates its error from its own stages, for noise of any shape


def calculus(method: str) -> str:
    """In which a method converges."""
    return "ito" if method in ITO else "stratonovich"


def chosen(method: str | None, shape: str, fixed: bool) -> str:
    """The method for noise of a shape.

    Raises:
        Unsupported: one that would not converge. RunError: no such method.
    """
    method = method or DEFAULT
    if method not in METHODS:
        raise RunError(f"solver_options: method is {method!r}, which knows no noise",
                       hint="choose " + ", ".join(METHODS))  # fmt: skip
    if (method in ADDITIVE and shape != "additive") or (method in COMMUTATIVE and shape == "general"):
        kinds = "additive" if method in ADDITIVE else "additive, of one stream, or diagonal"
        raise Unsupported(f"diffrax's {method} takes noise that is {kinds}", hint=f"take {DEFAULT} or Heun")
    if not fixed and (method == "Euler" or (method in ("EulerHeun", "ReversibleHeun") and shape == "general")):
        raise Unsupported(f"{method} in adaptive steps may converge to another solution",
                          hint=f'write {{"step_size": 0.1}} beside it, or take {DEFAULT}')  # fmt: skip
    return method


def moved(solver: Solver, slope: Slope, spread: Slope, y: Array, path: Path, args: Any, length: Array) -> Array:
    """y at s = 1, (states,), differentiable through the steps.

    Args:
        slope, spread: (s, y, args) -> (states,), (states, streams), in the calculus of the solver's method.
        length: the lane's time, in the unit of `step_size`; not differentiated.

    Raises:
        the runtime error of diffrax, where `max_steps` do not suffice or steps would be shorter than the path resolves.
    """
    controller, first = _steps(solver, y.dtype, jax.lax.stop_gradient(length))
    direct = solver.adjoint == "none"
    method = _method(solver.method, solver.step_size is None, direct)
    found = diffrax.diffeqsolve(
        diffrax.MultiTerm(diffrax.ODETerm(slope), diffrax.ControlTerm(spread, path)), method,
        jnp.zeros((), y.dtype), jnp.ones((), y.dtype), first, y, args, stepsize_controller=controller,
        adjoint=diffrax.DirectAdjoint() if direct else diffrax.RecursiveCheckpointAdjoint(), max_steps=solver.max_steps,
    )  # fmt: skip
    return found.ys[0]


class _Halves(diffrax.HalfSolver):
    """DirectAdjoint asks a wrapped Runge-Kutta method for what only the method itself has."""

    scan_kind: ClassVar[str] = "bounded"


def _method(name: str, adaptive: bool, direct: bool) -> Any:
    kind = METHODS[name]
    plain = kind(scan_kind="bounded") if direct and issubclass(kind, diffrax.AbstractSRK) else kind()
    estimates = isinstance(plain, diffrax.AbstractAdaptiveSolver)
    return _Halves(plain) if adaptive and not estimates else plain


def _steps(solver: Solver, dtype: Any, length: Array) -> tuple[Any, Array]:
    size = jnp.maximum(jnp.abs(length), jnp.finfo(dtype).tiny)
    if solver.step_size is not None:  # a power of two: the ends are nodes of the path's tree
        count = jnp.exp2(jnp.maximum(jnp.ceil(jnp.log2(size / solver.step_size) - 1e-5), 0))
        return diffrax.ConstantStepSize(), (1 / count).astype(dtype)
    first = jnp.ones((), dtype) if solver.first_step is None else jnp.minimum(solver.first_step / size, 1)
    rtol, atol = solver.rtol or RTOL, ATOL if solver.atol is None else solver.atol
    # factors of Foster (2023): proportional and integral control, as errors along a path are rough
    controller = diffrax.PIDController(
        rtol=rtol, atol=atol, pcoeff=0.1, icoeff=0.3, dcoeff=0, dtmin=SHORTEST, force_dtmin=False
    )
    return controller, first.astype(dtype)
