"""The network that is trained: a linear map, the neurons, a linear readout and one leaky integrator a class."""

from __future__ import annotations

from math import sqrt
from typing import Any

import torch
from torch import Tensor, nn

from neuroode.train.linear_torch import Linear
from neuroode.train.options import Settings
from neuroode.train.shape import check, spiking


class Network(nn.Module):
    """x (T, B, C) -> outputs (T, B, classes), and on request the hidden layer (T, B, size).

    Weights start as Xavier-uniform; the input's and the recurrent ones as one matrix [input | recurrent], as in the
    BRF paper's code.
    """

    def __init__(self, neuron: Any, leaky: Any, channels: int, classes: int, settings: Settings) -> None:
        super().__init__()
        check(neuron.spec)
        self.recurrent = spiking(neuron.spec) if settings.recurrent is None else settings.recurrent
        options = {"size": settings.size, "init": dict(settings.init), "recurrent": self.recurrent}
        self.into = Linear(channels, settings.size, bias=settings.bias)
        self.hidden = neuron.torch(**options, dt=settings.dt, dtype=torch.float32)
        self.out = Linear(settings.size, classes, bias=settings.bias)
        self.leaky = _leaky(leaky, classes, settings)
        self._start_weights(channels, settings.gain)

    def _start_weights(self, channels: int, gain: float) -> None:
        fan_in, size = channels + (self.out.in_features if self.recurrent else 0), self.out.in_features
        bound = sqrt(6 / (fan_in + size))
        nn.init.uniform_(self.into.weight, -bound * gain, bound * gain)
        if self.recurrent:
            nn.init.uniform_(self.hidden.W_rec, -bound, bound)
        nn.init.xavier_uniform_(self.out.weight)
        for linear in (self.into, self.out):
            if linear.bias is not None:
                nn.init.zeros_(linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.both(x)[0]

    def both(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The outputs and the hidden layer's output."""
        hidden, _ = self.hidden(self.into(x))
        out = self.out(hidden)
        return (out if self.leaky is None else self.leaky(out)[0]), hidden

    def project(self) -> None:
        """Bring parameters with a `project` transform back into their domains."""
        self.hidden.project()
        if self.leaky is not None:
            self.leaky.project()

    def count(self) -> int:
        """Trained numbers."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)


def _leaky(neuron: Any, classes: int, settings: Settings) -> Any:
    if settings.readout == "linear":
        return None
    return neuron.torch(size=classes, dt=1.0, init={"tau": settings.tau_out}, dtype=torch.float32)
