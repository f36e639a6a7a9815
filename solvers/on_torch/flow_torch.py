"""A batch moved by torchdiffeq over times of its own: dy/ds = slope(s, y), s from 0 to 1.

Each lane has its own length of time in `slope`, so any solver of one batch moves lanes by different times, and the
derivative by the length of time is one of autograd's. Adaptive steps are taken for the whole batch at once; their error
is that of the worst lane.
Source: R. T. Q. Chen, torchdiffeq; the method of a call is one of its explicit Runge-Kutta methods.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torchdiffeq import odeint

from neuroode._errors import RunError, Unsupported

Tensor = torch.Tensor
Slope = Callable[[Tensor, Any], Any]

ADAPTIVE = ("dopri5", "dopri8", "bosh3", "fehlberg2", "adaptive_heun")
FIXED = ("rk4", "euler", "midpoint", "heun2", "heun3")
#: rtol, atol where none are given
TOLERANCES = {torch.float32: (1e-5, 1e-7), torch.float64: (1e-7, 1e-9)}
STEPS = 10_000  # of an adaptive method in one call
LENGTHS = ("first_step", "min_step", "max_step")  # in units of time; torchdiffeq counts in those of s
FACTORS = ("safety", "ifactor", "dfactor")
TOO_LARGE = 1e10  # an error in tolerances


@dataclass(frozen=True, slots=True)
class Solver:
    """How a flow is moved.

    Attributes:
        method: one of `ADAPTIVE` or `FIXED`.
        rtol, atol: of adaptive methods; None takes `TOLERANCES` of the states' dtype.
        step_size: of fixed methods, at most, in units of time; None: one step.
        options: first_step, min_step, max_step (units of time), safety, ifactor, dfactor, max_num_steps.
    """

    method: str = "dopri5"
    rtol: float | None = None
    atol: float | None = None
    step_size: float | None = None
    options: Mapping[str, float] = field(default_factory=dict)

    @property
    def adaptive(self) -> bool:
        return self.method in ADAPTIVE

    def __call__(self, slope: Slope, y: Any, length: float, at: Tensor | None = None, norm: Any = None) -> Any:
        """The states at s = 1, or at each of `at`, (len(at), ...); those before the end are interpolated.

        Args:
            slope: dy/ds at (s, y); y is a tensor (states, lanes...) or, with `norm`, a tuple of tensors.
            length: the longest time of a lane, in the unit of `step_size`.
            at: increasing, from 0 to 1.

        Raises:
            RunError: a step that underflows, is not finite, or is one too many.
        """
        first = y if isinstance(y, Tensor) else y[0]
        points = torch.tensor([0.0, 1.0], dtype=torch.float64, device=first.device) if at is None else at
        if not first.numel() or length <= 0:
            return _still(y, None if at is None else len(points))
        if not self.adaptive:
            points = points.to(first.dtype)
        rtol, atol = (g if g is not None else d for g, d in
                      zip((self.rtol, self.atol), TOLERANCES[first.dtype], strict=True))  # fmt: skip
        more = self._adaptive(length, points, norm) if self.adaptive else self._fixed(length)
        try:
            found = odeint(slope, y, points, rtol=rtol, atol=atol, method=self.method, options=more)
        except AssertionError as error:  # the way in which torchdiffeq reports what went wrong
            raise _failed(self, str(error)) from error
        return found if at is not None else found[-1] if isinstance(found, Tensor) else tuple(x[-1] for x in found)

    def _adaptive(self, length: float, points: Tensor, norm: Any) -> dict[str, Any]:
        lengths = {n: self.options[n] / length for n in LENGTHS if n in self.options}
        lengths.setdefault("first_step", 1.0)
        others = {n: self.options[n] for n in FACTORS if n in self.options}
        limit = int(self.options.get("max_num_steps", STEPS))
        # a step ends at the end: a value between steps has the error of an interpolation, which nothing controls
        own = {"max_num_steps": limit, "step_t": points[-1:], "norm": partial(_size, norm or worst_lane)}
        return lengths | others | own

    def _fixed(self, length: float) -> dict[str, Any]:
        if self.step_size is None:
            return {}
        return {"grid_constructor": lambda _f, _y, points: _refined(points, self.step_size / length)}


def worst_lane(error: Tensor) -> Tensor:
    """The largest root mean square over the states of a lane: the tolerance holds in each, whatever the batch."""
    return error.detach().square().mean(0).amax().sqrt()


def _size(norm: Callable[[Any], Tensor], error: Any) -> Tensor:
    """A trial step whose error is no number is far too long: torchdiffeq would go on with a length that is none."""
    return torch.nan_to_num(norm(error), nan=TOO_LARGE, posinf=TOO_LARGE).clamp_max(TOO_LARGE)


def solver(options: Mapping[str, Any]) -> Solver:
    """From a mapping such as {"method": "rk4", "step_size": 0.1}.

    Raises:
        Unsupported: no such method. RunError: no such option, or one that is no positive number.
    """
    given = dict(options)
    method = given.pop("method", "dopri5")
    if method not in (*ADAPTIVE, *FIXED):
        what = f"torchdiffeq's method {method!r} is not one that steps of a neuron are moved by"
        raise Unsupported(what, hint="choose one of " + ", ".join((*ADAPTIVE, *FIXED)))
    own = ("rtol", "atol", *LENGTHS, *FACTORS, "max_num_steps") if method in ADAPTIVE else ("step_size",)
    for name, value in given.items():
        if name not in own:
            raise RunError(f"solver_options: '{name}' is no option of method {method}", hint="there are method, "
                           + ", ".join(own))  # fmt: skip
        if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
            raise RunError(f"solver_options: {name} is {value!r}, expected a positive number")
    named = {n: float(given.pop(n)) for n in ("rtol", "atol", "step_size") if n in given}
    return Solver(method, options=given, **named)


def _still(y: Any, count: int | None) -> Any:
    """What does not move, at each of `count` points."""
    if count is None:
        return y
    return y.expand(count, *y.shape) if isinstance(y, Tensor) else tuple(_still(x, count) for x in y)


def _refined(points: Tensor, step: float) -> Tensor:
    """The points, and between them as many more as steps of at most `step` need."""
    parts = [points[:1]]
    for low, high in pairwise(points):
        count = max(1, int(torch.ceil((high - low) / step * (1 - 1e-6))))
        inner = low + (high - low) * torch.arange(1, count + 1, device=points.device).to(points) / count
        parts += [inner[:-1], high[None]]
    return torch.cat(parts)


def _failed(used: Solver, message: str) -> RunError:
    if "non-finite" in message:
        hint = "the flow explodes: take a shorter dt, or a peak that the reset reaches earlier"
        return RunError("the solver met a value that is not finite", hint=hint)
    if "underflow" in message or "max_num_steps" in message:
        what = f"{used.method} does not reach the end of a step: the flow is stiff or explodes there"
        return RunError(
            what, hint="take looser rtol and atol, a shorter dt, or leave solver= out and take a method made for it"
        )
    return RunError(f"{used.method} failed: {message}")
