"""Layers in a row that thread their carries, and a wrapper for `torch.nn.Sequential`."""

from __future__ import annotations

from typing import Any, cast

import torch

from neuroode._errors import RunError


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
        self, x: Any, carry: tuple[Any, ...] | None = None, *, lengths: Any = None
    ) -> tuple[Any, tuple[Any, ...]]:
        """(out, carries): one carry for each layer of neurons, in order.

        Raises:
            RunError: another number of carries than layers of neurons.
        """
        with_carry = [has_carry(layer) for layer in self.layers]
        before = list(carry) if carry is not None else [None] * sum(with_carry)
        if len(before) != sum(with_carry):
            raise RunError(f"the stack has {sum(with_carry)} layers with a carry, found {len(before)} carries")
        after: list[Any] = []
        for layer, keeps in zip(self.layers, with_carry, strict=True):
            if keeps:
                x, last = layer(x, before[len(after)], lengths=lengths)
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
