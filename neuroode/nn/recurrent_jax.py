"""Recurrent weights of a jax layer."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from neuroode._errors import Unsupported
from neuroode.nn.recurrent import Recurrent

INITS = {
    "xavier_uniform": jax.nn.initializers.glorot_uniform(),
    "orthogonal": jax.nn.initializers.orthogonal(),
    "zeros": jax.nn.initializers.zeros,
}


class RecurrentWeights(eqx.Module):
    """W_rec (N, N), [to, from], and an optional bias (N,)."""

    weight: jax.Array
    bias: jax.Array | None
    self_connections: bool = eqx.field(static=True)

    def __init__(self, option: Recurrent, n: int, dtype: Any, key: Any) -> None:
        if option.init not in INITS:
            raise Unsupported(f"unknown init '{option.init}' of W_rec", hint="choose among " + ", ".join(INITS))
        self.weight = INITS[option.init](key, (n, n), dtype)
        self.bias = jnp.zeros(n, dtype) if option.bias else None
        self.self_connections = option.self_connections

    def matrix(self) -> jax.Array:
        """The weights; without self connections the diagonal is 0 and gets no gradient."""
        if self.self_connections:
            return self.weight
        return self.weight * (1 - jnp.eye(len(self.weight), dtype=self.weight.dtype))
