"""The latent without a differential equation: a GRU that is driven by inferred inputs, as the generator of LFADS."""

from __future__ import annotations

from torch import Tensor, nn

from neuroode.train.latent.path_torch import Head, Path, normal_kl, sample


class Generator(nn.Module):
    """Inputs and a start, both N(0, 1) in the prior and inferred; factors are linear in the GRU's state."""

    def __init__(self, size: int, width: int, hidden: int) -> None:
        super().__init__()
        self.start, self.inputs = Head(width, size), Head(width, size)
        self.widen, self.gru, self.factors = nn.Linear(size, hidden), nn.GRU(size, hidden), nn.Linear(hidden, size)
        self.count = size

    def forward(self, h: Tensor, summary: Tensor) -> Path:
        start, inputs = self.start(summary), self.inputs(h)
        kl = normal_kl(*start).sum(-1) + normal_kl(*inputs).sum((0, -1))
        states, _ = self.gru(sample(*inputs), self.widen(sample(*start))[None])
        return Path(self.factors(states), None, kl)
