"""The carry of a jax layer: a pytree, so that it passes through jit, grad, vmap and scan."""

from __future__ import annotations

from typing import Any

import jax

from neuroode.nn.carry import Carry


class JaxCarry(Carry):
    """State parts by name; its leaves are the arrays."""

    __slots__ = ()

    def detach(self) -> JaxCarry:
        """The same values without gradient."""
        return JaxCarry({k: jax.lax.stop_gradient(v) for k, v in self.items()}, self.digest)


def _flatten(carry: JaxCarry) -> tuple[list[Any], tuple[Any, ...]]:
    return [(jax.tree_util.DictKey(k), v) for k, v in carry.items()], (tuple(carry), carry.digest)


def _unflatten(form: tuple[Any, ...], leaves: Any) -> JaxCarry:
    names, digest = form
    return JaxCarry(dict(zip(names, leaves, strict=True)), digest)


jax.tree_util.register_pytree_with_keys(JaxCarry, _flatten, _unflatten)
