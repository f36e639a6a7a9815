"""The numpy prologue as one differentiable torch operation, for layers that run a compiled kernel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch.autograd import forward_ad

from neuroode.nn.once_torch import once
from neuroode.nn.parameters_torch import Parameters
from neuroode.nn.prologue import TRANSFORMS, Plan
from neuroode.program.domains import kind_over_axes
from neuroode.program.types import Program
from neuroode.program.values import transform_name
from neuroode.spec.types import ParameterDecl
from neuroode.system.indices import axes_of, element_name, element_values, indices, slot_parameters

Tensor = torch.Tensor
_plans: dict[str, Plan] = {}


def plan_of(program: Program) -> Plan:
    """The plan of a program, made once."""
    if program.digest not in _plans:
        _plans[program.digest] = Plan(program)
    return _plans[program.digest]


def fits(parameters: Parameters) -> bool:
    """Whether the operation can stand in for the emitted torch text: outside of compilers and transforms, and where
    each stored number has a slope of its own."""
    if any(p.trainable and kind_over_axes(p) for p in parameters.spec.parameters):
        return False
    active = getattr(torch._C, "_are_functorch_transforms_active", lambda: False)
    return not torch.compiler.is_compiling() and not active() and forward_ad._current_level < 0


def prologue(
    program: Program, parameters: Parameters, dt: float, dtype: torch.dtype
) -> tuple[list[Tensor], list[Tensor]]:
    """Coefficients and inits in the layer's dtype, computed in float64."""
    trained = [parameters.stored(p) for p in _trained(parameters)]
    plan = plan_of(program)
    rows = _Prologue.apply(plan, parameters, dt, dtype, *trained)
    return list(rows[: len(plan.coefficients)]), list(rows[len(plan.coefficients) :])


class _Prologue(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, plan: Plan, parameters: Parameters, dt: float, dtype: torch.dtype, *trained: Tensor) -> tuple:
        values, slopes = _constrained(parameters)
        ctx.env = plan.forward(values | {"dt": np.float64(dt)})
        ctx.plan, ctx.slopes, ctx.parameters, ctx.trained = plan, slopes, parameters, trained
        kind = np.float32 if dtype == torch.float32 else np.float64
        # a copy each: one value may be a coefficient and an init at once, and torch wants distinct outputs
        return tuple(torch.from_numpy(np.array(ctx.env[n], kind)) for n in (*plan.coefficients, *plan.inits))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple:
        cotangents: dict[str, Any] = {}
        for name, g in zip((*ctx.plan.coefficients, *ctx.plan.inits), grads, strict=True):
            if g is not None:
                cotangents[name] = cotangents.get(name, 0.0) + g.detach().numpy().astype(np.float64)
        found = ctx.plan.reverse(ctx.env, cotangents)
        rows = _trained(ctx.parameters)
        sizes = ctx.parameters.sizes
        trained = [_gradient(p, raw, found, ctx.slopes, sizes) for p, raw in zip(rows, ctx.trained, strict=True)]
        return None, None, None, None, *once(trained, (*ctx.trained, *grads))


def _trained(parameters: Parameters) -> list[ParameterDecl]:
    return [p for p in slot_parameters(parameters.spec) if p.trainable]


def _constrained(parameters: Parameters) -> tuple[dict[str, Any], dict[str, Any]]:
    """Values by slot name and slopes of the transforms by parameter name."""
    values: dict[str, Any] = {}
    slopes: dict[str, Any] = {}
    for p in slot_parameters(parameters.spec):
        raw = parameters.stored(p).detach().numpy().astype(np.float64)
        if p.type != "complex" and p.trainable:
            kind = transform_name(p)
            bounds = parameters.bounds(p) if kind in ("sigmoid", "tanh") else (0.0, 0.0)
            with np.errstate(all="ignore"):  # a number that is not finite goes through, as it does in torch
                raw, slopes[p.name] = TRANSFORMS[kind](raw, bounds)
        parts = {".re": raw[..., 0], ".im": raw[..., 1]} if p.type == "complex" else {"": raw}
        for suffix, part in parts.items():
            for name, row in element_values(p, parameters.sizes, part).items():
                values[f"p.{name}{suffix}"] = _placed(row, p, parameters)
    return values, slopes


def _placed(value: np.ndarray, p: Any, parameters: Parameters) -> np.ndarray:
    """In a form that broadcasts against *size*: a channel's axis comes first."""
    return value.reshape(-1, *([1] * (len(parameters.size) - 1))) if "channel" in p.per else value


def _gradient(
    p: Any, raw: Tensor, found: dict[str, np.ndarray], slopes: dict[str, Any], sizes: Mapping[str, int]
) -> Tensor | None:
    if p.type == "complex":
        parts = [_collected(p, f".{k}", raw.shape[:-1], found, sizes) for k in ("re", "im")]
        return torch.from_numpy(np.stack(parts, axis=-1)).to(raw.dtype)
    if not any(f"p.{n}" in found for n in element_values(p, sizes, raw)):
        return None
    whole = _collected(p, "", raw.shape, found, sizes)
    return torch.from_numpy(np.array(whole * slopes[p.name])).to(raw.dtype)


def _collected(
    p: Any, suffix: str, shape: tuple[int, ...], found: dict[str, np.ndarray], sizes: Mapping[str, int]
) -> np.ndarray:
    """The cotangents of all elements, summed over lanes to (*level*, *axes*)."""
    axes = axes_of(p)
    level = shape[: len(shape) - len(axes)]
    names = [f"p.{element_name(p.name, at)}{suffix}" for at in indices(axes, sizes)]
    rows = [_summed(found.get(name, 0.0), level) for name in names]
    return np.stack(rows, axis=-1).reshape(shape)


def _summed(value: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Sum what was broadcast over lanes, down to the parameter's own shape."""
    value = np.asarray(value, float)
    if value.shape == tuple(shape):
        return value
    if len(shape) == 1 and value.ndim > 1:  # a channel: its axis came first
        value = np.broadcast_to(value, (shape[0], *value.shape[1:]))
        return value.reshape(shape[0], -1).sum(axis=1)
    return np.broadcast_to(value.sum() if not shape else value, shape)
