"""Parameters of a layer: stored numbers, their constrained form, and the way back."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any

import numpy as np
import torch

from neuroode._errors import RunError
from neuroode.nn import domains_torch as domains
from neuroode.nn import parameters as table
from neuroode.nn import transforms_torch as transforms
from neuroode.program import values as numbers
from neuroode.program.domains import kind_over_axes
from neuroode.program.values import transform_name
from neuroode.spec.types import NeuronSpec, ParameterDecl
from neuroode.system.indices import (
    axis_sizes,
    element_values,
    slot_parameters,
    table_parameters,
    weight_parameters,
)

Tensor = torch.Tensor


class Parameters(torch.nn.Module):
    """Stored numbers of every declared parameter: `raw_NAME` trained, `value_NAME` constant; complex ones as (..., 2).

    Args:
        share: name -> the `Parameters` that hold a `per: network` parameter; what is not there yet is added.

    Raises:
        SpecError: a declared value outside its domain.
        RunError: a shared parameter that is declared otherwise.
    """

    def __init__(
        self, spec: NeuronSpec, dt: float, size: tuple[int, ...], dtype: torch.dtype, device: Any,
        share: MutableMapping[str, Parameters] | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.spec, self.size, self.sizes = spec, size, axis_sizes(spec)
        self.tables, self.weights = table_parameters(spec), weight_parameters(spec)
        self.dt = dt  # of the bounds that stored numbers are squashed into: another step changes no value
        rng = np.random.default_rng(int(torch.randint(2**31 - 1, ()).item()))
        start = numbers.initial_values(spec, dt, size, rng)
        base = numbers.in_base(spec, start | {"dt": np.asarray(dt)})
        for p in spec.parameters:
            value = _stored(p, start[p.name], base, dtype).to(device=device)
            shared = share is not None and "network" in p.per
            if p.trainable:
                self.register_parameter(f"raw_{p.name}", torch.nn.Parameter(value))
            elif shared:  # a buffer would become one of its own when the layer moves to another device
                self.register_parameter(f"value_{p.name}", torch.nn.Parameter(value, requires_grad=False))
            else:
                self.register_buffer(f"value_{p.name}", value)
            if shared and share is not None:
                self._adopt(p, share.setdefault(p.name, self))

    def _adopt(self, p: ParameterDecl, owner: Parameters) -> None:
        """Hold the number of another layer.

        Raises:
            RunError: it is stored otherwise there.
        """
        if owner is self:
            return
        q, mine, theirs = table.declaration(owner.spec, p.name), self.stored(p), owner.stored
        found, wanted = ((d.domain, d.transform, d.type, d.unit, d.trainable, d.per) for d in (p, q))
        same = found == wanted and self.bounds(p) == owner.bounds(q)
        if not same or (mine.shape, mine.dtype, mine.device) != (theirs(q).shape, theirs(q).dtype, theirs(q).device):
            what = f"parameter '{p.name}' of '{self.spec.name}' is not stored like that of '{owner.spec.name}'"
            raise RunError(what, hint="layers share what they declare alike, in one dtype on one device")
        own = theirs(q)
        assert isinstance(own, torch.nn.Parameter)
        self.register_parameter(f"raw_{p.name}" if p.trainable else f"value_{p.name}", own)

    def stored(self, p: ParameterDecl) -> Tensor:
        return getattr(self, f"raw_{p.name}" if p.trainable else f"value_{p.name}")

    def bounds(self, p: ParameterDecl, dt: float | None = None) -> tuple[float, float]:
        """Bounds of the domain at a step; they may read constants. Without `dt`: those of the stored numbers."""
        return table.bounds(self.spec, p, self._number, self.dt if dt is None else dt)

    def _number(self, p: ParameterDecl) -> np.ndarray:
        return self.constrained(p).detach().cpu().numpy()

    def constrained(self, p: ParameterDecl) -> Tensor:
        """The value in its domain, float64 (complex128), differentiable."""
        raw = self.stored(p).double()
        if p.type == "complex":
            return torch.view_as_complex(raw)
        if p.trainable and kind_over_axes(p):
            return domains.forward(p, raw)
        return transforms.forward(p, raw, self.bounds(p)) if p.trainable else raw

    def exact(self, p: ParameterDecl) -> Tensor:
        """The same in any precision: the stored tensor itself where it is the value, else `constrained`."""
        plain = p.type != "complex" and not (p.trainable and kind_over_axes(p))
        return self.stored(p) if plain and (not p.trainable or transform_name(p) == "none") else self.constrained(p)

    @torch.no_grad()
    def write(self, given: Mapping[str, Any], dt: float) -> None:
        """Set constrained values in place, all or none. What is not named keeps its value, also if its bounds move.

        Raises:
            RunError: no such parameter, or a shape that does not fit.
            SpecError: a value outside the domain.
        """
        arrays = {n: v.detach().cpu().numpy() if isinstance(v, Tensor) else v for n, v in given.items()}
        now = table.written(self.spec, self.numbers(), arrays, self.size, dt)
        built = numbers.in_base(self.spec, now | {"dt": self.dt})
        rows = [p for p in self.spec.parameters if table.touched(p, given)]
        fresh = [(p, _stored(p, now[p.name], built, self.stored(p).dtype)) for p in rows]
        for p, value in fresh:
            self.stored(p).copy_(value)

    def numbers(self) -> dict[str, np.ndarray]:
        """Every constrained value as a numpy array."""
        return {p.name: self._number(p) for p in self.spec.parameters}

    def check(self, dt: float) -> None:
        """Whether every value lies in its domain at another step.

        Raises:
            RunError: one does not.
        """
        table.check_step(self.spec, self.numbers(), lambda p: self.bounds(p, dt) != self.bounds(p), dt)

    def value(self, name: str) -> Tensor:
        """A parameter in constrained form, in the layer's dtype.

        Raises:
            RunError: no such parameter.
        """
        p = table.declaration(self.spec, name)
        dtype = self.stored(p).dtype
        wanted = torch.complex128 if dtype == torch.float64 else torch.complex64
        return self.constrained(p).to(wanted if p.type == "complex" else dtype)

    @torch.no_grad()
    def project(self, dt: float) -> None:
        """Move stored numbers whose image left the domain to its bound."""
        for p in self.spec.parameters:
            if p.trainable and p.type == "real" and p.domain != "real":
                raw, bounds = self.stored(p), self.bounds(p, dt)
                if kind_over_axes(p):
                    raw.copy_(domains.project(p, raw.double()))
                    continue
                moved = transforms.project(p, raw.double(), bounds)
                raw.copy_(torch.where(moved == raw.double(), raw, transforms.rounded(p, moved, bounds, raw.dtype)))

    def slots(self) -> dict[str, Tensor]:
        """Constrained values by slot name without `p.`, in a form that broadcasts against *size*."""
        rows: dict[str, Tensor] = {}
        for p in slot_parameters(self.spec):
            for name, part in element_values(p, self.sizes, self.constrained(p)).items():
                value = part.reshape(-1, *([1] * (len(self.size) - 1))) if "channel" in p.per else part
                rows |= {f"{name}.re": value.real, f"{name}.im": value.imag} if p.type == "complex" else {name: value}
        return rows


def shared_parameters(share: Any) -> MutableMapping[str, Parameters] | None:
    """The option `share=` of a layer as a table of who holds what.

    Raises:
        RunError: neither a layer nor a dict.
    """
    if share is None or isinstance(share, dict):
        return share
    inner = getattr(share, "parameters_of_neuron", None)
    if not isinstance(inner, Parameters):
        raise RunError(f"share is a {type(share).__name__}", hint="pass a layer, or one dict to all layers: share={}")
    return {p.name: inner for p in inner.spec.parameters if "network" in p.per}


def _stored(p: ParameterDecl, value: np.ndarray, base: Mapping[str, Any], dtype: torch.dtype) -> Tensor:
    """The number that is stored for a value.

    Raises:
        RunError: the transform does not reach the value.
    """
    if p.type == "complex":
        return torch.view_as_real(torch.as_tensor(value, dtype=torch.complex128)).to(dtype, copy=True)
    wanted = torch.as_tensor(np.array(value, float))
    if not p.trainable:
        return wanted.to(dtype)
    bounds = numbers.bounds(p, base)
    table.warn_saturated(p, wanted.numpy(), bounds)
    over_axes = kind_over_axes(p) is not None
    raw = domains.inverse(p, wanted) if over_axes else transforms.inverse(p, wanted, bounds)
    reached = domains.forward(p, raw) if over_axes else transforms.forward(p, raw, bounds)
    span = 1.0 if over_axes else bounds[1] - bounds[0]
    missed = (reached - wanted).abs() > 1e-6 * (span if np.isfinite(span) else wanted.abs())
    if missed.any() or not raw.isfinite().all():
        worst = wanted[missed | ~raw.isfinite()].flatten()[0]
        what = f"parameter '{p.name}': its transform {numbers.transform_name(p)} does not reach {worst:g}"
        raise RunError(what, hint="declare another transform, such as none")
    return raw.to(dtype) if over_axes else transforms.rounded(p, raw, bounds, dtype)
