"""Parameters between their stored and their constrained form, for numpy and jax.numpy: `xp` is the module."""

from __future__ import annotations

from typing import Any

import numpy as np

from neuroode.nn import domains
from neuroode.program.domains import kind_over_axes
from neuroode.program.values import transform_name as name_of
from neuroode.solvers.on_numpy.transforms import FORWARD, INVERSE
from neuroode.spec.types import ParameterDecl

Bounds = tuple[float, float]
TINY = float(np.finfo(np.float32).tiny)  # keeps the bound of `positive` open


def forward(xp: Any, p: ParameterDecl, raw: Any, bounds: Bounds) -> Any:
    """Stored -> constrained."""
    if kind_over_axes(p):
        return domains.forward(xp, p, raw)
    return FORWARD[name_of(p)](xp, raw, *bounds)


def inverse(xp: Any, p: ParameterDecl, value: Any, bounds: Bounds) -> Any:
    """Constrained -> stored."""
    if kind_over_axes(p):
        return domains.inverse(xp, p, value)
    return INVERSE[name_of(p)](xp, value, *bounds)


def project(xp: Any, p: ParameterDecl, raw: Any, bounds: Bounds) -> Any:
    """Stored numbers whose image leaves the domain, moved to its bound; needed where the map is not onto it."""
    if kind_over_axes(p):
        return domains.project(xp, p, raw)
    if name_of(p) in ("sigmoid", "tanh"):
        return raw
    low, high = bounds
    value = forward(xp, p, raw, bounds)
    clamped = xp.clip(value, TINY if p.domain == "positive" else low, high)
    return xp.where(clamped == value, raw, inverse(xp, p, clamped, bounds))


def rounded(xp: Any, p: ParameterDecl, raw: Any, bounds: Bounds, dtype: Any, wide: Any) -> Any:
    """A stored number in `dtype`; where rounding led past a bound, its neighbour inside. `wide` is computed in."""
    near = xp.asarray(raw, dtype)
    value = forward(xp, p, near.astype(wide), bounds)
    inward = xp.where(value > bounds[1], -xp.inf, xp.inf).astype(dtype)
    return xp.where((value > bounds[1]) | (value < bounds[0]), xp.nextafter(near, inward), near)
