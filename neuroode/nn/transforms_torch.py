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
    if name_of(p) not in ("abs", "relu", "project", "none", "exp"):
        return raw
    low, high = bounds
    value = forward(p, raw, bounds)
    clamped = value.clamp(_inside(low), high)
    return torch.where(clamped == value, raw, inverse(p, clamped, bounds))


def _inside(low: float) -> float:
    """An open lower bound of 0 is kept open by the smallest normal number of float32."""
    return torch.finfo(torch.float32).tiny if low == 0 else low
