"""Maps from stored numbers into domains, and back. float64 inside."""

from __future__ import annotations

from collections.abc import Callable

import torch

from neuroode._errors import Unsupported
from neuroode.spec.types import ParameterDecl

Tensor = torch.Tensor
Bounds = tuple[float, float]

BY_DOMAIN = {"positive": "softplus", "nonnegative": "abs", "unit": "sigmoid", "interval": "sigmoid", "real": "none"}


def name_of(p: ParameterDecl) -> str:
    """The transform of a parameter, by its domain if it declares none.

    Raises:
        Unsupported: a domain over axes.
    """
    domain = p.domain.partition("(")[0]
    if domain not in BY_DOMAIN:
        raise Unsupported(f"parameter '{p.name}': the domain {p.domain} is not lowered yet")
    name = p.transform or BY_DOMAIN[domain]
    if name not in FORWARD:
        raise Unsupported(f"parameter '{p.name}': the transform {name} is not lowered yet")
    return name


def forward(p: ParameterDecl, raw: Tensor, bounds: Bounds) -> Tensor:
    """Stored -> constrained."""
    return FORWARD[name_of(p)](raw, bounds)


def inverse(p: ParameterDecl, value: Tensor, bounds: Bounds) -> Tensor:
    """Constrained -> stored."""
    return INVERSE[name_of(p)](value, bounds)


def project(p: ParameterDecl, raw: Tensor, bounds: Bounds) -> Tensor:
    """Stored numbers whose image leaves the domain, moved to its bound; only maps that are not onto the domain need it."""
    if name_of(p) not in ("abs", "relu", "project", "none", "exp"):
        return raw
    low, high = bounds
    value = forward(p, raw, bounds)
    clamped = value.clamp(_inside(low), high)
    return torch.where(clamped == value, raw, inverse(p, clamped, bounds))


def _inside(low: float) -> float:
    """An open lower bound of 0 is kept open by the smallest normal number of float32."""
    return torch.finfo(torch.float32).tiny if low == 0 else low


def _softplus(raw: Tensor, bounds: Bounds) -> Tensor:
    return torch.logaddexp(raw, torch.zeros_like(raw))


def _inverse_softplus(value: Tensor, bounds: Bounds) -> Tensor:
    return value + torch.log(-torch.expm1(-value))


def _scaled(squash: Callable[[Tensor], Tensor]) -> Callable[[Tensor, Bounds], Tensor]:
    def run(raw: Tensor, bounds: Bounds) -> Tensor:
        low, high = bounds
        return low + (high - low) * squash(raw)

    return run


def _fraction(value: Tensor, bounds: Bounds) -> Tensor:
    """Where the value lies between the bounds; kept off the ends, whose stored numbers would be infinite."""
    low, high = bounds
    return ((value - low) / (high - low)).clamp(1e-12, 1 - 1e-12)


FORWARD: dict[str, Callable[[Tensor, Bounds], Tensor]] = {
    "none": lambda raw, b: raw,
    "project": lambda raw, b: raw,
    "softplus": _softplus,
    "abs": lambda raw, b: raw.abs(),
    "relu": lambda raw, b: raw.clamp(min=0),
    "exp": lambda raw, b: raw.exp(),
    "sigmoid": _scaled(torch.sigmoid),
    "tanh": _scaled(lambda raw: (torch.tanh(raw) + 1) / 2),
}

INVERSE: dict[str, Callable[[Tensor, Bounds], Tensor]] = {
    "none": lambda v, b: v,
    "project": lambda v, b: v,
    "softplus": _inverse_softplus,
    "abs": lambda v, b: v,
    "relu": lambda v, b: v,
    "exp": lambda v, b: v.log(),
    "sigmoid": lambda v, b: torch.logit(_fraction(v, b)),
    "tanh": lambda v, b: torch.atanh(2 * _fraction(v, b) - 1),
}
