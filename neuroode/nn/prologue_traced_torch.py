"""The numpy prologue as one operation inside a graph that torch.compile traces: its hundreds of lines stay outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from neuroode.nn.parameters_torch import Parameters
from neuroode.nn.prologue import Plan
from neuroode.nn.prologue_torch import plan_of
from neuroode.program.interpret import sum_to
from neuroode.program.types import Program

Tensor = torch.Tensor
SPECIAL = ("phi", "cphi_re", "cphi_im", "pair", "edd", "expm")
_plans: dict[str, Plan] = {}


def make_ready(program: Program) -> None:
    """Before a trace: the plan, if the prologue has functions that are long to trace."""
    if any(a.op in SPECIAL for a in program.prologue):
        _plans[program.digest] = plan_of(program)


def fits(program: Program) -> bool:
    """Whether a trace should take the operation, which needs a tensor, instead of the emitted text."""
    active = getattr(torch._C, "_are_functorch_transforms_active", lambda: False)
    return torch.compiler.is_compiling() and program.digest in _plans and bool(program.parameters) and not active()


def prologue(program: Program, parameters: Parameters, dt: float) -> tuple[list[Tensor], list[Tensor]]:
    """Coefficients and inits, float64."""
    slots = parameters.slots()
    plan = _plans[program.digest]
    rows = prologue_forward(program.digest, ",".join(slots), [s.clone() for s in slots.values()], dt)
    return list(rows[: len(plan.coefficients)]), list(rows[len(plan.coefficients) :])


@torch.library.custom_op("neuroode::prologue_forward", mutates_args=())
def prologue_forward(digest: str, names: str, slots: Sequence[Tensor], dt: float) -> list[Tensor]:
    """Coefficients, then inits, from constrained values by name."""
    plan = _plans[digest]
    env = plan.forward(_values(names, [s.detach().numpy() for s in slots], dt))
    return [torch.from_numpy(np.array(env[n], np.float64)) for n in (*plan.coefficients, *plan.inits)]


@prologue_forward.register_fake
def _(digest: str, names: str, slots: Sequence[Tensor], dt: float) -> list[Tensor]:
    plan = _plans[digest]
    env = plan.forward(_values(names, [np.ones(tuple(s.shape)) for s in slots], dt))
    return [slots[0].new_empty(np.shape(env[n]), dtype=torch.float64) for n in (*plan.coefficients, *plan.inits)]


@torch.library.custom_op("neuroode::prologue_backward", mutates_args=())
def prologue_backward(
    digest: str, names: str, slots: Sequence[Tensor], dt: float, grads: Sequence[Tensor]
) -> list[Tensor]:
    """Cotangents of the values, from those of coefficients and inits."""
    plan = _plans[digest]
    env = plan.forward(_values(names, [s.detach().numpy() for s in slots], dt))
    cotangents: dict[str, Any] = {}
    for name, g in zip((*plan.coefficients, *plan.inits), grads, strict=True):
        cotangents[name] = cotangents.get(name, 0.0) + g.detach().numpy()
    found = plan.reverse(env, cotangents)
    rows = [found.get(f"p.{n}", np.zeros(())) for n in names.split(",")]
    return [torch.from_numpy(np.array(sum_to(g, tuple(s.shape)))) for g, s in zip(rows, slots, strict=True)]


@prologue_backward.register_fake
def _(digest: str, names: str, slots: Sequence[Tensor], dt: float, grads: Sequence[Tensor]) -> list[Tensor]:  # noqa: ARG001
    return [torch.empty_like(s) for s in slots]


def _values(names: str, slots: Sequence[np.ndarray], dt: float) -> Mapping[str, Any]:
    return {f"p.{n}": s for n, s in zip(names.split(","), slots, strict=True)} | {"dt": np.float64(dt)}


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    ctx.digest, ctx.names, slots, ctx.dt = inputs
    ctx.save_for_backward(*slots)
    ctx.shapes = [tuple(o.shape) for o in output]


def _pull(ctx: Any, grads: Sequence[Tensor | None]) -> tuple[Any, ...]:
    slots = list(ctx.saved_tensors)
    given = [slots[0].new_zeros(s) if g is None else g for g, s in zip(grads, ctx.shapes, strict=True)]
    return None, None, prologue_backward(ctx.digest, ctx.names, slots, ctx.dt, given), None


prologue_forward.register_autograd(_pull, setup_context=_keep)
