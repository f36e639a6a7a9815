"""Functions across the neurons of a layer as parts of its module: given modules, and learned matrices."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from math import prod
from typing import Any

import torch

from neuroode._errors import RunError
from neuroode.expr.functions import GRADIENT
from neuroode.program.operators import bound, check_operators, check_shape
from neuroode.program.types import Program

Tensor = torch.Tensor


class Operators(torch.nn.Module):
    """External operators as given, dense ones as parameters (N, N), [to, from].

    Raises:
        RunError: an external operator is missing, or one is given that is not declared.
    """

    def __init__(
        self, program: Program, given: Mapping[str, Any], size: tuple[int, ...], dtype: torch.dtype, device: Any
    ) -> None:
        super().__init__()
        check_operators(program, given, accepted={"torch": "torch modules"})
        self._functions: dict[str, Any] = {}
        for name, f in given.items():
            if isinstance(f, torch.nn.Module):
                self.add_module(f"external_{name}", f)
            else:
                self._functions[name] = f
        self._kinds = program.operators
        for name in self.dense():
            matrix = torch.empty(prod(size), prod(size), dtype=dtype, device=device)
            torch.nn.init.uniform_(matrix, -bound(size), bound(size))
            self.register_parameter(f"dense_{name}", torch.nn.Parameter(matrix))

    def dense(self) -> tuple[str, ...]:
        """Names of the learned matrices."""
        return tuple(n for n, kind in self._kinds if kind == "dense")

    def matrices(self) -> dict[str, Tensor]:
        """Learned matrices by name."""
        return {n: getattr(self, f"dense_{n}") for n in self.dense()}

    @torch.no_grad()
    def write(self, values: Mapping[str, Any]) -> None:
        """Set matrices in place, all or none.

        Raises:
            RunError: a shape that does not fit.
        """
        now = self.matrices()
        fresh = {n: torch.as_tensor(v, dtype=now[n].dtype, device=now[n].device) for n, v in values.items()}
        for name, value in fresh.items():
            if value.shape != now[name].shape:
                raise RunError(f"operator '{name}' is {tuple(value.shape)}, expected {tuple(now[name].shape)}")
        for name, value in fresh.items():
            now[name].copy_(value)

    def calls(self) -> dict[str, Callable[[Tensor], Tensor]]:
        """Functions of (B, *size*) by name; networks of (B, *size*, axis)."""
        return {name: self._call(name, kind) for name, kind in self._kinds}

    def _call(self, name: str, kind: str) -> Callable[[Tensor], Tensor]:
        if kind == "dense":
            matrix = getattr(self, f"dense_{name}")
            return lambda x: (x.reshape(len(x), -1) @ matrix.T).reshape(x.shape)
        if kind == "gradient":
            return partial(
                _gradient, self._call(name.removeprefix(GRADIENT), dict(self._kinds)[name.removeprefix(GRADIENT)])
            )
        f = self._functions.get(name) or getattr(self, f"external_{name}")

        def call(x: Tensor) -> Tensor:
            y = f(x)
            wanted = x.shape[:-1] if kind == "network" else x.shape
            found = y.shape if isinstance(y, torch.Tensor) else None
            if kind == "network" and found == (*wanted, 1):
                return y[..., 0]
            check_shape(name, found and tuple(found), tuple(x.shape), tuple(wanted))
            return y

        return call


def _gradient(f: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """The gradient of f(x).sum(), itself with gradients to x and to what f holds."""
    training = torch.is_grad_enabled()
    with torch.enable_grad():
        point = x if x.requires_grad else x.detach().requires_grad_()
        (found,) = torch.autograd.grad(f(point).sum(), point, create_graph=training)
    return found
