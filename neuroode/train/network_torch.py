"""The network that is trained: a linear map, the neurons, a linear readout and one leaky integrator a class."""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from neuroode.train.linear_torch import Linear
from neuroode.train.options import Settings
from neuroode.train.shape import check, feeds_back

ACTIVE = 0.3  # of spikes: one in eleven
LARGEST_POWER = 30


class Network(nn.Module):
    """x (T, B, C) -> outputs (T, B, classes), and on request the hidden layer (T, B, size).

    Weights start as Xavier-uniform; the input's and the recurrent ones as one matrix [input | recurrent], as in the
    BRF paper's code.
    """

    def __init__(self, neuron: Any, leaky: Any, channels: int, classes: int, settings: Settings) -> None:
        super().__init__()
        check(neuron.spec)
        self.recurrent = feeds_back(neuron.spec) if settings.recurrent is None else settings.recurrent
        options: dict[str, Any] = {"size": settings.size, "init": dict(settings.init), "recurrent": self.recurrent}
        self.into = Linear(channels, settings.size, bias=settings.bias)
        options |= {"dt": settings.dt, "reset_gradient": settings.reset_gradient, "dtype": torch.float32}
        self.hidden = neuron.torch(**options)
        self.out = Linear(settings.size, classes, bias=settings.bias)
        self.leaky = leaky_readout(leaky, classes, settings)
        self._start_weights(channels)

    def _start_weights(self, channels: int) -> None:
        fan_in, size = channels + (self.out.in_features if self.recurrent else 0), self.out.in_features
        bound = sqrt(6 / (fan_in + size))
        nn.init.uniform_(self.into.weight, -bound, bound)
        if self.recurrent:
            nn.init.uniform_(self.hidden.W_rec, -bound, bound)
        nn.init.xavier_uniform_(self.out.weight)
        for linear in (self.into, self.out):
            if linear.bias is not None:
                nn.init.zeros_(linear.bias)

    @torch.no_grad()
    def scale_input(self, gain: float | None, x: Tensor) -> None:
        """Multiply the input weights by `gain`, or by a power of two that makes the layer moderately active on x.

        Neurons differ by orders of magnitude in the input that they answer to, and a silent layer learns nothing.
        """
        if gain is not None:
            self.into.weight *= gain
            return
        factor = 2.0 if self._activity(x) < ACTIVE else 0.5
        for _ in range(LARGEST_POWER):
            if (self._activity(x) < ACTIVE) != (factor > 1):
                break
            self.into.weight *= factor

    def _activity(self, x: Tensor) -> float:
        """Root mean square of the hidden layer: for spikes, the root of the share of neurons that fire."""
        return float(self.hidden(self.into(x))[0].square().mean().sqrt())

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

    @torch.no_grad()
    def values(self) -> dict[str, np.ndarray]:
        """The trained numbers by what they are, flat; parameters of neurons in constrained form."""
        found = {"input weights": self.into.weight}
        if self.recurrent:
            found["recurrent weights"] = self.hidden.W_rec
        found |= trained(self.hidden, "") | {"output weights": self.out.weight}
        if self.leaky is not None:
            found |= trained(self.leaky, " of the readout")
        arrays = {name: value.detach().cpu().numpy() for name, value in found.items()}
        return {name: array.astype(array.dtype, copy=True).ravel() for name, array in arrays.items()}

    def count(self) -> int:
        """Trained numbers."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)


def trained(layer: Any, suffix: str) -> dict[str, Tensor]:
    declared = layer.parameters_of_neuron.spec.parameters
    return {p.name + suffix: layer.values[p.name] for p in declared if p.trainable}


def leaky_readout(neuron: Any, classes: int, settings: Settings) -> Any:
    if settings.readout == "linear":
        return None
    return neuron.torch(size=classes, dt=1.0, init={"tau": settings.tau_out}, dtype=torch.float32)
