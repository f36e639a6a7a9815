"""Layers in a row that thread their carries, and a wrapper for `torch.nn.Sequential`."""

from __future__ import annotations

from typing import Any, cast

import torch

from neuroode._errors import RunError
from neuroode.program.noise import checked_seed
from neuroode.solvers.on_numpy.random import seed_of


class OnlyOutput(torch.nn.Module):
    """A layer that returns its output and starts afresh in each call."""

    def __init__(self, layer: torch.nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Any) -> Any:
        return self.layer(x)[0]


class Stack(torch.nn.Module):
    """Modules in a row. Layers of neurons get and give their carry; other modules (Linear, Dropout) map the sequence.

    Example: `out, carries = Stack(Linear(4, 36), brf, Linear(36, 6), li)(x)`.
    """

    def __init__(self, *layers: torch.nn.Module) -> None:
        super().__init__()
        self.layers = torch.nn.ModuleList(layers)

    def forward(
        self, x: Any, carry: tuple[Any, ...] | None = None, *, lengths: Any = None, seed: int | None = None
    ) -> tuple[Any, tuple[Any, ...]]:
        """(out, carries): one carry for each layer of neurons, in order.

        Args:
            seed: of noise and drawn initial values, 0 to 2^32 - 1; every layer draws from a seed of its own, a number
                of this one and its place. None: each from its carry, else from torch's generator.

        Raises:
            RunError: another number of carries than layers of neurons, a seed that nothing reads.
        """
        if seed is not None:
            _check_seed(self, carry, seed)
        with_carry = [has_carry(layer) for layer in self.layers]
        before = list(carry) if carry is not None else [None] * sum(with_carry)
        if len(before) != sum(with_carry):
            raise RunError(f"the stack has {sum(with_carry)} layers with a carry, found {len(before)} carries")
        after: list[Any] = []
        for i, (layer, keeps) in enumerate(zip(self.layers, with_carry, strict=True)):
            if keeps:
                own = before[len(after)]
                seeded = {"seed": seed_of(seed, i)} if seed is not None and draws(layer, own) else {}
                x, last = layer(x, own, lengths=lengths, **seeded)
                after.append(last)
            else:
                x = layer(x)
        return x, tuple(after)

    def project(self) -> None:
        """Project the parameters of every layer that has such; call it after each update."""
        for layer in self.modules():
            if hasattr(layer, "init_carry"):
                cast("Any", layer).project()


def has_carry(layer: torch.nn.Module) -> bool:
    return isinstance(layer, Stack) or hasattr(layer, "init_carry")


def draws(layer: torch.nn.Module, carry: Any) -> bool:
    """Whether a call from this carry reads a seed."""
    if isinstance(layer, Stack):
        inner = [one for one in layer.layers if has_carry(one)]
        return any(map(draws, inner, carry or [None] * len(inner)))
    program = getattr(layer, "program", None)
    return program is not None and bool(program.noise or (program.start is not None and carry is None))


def _check_seed(stack: Stack, carry: Any, seed: Any) -> None:
    checked_seed(seed)
    if not draws(stack, carry):
        raise RunError(f"seed={seed}: no layer of this stack draws anything in this call", hint="leave seed= out")
