"""What `neuroode.nn.linear_gaussian` needs of torch: a step of a layer on a basis, and array functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from neuroode._errors import RunError
from neuroode.nn import eager_torch
from neuroode.nn.linear_gaussian import Transition, gaussian, kl, kl_of_paths, log_density, moments

__all__ = ["Transition", "gaussian", "kl", "kl_of_paths", "log_density", "moments"]

Tensor = torch.Tensor
Pair = tuple[Tensor, Tensor]
concat, broadcast, log = torch.cat, torch.broadcast_to, torch.log


def end(layer: Any, rows: Mapping[str, np.ndarray]) -> Tensor:
    """(rows, *size*, n): the states after one step from each row of numbers."""
    program, size, like = layer.program, layer.size, layer._like
    coefficients, _ = layer._prologue()
    shape = (-1, *[1] * len(size))
    wide = {n: torch.as_tensor(v).to(like).reshape(shape).expand(-1, *size) for n, v in rows.items()}
    run = eager_torch.run(
        program, [c.to(like.dtype) for c in coefficients], [wide[n][None] for n in program.inputs],
        [wide[s.name] for s in program.carry],
    )  # fmt: skip
    return stack(run.carry)


def moved(layer: Any) -> bool:
    """Whether a solver, or a method of the whole past, moves the layer."""
    return getattr(layer, "moved", False)


def may_differ(x: Tensor) -> bool:
    """Whether some number is not 0."""
    return bool((x.detach() != 0).any())


def stack(columns: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(columns), dim=-1)


def steps(after: Callable[[Pair, Tensor], Pair], start: Pair, drive: Tensor) -> Pair:
    """`after` repeated over the rows of `drive`."""
    rows = []
    for c in drive:
        start = after(start, c)
        rows.append(start)
    means, covariances = zip(*rows, strict=True)
    return torch.stack(means), torch.stack(covariances)


def cholesky(S: Tensor) -> Tensor:
    """The factor; nan where there is none."""
    root, failed = torch.linalg.cholesky_ex(S)
    return root.where((failed == 0)[..., None, None], torch.nan)


def solve(root: Tensor, x: Tensor) -> Tensor:
    return torch.linalg.solve_triangular(root, x, upper=False)


def held(x: Tensor) -> Tensor:
    return x.detach()


def eps(x: Tensor) -> float:
    return torch.finfo(x.dtype).eps


def refuse(value: Tensor, bad: Tensor, what: str, hint: str) -> Tensor:
    """The value, where it is not bad."""
    if bad:
        raise RunError(what, hint=hint)
    return value
