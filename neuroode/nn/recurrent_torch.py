"""Recurrent weights of a layer."""

from __future__ import annotations

from typing import Any

import torch

from neuroode._errors import Unsupported
from neuroode.nn.recurrent import Recurrent

Tensor = torch.Tensor
INITS = {
    "xavier_uniform": torch.nn.init.xavier_uniform_,
    "orthogonal": torch.nn.init.orthogonal_,
    "zeros": torch.nn.init.zeros_,
}


class RecurrentWeights(torch.nn.Module):
    """W_rec (N, N), [to, from], and an optional bias (N,)."""

    def __init__(self, option: Recurrent, n: int, dtype: torch.dtype, device: Any) -> None:
        super().__init__()
        if option.init not in INITS:
            raise Unsupported(f"unknown init '{option.init}' of W_rec", hint="choose among " + ", ".join(INITS))
        self.weight = torch.nn.Parameter(INITS[option.init](torch.empty(n, n, dtype=dtype, device=device)))
        self.bias = torch.nn.Parameter(torch.zeros(n, dtype=dtype, device=device)) if option.bias else None
        self.self_connections = option.self_connections

    def matrix(self) -> Tensor:
        """The weights; without self connections the diagonal is 0 and gets no gradient."""
        if self.self_connections:
            return self.weight
        return self.weight * (1 - torch.eye(len(self.weight), dtype=self.weight.dtype, device=self.weight.device))
