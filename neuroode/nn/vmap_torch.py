"""torch.func.vmap over a kernel: the mapped axis becomes more samples of one call; samples do not know each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from neuroode._errors import Unsupported

REASON = "a kernel knows no forward mode and no torch.func but vmap over inputs and carries"
HINT = 'build the layer with schedule="eager"'


def is_mapped(tensors: Sequence[Tensor]) -> bool:
    """Whether torch.func.vmap has wrapped one of them.

    Raises:
        Unsupported: another transform of torch.func has.
    """
    wrapped = [x for x in tensors if torch._C._functorch.is_functorch_wrapped_tensor(x)]
    if not all(torch._C._functorch.is_batchedtensor(x) for x in wrapped):
        raise Unsupported(REASON, hint=HINT)
    return bool(wrapped)


def mapped(
    call: Callable[..., Sequence[Tensor]], lengths: Tensor | None, counts: tuple[int, ...], *tensors: Tensor
) -> tuple[Tensor, ...]:
    """`call(lengths, *tensors)` under vmap.

    Args:
        call: runs a kernel; outputs (T, B, N) come first, states (B, N) after them.
        counts: of inputs, coefficients, weights, carry among the tensors.
    """
    return _Folded.apply(call, lengths, counts, *tensors)


class _Folded(torch.autograd.Function):
    """Nothing but a rule for vmap."""

    @staticmethod
    def forward(*_: Any) -> Any:  # type: ignore[override]
        raise Unsupported(REASON, hint=HINT)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Nothing is kept: the call inside has its own."""

    @staticmethod
    def vmap(info: Any, in_dims: tuple, call: Any, lengths: Any, counts: tuple[int, ...], *tensors: Tensor) -> tuple:
        dims, many = in_dims[3:], info.batch_size
        still = range(counts[0], counts[0] + counts[1] + counts[2])
        if any(dims[i] is not None for i in still):
            raise Unsupported("vmap over the parameters of a kernel", hint=HINT)
        folded = [x if i in still else _fold(x, dims[i], many) for i, x in enumerate(tensors)]
        if lengths is not None:
            lengths = _fold(lengths[:, None], in_dims[1], many)[:, 0]
        found = call(lengths, *folded)
        rows = [x.unflatten(-2, (many, x.shape[-2] // many)) for x in found]
        return tuple(rows), tuple(x.dim() - 3 for x in rows)


def _fold(x: Tensor, dim: int | None, many: int) -> Tensor:
    """(..., B, N) with a mapped axis, or without one, as (..., many*B, N)."""
    x = x[None].expand(many, *x.shape) if dim is None else x.movedim(dim, 0)
    return x.movedim(0, -3).flatten(-3, -2)
