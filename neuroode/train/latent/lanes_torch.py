"""A layer seen as lanes of vectors: states, inputs and noise, each (..., N, n), whatever axes are declared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from neuroode._errors import Unsupported
from neuroode.nn.carry import Carry
from neuroode.program.pack import groups, packed, unpacked

_stack = partial(torch.stack, dim=-1)


class Lanes:
    """Packing of a layer of one axis of neurons that gives every state as an output of its name.

    The order of the n states and r inputs is that of `neuroode.nn.gaussian_torch.Transition`. Noise is standard normal.

    Raises:
        Unsupported: complex states or past inputs in the carry, a state that is no output, noise that is not normal.
    """

    def __init__(self, layer: Any) -> None:
        self.layer, program, spec = layer, layer.program, layer.neuron.spec
        self.states = [s.name for s in program.carry]
        self.inputs = list(program.given) if spec.inputs else []
        self.streams = [n.name for n in program.noise]
        named = {g.name for g in groups(self.states)}
        if named != {s.name for s in spec.states}:
            raise Unsupported(f"a latent has real states and no past inputs; '{spec.name}' carries {', '.join(named)}")
        missing = sorted(named - {name for name, _ in spec.outputs})
        if missing:
            hint = f"declare it under outputs, {missing[0]}: {missing[0]}[...] with its axes"
            raise Unsupported(f"'{spec.name}' does not put out its state '{missing[0]}'", hint=hint)
        if any(n.kind == "uniform" for n in program.noise):
            raise Unsupported(f"'{spec.name}' has uniform noise: the noise of a latent is normal", hint="kind: normal")
        scales = [layer.dt**0.5 if n.kind == "wiener" else 1.0 for n in program.noise]
        self.scales = torch.tensor(scales, dtype=layer._like.dtype)
        self.n, self.r, self.m = len(self.states), len(self.inputs), len(self.streams)

    def start(self, values: Tensor) -> Carry:
        """A carry with the states `values` (B, N, n)."""
        fresh = self.layer.init_carry(len(values))
        return Carry({**fresh, **split(values, self.states)}, fresh.digest)

    def rest(self) -> Tensor:
        """The declared start (N, n), that of an uncertain one in the middle: the latent learns a law of its own."""
        _, inits = self.layer._prologue()
        return _stack([v.to(self.layer._like.dtype).expand(1, *self.layer.size)[0] for v in inits])

    def run(self, x: Tensor, start: Tensor, noise: Tensor) -> Tensor:
        """States (T, B, N, n) after each step; x (T, B, N, r), start (B, N, n), noise (T, B, N, m)."""
        given = next(iter(split(x, self.inputs).values())) if self.inputs else None
        sizes = {} if self.inputs else {"steps": noise.shape[0], "batch": noise.shape[1]}
        out, _ = self.layer(given, self.start(start), noise=split(noise * self.scales, self.streams), **sizes)
        return join(out if isinstance(out, Mapping) else {groups(self.states)[0].name: out}, self.states)


def join(arrays: Mapping[str, Any], names: Sequence[str]) -> Tensor:
    """Arrays by name with their axes last -> (..., n) in the order of the elements `names`."""
    found = groups(names)
    return _stack(unpacked({g.name: arrays[g.name] for g in found}, found))


def split(values: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
    """(..., n) -> arrays by name with their axes last."""
    return packed(values.unbind(-1), groups(names), _stack)
