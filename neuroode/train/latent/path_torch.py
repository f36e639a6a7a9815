"""What every latent gives: features that are read out linearly, and the divergence of its posterior from its prior."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

START = 0.05  # standard deviation of the heads' first weights: the posterior begins close to the prior


class Path(NamedTuple):
    """Features (T, B, F) of a sample, or their means; then `covariance` (T, N, n, n) is theirs, F = N*n, lane by lane.
    `kl`: (B,), in nats."""

    features: Tensor
    covariance: Tensor | None
    kl: Tensor


class Head(nn.Module):
    """Mean and log standard deviation of independent normal numbers, linear in what the encoder says."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, 2 * size)
        nn.init.normal_(self.linear.weight, std=START)
        nn.init.zeros_(self.linear.bias)

    def forward(self, h: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_std = self.linear(h).chunk(2, -1)
        return mean, log_std


def sample(mean: Tensor, log_std: Tensor) -> Tensor:
    return mean + log_std.exp() * torch.randn_like(mean)


def normal_kl(mean: Tensor, log_std: Tensor) -> Tensor:
    """KL(N(mean, std^2) || N(0, 1)) of each number, in nats."""
    return 0.5 * (mean.square() + (2 * log_std).exp() - 1) - log_std
