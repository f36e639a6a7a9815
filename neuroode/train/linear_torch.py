"""A linear map of long narrow sequences, where BLAS libraries take up to six times as long for the same product."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from neuroode.nn import native_linear_torch as native

NARROW = 32  # of the two sides of a matrix the shorter, up to which our own product is the faster one


class Linear(nn.Linear):
    """`nn.Linear` with the same numbers up to rounding, its products made for T*B rows of few columns."""

    def forward(self, input: Tensor) -> Tensor:
        rows = _Product.apply(input.flatten(0, -2), self.weight)
        out = rows.unflatten(0, input.shape[:-1])
        return out if self.bias is None else out + self.bias


class _Product(torch.autograd.Function):
    """x W' for x (rows, C), W (N, C)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.native = min(weight.shape) <= NARROW and native.applies(x)
        return native.product(x, weight.t()) if ctx.native else torch.mm(x, weight.t())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        product, outer = (native.product, native.outer) if ctx.native else (torch.mm, _outer)
        to_x = product(grad, weight) if ctx.needs_input_grad[0] else None
        return to_x, outer(grad, x) if ctx.needs_input_grad[1] else None


def _outer(x: Tensor, y: Tensor) -> Tensor:
    return torch.mm(x.t(), y)
