"""A batch moved by torchsde over times of its own: dy = slope(s, y) ds + spread(s, y) dW, s from 0 to 1.

Each lane has its own length of time in `slope` and its root in `spread`, so lanes move by different times. Adaptive
steps compare a step with its two halves on the same path; they are taken for the whole batch at once, and their error
is the root mean square over it.
Sources: Li, Wong, Chen and Duvenaud (2020), torchsde; Kloeden and Platen (1992), ch. 10 and 11 for the schemes;
Roessler, SIAM J. Numer. Anal. 48 (2010) for srk; Kidger, Foster, Li and Lyons (2021) for reversible_heun and its exact
adjoint; Gaines and Lyons, SIAM J. Appl. Math. 57 (1997) for why Euler-Maruyama takes no adaptive steps.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torchsde

from neuroode._errors import RunError, Unsupported
from neuroode.solvers.on_torch.brownian_torch import DEPTH, Path

Tensor = torch.Tensor
Field = Callable[[Tensor, Tensor], Tensor]

#: method -> the calculus in which it converges
CALCULUS = {
    "euler": "ito", "milstein": "ito", "srk": "ito",
    "euler_heun": "stratonovich", "heun": "stratonovich", "midpoint": "stratonovich",
    "reversible_heun": "stratonovich",
}  # fmt: skip
GENERAL = ("euler", "euler_heun", "heun", "midpoint", "reversible_heun")  # for noise of any shape
NUMBERS = ("rtol", "atol", "step_size", "first_step", "max_num_steps")
RTOL, ATOL = 1e-3, 1e-4
STEPS = 10_000  # adaptive ones, in a step of the layer; each asks the path three times
CUT = 1024  # parts that are found together
SHORTEST = 2.0 ** (4 - DEPTH)  # of a step: the path has leaves of 1/16 of it


@dataclass(frozen=True, slots=True)
class Noisy:
    """How a flow with noise is moved.

    Attributes:
        method: a name of `CALCULUS`; None: srk, or heun where the noise is general.
        rtol, atol: of adaptive steps.
        step_size: at most, in units of time: fixed steps, a power of two of them; None: adaptive steps.
        first_step: the first try of adaptive steps, in units of time; None: the whole way.
        max_num_steps: most adaptive steps, those that are rejected among them.
        backsolve: the exact adjoint of reversible_heun, in place of autograd through the steps.
    """

    method: str | None = None
    rtol: float = RTOL
    atol: float = ATOL
    step_size: float | None = None
    first_step: float | None = None
    max_num_steps: float = STEPS
    backsolve: bool = False

    def __call__(
        self, slope: Field, spread: Field, y: Tensor, path: Path, shape: str, length: float, reads: Any = ()
    ) -> Tensor:
        """y at s = 1, (lanes, states).

        Args:
            slope: (s, y) -> (lanes, states), in the method's calculus.
            spread: (s, y) -> (lanes, states, streams), or (lanes, states) of diagonal noise.
            shape: of the noise: additive, scalar, diagonal or general.
            length: the longest time of a lane, in the unit of `step_size`.
            reads: what slope and spread read, to which gradients of `backsolve` go.

        Raises:
            RunError: a value that is not finite, or steps shorter than the path resolves.
        """
        assert self.method is not None
        equation = _Equation(slope, spread, shape, CALCULUS[self.method])
        times = torch.tensor([0.0, 1.0], dtype=torch.float64, device=y.device)
        named = {"method": self.method, "bm": path, **self._steps(length, path)}
        if self.backsolve and torch.is_grad_enabled():
            found = torchsde.sdeint_adjoint(equation, y, times, adjoint_params=tuple(reads), **named)
        else:
            found = _integrated(equation, y, times, named)
        return found[-1]

    def _steps(self, length: float, path: Path) -> dict[str, Any]:
        if self.step_size is not None:
            count = parts(length, self.step_size)
            if count <= CUT:
                path.cut(count)
            return {"dt": 1.0 / count}
        path.left = 3 * self.max_num_steps
        first = 1.0 if self.first_step is None else min(self.first_step / length, 1.0)
        return {"dt": first, "adaptive": True, "rtol": self.rtol, "atol": self.atol, "dt_min": SHORTEST}


@dataclass(frozen=True, slots=True)
class _Equation:
    """What torchsde asks for."""

    f: Field
    g: Field
    noise_type: str
    sde_type: str


def parts(length: float, step_size: float) -> int:
    """The power of two of equal steps that are at most so long: their ends are nodes of the path's tree."""
    return 2 ** max(0, math.ceil(math.log2(length / step_size) - 1e-9))


def _integrated(equation: _Equation, y: Tensor, times: Tensor, named: dict[str, Any]) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        try:
            return torchsde.sdeint(equation, y, times, **named)
        except AssertionError as error:
            raise RunError("the solver met a value that is not finite",
                           hint="the flow explodes: take a shorter dt, or smaller noise") from error  # fmt: skip
        except UserWarning as error:
            what = f"{named['method']} needs steps below 2^-{DEPTH - 4} of dt for its tolerance"
            raise RunError(what, hint="take a larger rtol and atol, a shorter dt, or a step_size") from error


def solver(options: Mapping[str, Any], backsolve: bool) -> Noisy:
    """From a mapping such as {"method": "heun", "step_size": 0.1}.

    Raises:
        Unsupported: no such method, or one that has no such adjoint. RunError: no such option, or no such value of it.
    """
    given = dict(options)
    method = given.pop("method", "reversible_heun" if backsolve else None)
    if method is not None and method not in CALCULUS:
        raise Unsupported(f"torchsde's method {method!r} is not one that steps of a neuron are moved by",
                          hint="choose one of " + ", ".join(CALCULUS))  # fmt: skip
    for name, value in given.items():
        if name not in NUMBERS:
            raise RunError(f"solver_options: '{name}' is no option of torchsde", hint="there are method, "
                           + ", ".join(NUMBERS))  # fmt: skip
        if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
            raise RunError(f"solver_options: {name} is {value!r}, expected a positive number")
    if backsolve and (method != "reversible_heun" or "step_size" not in given):
        raise Unsupported("adjoint='backsolve' with noise is that of reversible_heun in fixed steps: other methods "
                          "lose the path of the states on the way back",
                          hint='solver_options={"method": "reversible_heun", "step_size": 0.1}')  # fmt: skip
    return Noisy(method, backsolve=backsolve, **{n: float(x) for n, x in given.items()})


def chosen(options: Noisy, shape: str) -> str:
    """The method for noise of a shape.

    Raises:
        Unsupported: a method that would not converge.
    """
    if options.method is None:
        return "heun" if shape == "general" else "srk"
    if shape == "general" and options.method not in GENERAL:
        raise Unsupported(f"torchsde's {options.method} takes noise that is additive, of one stream, or diagonal",
                          hint="choose among " + ", ".join(GENERAL))  # fmt: skip
    if options.step_size is None and shape != "additive" and options.method in ("euler", "reversible_heun"):
        raise Unsupported(f"{options.method} has strong order 1/2 for noise that reads the state: in adaptive steps it "
                          "may converge to another solution",
                          hint='write {"step_size": 0.1} beside it, or take srk, milstein or heun')  # fmt: skip
    return options.method
