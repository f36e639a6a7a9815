"""Gradients that cannot be differentiated again, and say so; torch's `once_differentiable` lets some of them pass."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from neuroode._errors import Unsupported

Tensor = torch.Tensor


def once(found: list[Tensor | None], read: Iterable[Tensor | None]) -> list[Tensor | None]:
    """`found` as it is; where a graph is recorded, tied to what it was computed from: to differentiate it raises."""
    if not torch.is_grad_enabled():
        return found
    made = [g for g in found if g is not None]
    tied = iter(_Once.apply(len(made), *made, *(x for x in read if x is not None)))
    return [g if g is None else next(tied) for g in found]


class _Once(torch.autograd.Function):
    @staticmethod
    def forward(_ctx: Any, count: int, *tensors: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        return tuple(x.detach() for x in tensors[:count])

    @staticmethod
    def backward(_ctx: Any, *_grads: Tensor | None) -> tuple:
        raise Unsupported("a kernel has no second derivative", hint='build the layer with schedule="eager"')
