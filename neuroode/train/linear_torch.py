"""A linear map of long narrow sequences, where BLAS libraries take up to six times as long for the same product."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

NARROW = 32  # columns below which the transposed product is the faster one


class Linear(nn.Linear):
    """`nn.Linear` with the same numbers up to rounding, its products ordered for T*B rows of few columns."""

    def forward(self, input: Tensor) -> Tensor:
        rows = _Product.apply(input.flatten(0, -2), self.weight)
        out = rows.unflatten(0, input.shape[:-1])
        return out if self.bias is None else out + self.bias


class _Product(torch.autograd.Function):
    """x W' for x (rows, C), W (N, C). The narrow factor comes first: measured, not derived."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        if len(weight) < NARROW:
            return torch.mm(weight, x.t()).t().contiguous()
        return torch.mm(x, weight.t())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        to_x = torch.mm(grad, weight) if ctx.needs_input_grad[0] else None
        return to_x, _weight_gradient(x, grad) if ctx.needs_input_grad[1] else None


def _weight_gradient(x: Tensor, grad: Tensor) -> Tensor:
    if x.shape[1] < grad.shape[1]:
        return torch.mm(x.t(), grad).t()
    return torch.mm(grad.t(), x)
