"""A small convolutional network: images shown for a few steps, batch normalisation over time and batch, one neuron."""

from __future__ import annotations

from math import isqrt
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from neuroode._errors import Unsupported
from neuroode.train.network_torch import ACTIVE, LARGEST_POWER, leaky_readout, trained
from neuroode.train.options import Settings
from neuroode.train.shape import check


class Block(nn.Module):
    """A linear map, batch normalisation over time, batch and space, neurons; x (T, B, ...) -> spikes (T, B, *size*).

    With a threshold of 1 and unit variance the normalisation is that of tdBN (Zheng et al. 2021, arXiv:2011.05280).
    """

    def __init__(self, linear: Any, norm: Any, neurons: Any) -> None:
        super().__init__()
        self.linear, self.norm, self.neurons = linear, norm, neurons

    def forward(self, x: Tensor, steps: int) -> Tensor:
        """`x` of one step is a current that lasts: it is normalised once and held for all steps."""
        current = self.norm(self.linear(x.flatten(0, 1))).unflatten(0, x.shape[:2])
        out: Tensor = self.neurons(current.expand(steps, *current.shape[1:]).contiguous())[0]
        return out


class ConvNetwork(nn.Module):
    """Images x (1, B, pixels) -> outputs (T, B, classes), and on request all neurons (T, B, number).

    Two 3 x 3 convolutions of `size` and twice as many channels, each with its neurons and an average over 2 x 2
    pixels, a layer of four times as many neurons, a linear readout. Weights start as torch has them.
    """

    def __init__(self, neuron: Any, leaky: Any, channels: int, classes: int, settings: Settings) -> None:
        super().__init__()
        check(neuron.spec)
        self.side, self.steps, c = isqrt(channels), settings.steps, settings.size
        half, quarter = self.side // 2, self.side // 4
        if quarter < 1:
            raise Unsupported(f"images of {self.side} x {self.side} pixels are too small to be halved twice")
        options = {"init": dict(settings.init), "dt": settings.dt, "reset_gradient": settings.reset_gradient}

        def neurons(*size: int) -> Any:
            return neuron.torch(size=size, dtype=torch.float32, **options)

        dense = nn.Linear(2 * c * quarter**2, 4 * c, bias=False)
        first = Block(_convolution(1, c), nn.BatchNorm2d(c), neurons(c, self.side, self.side))
        second = Block(_convolution(c, 2 * c), nn.BatchNorm2d(2 * c), neurons(2 * c, half, half))
        self.blocks = nn.ModuleList([first, second, Block(dense, nn.BatchNorm1d(4 * c), neurons(4 * c))])
        self.pool = nn.AvgPool2d(2)
        self.out = nn.Linear(4 * c, classes, bias=settings.bias)
        self.leaky = leaky_readout(leaky, classes, settings)

    def _each(self) -> list[Any]:
        return list(self.blocks)

    def forward(self, x: Tensor) -> Tensor:
        return self.both(x)[0]

    def both(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The outputs, and the neurons' outputs layer after layer."""
        layers = self.layers(x)
        out = self.out(layers[-1])
        return (out if self.leaky is None else self.leaky(out)[0]), torch.cat([s.flatten(2) for s in layers], 2)

    def layers(self, x: Tensor, last: int = 3) -> list[Tensor]:
        """The outputs of the neurons of the first `last` layers."""
        x = x.unflatten(2, (1, self.side, self.side))
        found: list[Tensor] = []
        for number, block in enumerate(self.blocks[:last]):
            if number:
                x = self.pool(found[-1].flatten(0, 1)).unflatten(0, found[-1].shape[:2])
            found.append(block(x.flatten(2) if number == 2 else x, self.steps))
        return found

    @torch.no_grad()
    def scale_input(self, gain: float | None, x: Tensor) -> None:
        """Multiply the normalised input of each layer by `gain`, or by a power of two as `Network.scale_input` does."""
        for number, block in enumerate(self._each(), 1):
            weight = block.norm.weight
            weight *= gain or self._power(x, number, weight)
            block.norm.reset_running_stats()

    def _power(self, x: Tensor, number: int, weight: Tensor) -> float:
        """The factor that makes this layer moderately active, the ones before it being as they are."""

        def active(by: float) -> bool:
            weight.mul_(by)
            found = float(self.layers(x, number)[-1].square().mean().sqrt())
            weight.div_(by)
            return found >= ACTIVE

        step = 0.5 if active(1.0) else 2.0
        powers = [step**n for n in range(LARGEST_POWER + 1)]
        return next((p for p in powers if active(p) != (step < 1)), powers[-1])

    def project(self) -> None:
        """Bring parameters with a `project` transform back into their domains."""
        for layer in (*(b.neurons for b in self._each()), *([self.leaky] if self.leaky is not None else [])):
            layer.project()

    @torch.no_grad()
    def values(self) -> dict[str, np.ndarray]:
        """The trained numbers by what they are, flat; parameters of neurons in constrained form."""
        found: dict[str, Tensor] = {}
        for number, block in enumerate(self._each(), 1):
            suffix = f" of layer {number}"
            found |= {f"weights{suffix}": block.linear.weight, f"gain{suffix}": block.norm.weight}
            found |= {f"offset{suffix}": block.norm.bias, **trained(block.neurons, suffix)}
        found["output weights"] = self.out.weight
        if self.leaky is not None:
            found |= trained(self.leaky, " of the readout")
        arrays = {name: value.detach().cpu().numpy() for name, value in found.items()}
        return {name: array.astype(array.dtype, copy=True).ravel() for name, array in arrays.items()}

    def count(self) -> int:
        """Trained numbers."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)


def _convolution(channels: int, out: int) -> nn.Module:
    return nn.Conv2d(channels, out, 3, padding=1, bias=False)
