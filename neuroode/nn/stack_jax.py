"""Layers in a row that thread their carries, and a wrapper for `equinox.nn.Sequential`."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax

from neuroode._errors import RunError


class OnlyOutput(eqx.Module):
    """A layer that returns its output and starts afresh in each call."""

    layer: Any

    def __call__(self, x: Any, *, key: Any = None) -> Any:  # Sequential passes one
        return self.layer(x, key=key)[0]


class Stack(eqx.Module):
    """Modules in a row. Layers of neurons get and give their carry; other modules map each step of each sample.

    Example: `out, carries = Stack(eqx.nn.Linear(4, 36, key=a), brf, eqx.nn.Linear(36, 6, key=b), li)(x)`.
    """

    layers: tuple[Any, ...]

    def __init__(self, *layers: Any) -> None:
        self.layers = layers

    def __call__(
        self, x: Any, carry: tuple[Any, ...] | None = None, *, lengths: Any = None, key: Any = None
    ) -> tuple[Any, tuple[Any, ...]]:
        """(out, carries): one carry for each layer of neurons, in order.

        Args:
            key: for modules that draw, such as Dropout and neurons with noise.

        Raises:
            RunError: another number of carries than layers of neurons.
        """
        with_carry = [has_carry(layer) for layer in self.layers]
        before = list(carry) if carry is not None else [None] * sum(with_carry)
        if len(before) != sum(with_carry):
            raise RunError(f"the stack has {sum(with_carry)} layers with a carry, found {len(before)} carries")
        after: list[Any] = []
        for i, (layer, keeps) in enumerate(zip(self.layers, with_carry, strict=True)):
            own = None if key is None else jax.random.fold_in(key, i)
            if keeps:
                x, last = layer(x, before[len(after)], lengths=lengths, key=own)
                after.append(last)
            else:
                x = _mapped(layer, x, own)
        return x, tuple(after)

    def project(self) -> Stack:
        """With the parameters of every layer inside their domains; call it after each update."""
        return Stack(*(layer.project() if has_carry(layer) else layer for layer in self.layers))


def has_carry(layer: Any) -> bool:
    return isinstance(layer, Stack) or hasattr(layer, "init_carry")


def _mapped(layer: Any, x: Any, key: Any) -> Any:
    """A module of one vector, on (T, B, C)."""
    rows = x.reshape(-1, *x.shape[2:])
    if key is None:
        out = jax.vmap(layer)(rows)
    else:
        out = jax.vmap(lambda row, k: layer(row, key=k))(rows, jax.random.split(key, len(rows)))
    return out.reshape(*x.shape[:2], *out.shape[1:])
