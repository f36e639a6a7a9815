"""The sequential autoencoder: GRU encoder, a latent, log-rates that are linear in its features."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from neuroode.train.latent.path_torch import Path

READOUT = 0.1  # standard deviation of the readout's first weights


class Found(NamedTuple):
    """E[log rate] and log E[rate], (T, B, N) in spikes a bin, alike for a sample; kl (B,) in nats."""

    log_rate: Tensor
    log_mean: Tensor
    kl: Tensor


class Network(nn.Module):
    """Counts of the seen neurons (T, B, seen) -> rates of all.

    Args:
        latent: takes h (T, B, width) and a summary (B, width) of the encoder, gives a `Path`.
        width: of what the encoder says: twice `hidden` where it reads both ways.
        lag: bins by which the encoder's input is late; only where it reads forward.
        layers: of the encoder.
        beside: whether the readout also takes h, as in the released code of LangevinFlow.
        mean: (N,), mean counts, where the readout begins.
    """

    def __init__(
        self, latent: Any, seen: int, mean: Tensor, hidden: int, both: bool, lag: int = 0, beside: bool = False,
        layers: int = 1,
    ) -> None:  # fmt: skip
        super().__init__()
        self.seen, self.lag, self.beside = seen, lag, beside
        self.encoder = nn.GRU(seen, hidden, layers, bidirectional=both)
        self.latent = latent
        self.readout = nn.Linear(latent.count + (2 if both else 1) * hidden * beside, len(mean))
        nn.init.normal_(self.readout.weight, std=READOUT)
        with torch.no_grad():
            self.readout.bias.copy_(mean.log())

    def path(self, x: Tensor) -> Path:
        """What the latent gives, with h beside where the readout takes it."""
        if self.lag:
            x = torch.cat([torch.zeros_like(x[: self.lag]), x[: -self.lag]])
        h, last = self.encoder(x)
        top = last[-2:] if self.encoder.bidirectional else last[-1:]
        path = self.latent(h, top.movedim(0, 1).flatten(1))
        return path._replace(features=torch.cat([path.features, h], -1)) if self.beside else path

    def forward(self, x: Tensor) -> Found:
        path = self.path(x)
        log_rate = self.readout(path.features)
        if path.covariance is None:
            return Found(log_rate, log_rate, path.kl)
        P = path.covariance
        C = self.readout.weight[:, : P.shape[1] * P.shape[2]].unflatten(1, P.shape[1:3])
        spread = torch.einsum("kni,tnij,knj->tk", C, P, C)  # variance of the log-rate
        return Found(log_rate, log_rate + spread[:, None] / 2, path.kl)


def poisson_loss(found: Found, counts: Tensor, weight: Tensor | float = 1.0) -> Tensor:
    """-E[log-likelihood] of counts (T, B, N) without the factorials, summed over bins and neurons, (B,)."""
    return ((found.log_mean.exp() - counts * found.log_rate) * weight).sum((0, 2))


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters() if p.requires_grad)
