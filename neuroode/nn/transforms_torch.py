"""Parameters between their stored and their constrained form. float64 inside."""

from __future__ import annotations

import torch

from neuroode.program.values import transform_name as name_of
from neuroode.solvers.on_torch.transforms_torch import FORWARD, INVERSE
from neuroode.spec.types import ParameterDecl

Tensor = torch.Tensor
Bounds = tuple[float, float]


def forward(p: ParameterDecl, raw: Tensor, bounds: Bounds) -> Tensor:
    """Stored -> constrained."""
    return FORWARD[name_of(p)](raw, bounds)


def inverse(p: ParameterDecl, value: Tensor, bounds: Bounds) -> Tensor:
    """Constrained -> stored."""
    return INVERSE[name_of(p)](value, bounds)


def project(p: ParameterDecl, raw: Tensor, bounds: Bounds) -> Tensor:
    """Stored numbers whose image leaves the domain, moved to its bound; needed where the map is not onto it."""
    if name_of(p) not in ("abs", "relu", "project", "none", "exp", "softplus"):
        return raw
    low, high = bounds
    value = forward(p, raw, bounds)
    if p.domain == "positive":
        low = torch.finfo(torch.float32).tiny  # keeps the bound open
    clamped = value.clamp(low, high)
    return torch.where(clamped == value, raw, inverse(p, clamped, bounds))


def rounded(p: ParameterDecl, raw: Tensor, bounds: Bounds, dtype: torch.dtype) -> Tensor:
    """A stored number in `dtype`; where rounding led past a bound, its neighbour inside."""
    near = raw.to(dtype)
    value = forward(p, near.double(), bounds)
    inward = torch.where(value > bounds[1], -torch.inf, torch.inf).to(dtype)
    return torch.where((value > bounds[1]) | (value < bounds[0]), torch.nextafter(near, inward), near)
