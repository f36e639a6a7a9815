"""Parameters of a layer: stored numbers, their constrained form, and the way back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch

from neuroode._errors import RunError
from neuroode.nn import transforms_torch as transforms
from neuroode.program import values as numbers
from neuroode.spec.types import NeuronSpec, ParameterDecl

Tensor = torch.Tensor


class Parameters(torch.nn.Module):
    """Stored numbers of every declared parameter: `raw_NAME` trained, `value_NAME` constant; complex ones as (..., 2).

    Raises:
        SpecError: a declared value outside its domain.
    """

    def __init__(self, spec: NeuronSpec, dt: float, size: tuple[int, ...], dtype: torch.dtype, device: Any) -> None:
        super().__init__()
        self.spec, self.size = spec, size
        rng = np.random.default_rng(int(torch.randint(2**31 - 1, ()).item()))
        start = numbers.initial_values(spec, dt, size, rng)
        for p in spec.parameters:
            value = self._stored(p, start[p.name], start | {"dt": np.asarray(dt)}).to(dtype=dtype, device=device)
            if p.trainable:
                self.register_parameter(f"raw_{p.name}", torch.nn.Parameter(value))
            else:
                self.register_buffer(f"value_{p.name}", value)

    def stored(self, p: ParameterDecl) -> Tensor:
        return getattr(self, f"raw_{p.name}" if p.trainable else f"value_{p.name}")

    def bounds(self, p: ParameterDecl, dt: float) -> tuple[float, float]:
        """Bounds of the domain; they may read constants and dt."""
        if not p.bounds:
            return numbers.bounds(p, {})
        constants = {
            q.name: self.stored(q).detach().cpu().double().numpy() for q in self.spec.parameters if not q.trainable
        }
        return numbers.bounds(p, constants | {"dt": dt})

    def constrained(self, p: ParameterDecl, dt: float) -> Tensor:
        """The value in its domain, float64 (complex128), differentiable."""
        raw = self.stored(p).double()
        if p.type == "complex":
            return torch.view_as_complex(raw)
        return transforms.forward(p, raw, self.bounds(p, dt)) if p.trainable else raw

    def _stored(self, p: ParameterDecl, value: Any, others: Mapping[str, Any]) -> Tensor:
        if p.type == "complex":
            return torch.view_as_real(torch.as_tensor(value, dtype=torch.complex128)).clone()
        tensor = torch.as_tensor(np.asarray(value, float))
        return transforms.inverse(p, tensor, numbers.bounds(p, others)) if p.trainable else tensor.clone()

    @torch.no_grad()
    def write(self, name: str, value: Any, dt: float) -> None:
        """Set a constrained value in place.

        Raises:
            RunError: no such parameter, or a shape that does not fit.
            SpecError: a value outside the domain.
        """
        p = self._declaration(name)
        kind = complex if p.type == "complex" else float
        given = value.detach().cpu().numpy() if isinstance(value, Tensor) else value
        fitted = numbers.fit(p, np.asarray(given, kind), self.size)
        others = {q.name: self.constrained(q, dt).detach().cpu().numpy() for q in self.spec.parameters} | {
            "dt": np.asarray(dt)
        }
        numbers.check_domain(p, fitted, others)
        self.stored(p).copy_(self._stored(p, fitted, others))

    def _declaration(self, name: str) -> ParameterDecl:
        found = next((p for p in self.spec.parameters if p.name == name), None)
        if found is None:
            known = ", ".join(p.name for p in self.spec.parameters)
            raise RunError(f"'{name}' is not a parameter of '{self.spec.name}'", hint=f"parameters: {known}")
        return found

    @torch.no_grad()
    def project(self, dt: float) -> None:
        """Move stored numbers whose image left the domain to its bound."""
        for p in self.spec.parameters:
            if p.trainable and p.type == "real" and p.domain != "real":
                raw = self.stored(p)
                moved = transforms.project(p, raw.double(), self.bounds(p, dt))
                raw.copy_(torch.where(moved == raw.double(), raw, moved.to(raw.dtype)))

    def slots(self, dt: float) -> dict[str, Tensor]:
        """Constrained values by slot name without `p.`, in a form that broadcasts against *size*."""
        rows: dict[str, Tensor] = {}
        for p in self.spec.parameters:
            value = self.constrained(p, dt)
            if "channel" in p.per:
                value = value.reshape(-1, *([1] * (len(self.size) - 1)))
            rows |= {f"{p.name}.re": value.real, f"{p.name}.im": value.imag} if p.type == "complex" else {p.name: value}
        return rows


class Values(Mapping[str, Tensor]):
    """`layer.values[name]`: any parameter in constrained form, in the layer's dtype."""

    def __init__(self, parameters: Parameters, dt: float) -> None:
        self._parameters, self._dt = parameters, dt

    def __getitem__(self, name: str) -> Tensor:
        p = self._parameters._declaration(name)
        value = self._parameters.constrained(p, self._dt)
        dtype = self._parameters.stored(p).dtype
        wanted = torch.complex128 if dtype == torch.float64 else torch.complex64
        return value.to(wanted if p.type == "complex" else dtype)

    def __iter__(self) -> Iterator[str]:
        return iter([p.name for p in self._parameters.spec.parameters])

    def __len__(self) -> int:
        return len(self._parameters.spec.parameters)

    def __repr__(self) -> str:
        return "Values(" + ", ".join(f"{n}: {tuple(self[n].shape)}" for n in self) + ")"
