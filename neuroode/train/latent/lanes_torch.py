"""A layer seen as lanes of vectors: its states, inputs and noise, each (..., N, n), whatever axes they are declared with."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import torch
from torch import Tensor

from neuroode._errors import Unsupported
from neuroode.nn.carry import Carry
from neuroode.program.noise import streams
from neuroode.program.pack import groups

Shapes = dict[str, tuple[int, ...]]


class Lanes:
    """Packing of a layer of one axis of neurons that gives every state as an output of its name.

    Raises:
        Unsupported: several inputs, complex states, or a state that is no output.
    """

    def __init__(self, layer: Any) -> None:
        self.layer, spec = layer, layer.neuron.spec
        fresh = layer.init_carry(1)
        self.states: Shapes = {s.name: tuple(fresh[s.name].shape[2:]) for s in spec.states if s.name in fresh}
        if len(self.states) < len(spec.states):
            raise Unsupported(f"a latent has real states; '{spec.name}' has others")
        missing = [name for name in self.states if name not in dict(spec.outputs)]
        if missing:
            raise Unsupported(f"'{spec.name}' does not put out its state '{missing[0]}'",
                              hint=f"declare it under outputs, {missing[0]}: {missing[0]}[...] with its axes")  # fmt: skip
        if len(spec.inputs) > 1:
            raise Unsupported(f"a latent is driven by one input; '{spec.name}' has {len(spec.inputs)}")
        found = streams(layer.program)
        self.inputs: Shapes = {g.name: g.shape for g in groups(layer.program.given)} if spec.inputs else {}
        self.streams: Shapes = {g.name: g.shape for g in found}
        self.kinds = [layer.program.noise[g.members[0]].kind for g in found for _ in range(prod(g.shape))]
        self.n, self.r, self.m = (count(s) for s in (self.states, self.inputs, self.streams))

    def start(self, values: Tensor) -> Carry:
        """A carry with the states `values` (B, N, n)."""
        fresh = self.layer.init_carry(len(values))
        return Carry({**fresh, **unpack(values, self.states)}, fresh.digest)

    def rest(self) -> Tensor:
        """The declared start (N, n)."""
        return pack(self.layer.init_carry(1), self.states)[0]

    def run(self, x: Tensor, start: Tensor, noise: Tensor) -> Tensor:
        """States (T, B, N, n) after each step; x (T, B, N, r), start (B, N, n), noise (T, B, N, m)."""
        given = next(iter(unpack(x, self.inputs).values())) if self.inputs else None
        sizes = {} if self.inputs else {"steps": noise.shape[0], "batch": noise.shape[1]}
        out, _ = self.layer(given, self.start(start), noise=unpack(noise, self.streams), **sizes)
        return pack({next(iter(self.states)): out} if isinstance(out, Tensor) else out, self.states)


def count(shapes: Shapes) -> int:
    return sum(prod(shape) for shape in shapes.values())


def pack(arrays: Mapping[str, Tensor], shapes: Shapes) -> Tensor:
    """(..., *axes) by name -> (..., n)."""
    rows = [arrays[name].reshape(*arrays[name].shape[: arrays[name].dim() - len(shape)], -1)
            for name, shape in shapes.items()]  # fmt: skip
    return torch.cat(rows, -1)


def unpack(values: Tensor, shapes: Shapes) -> dict[str, Tensor]:
    """(..., n) -> (..., *axes) by name."""
    parts = values.split([prod(shape) for shape in shapes.values()], -1)
    return {name: part.reshape(*part.shape[:-1], *shape)
            for (name, shape), part in zip(shapes.items(), parts, strict=True)}  # fmt: skip
