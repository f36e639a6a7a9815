"""A jax layer with the numbers of a torch layer, and its values and gradients in the form of `oracles.by_layer`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import torch
from oracles import NOISE_KEY, Found, called, cotangents, neuron, scatter, whole

jax.config.update("jax_enable_x64", True)
KEY = jax.random.key(0)


def twins(
    name: str, size: int | tuple[int, ...], dtype: torch.dtype = torch.float64, **options: Any
) -> tuple[Any, Any]:
    """A torch layer with scattered numbers, which runs eagerly, and the jax layer that stores the same."""
    torch.manual_seed(0)
    declared = neuron(name)
    one = scatter(declared.torch(size, dtype=dtype, **{**options, "schedule": "eager"}))
    if one.weights is not None and one.weights.bias is not None:
        torch.nn.init.normal_(one.weights.bias, std=0.5)
    other = declared.jax(size, key=KEY, dtype=str(dtype).removeprefix("torch."), **options)
    return one, with_numbers_of(one, other)


def with_numbers_of(one: Any, other: Any) -> Any:
    """The jax layer `other` with the stored numbers of the torch layer `one`."""
    inner, given = one.parameters_of_neuron, one.neuron.spec.parameters
    raw = {p.name: as_jax(inner.stored(p)) for p in given if p.trainable}
    assert {n: v.shape for n, v in raw.items()} == {n: v.shape for n, v in other.parameters_of_neuron.raw.items()}
    other = eqx.tree_at(lambda layer: layer.parameters_of_neuron.raw, other, raw)
    if one.weights is None:
        return other
    other = eqx.tree_at(lambda layer: layer.weights.weight, other, as_jax(one.weights.weight))
    if one.weights.bias is None:
        return other
    return eqx.tree_at(lambda layer: layer.weights.bias, other, as_jax(one.weights.bias))


def as_jax(x: torch.Tensor) -> jax.Array:
    return jnp.asarray(x.detach().numpy())


def given(x: Mapping[str, Any]) -> Any:
    return dict(x) if len(x) > 1 else next(iter(x.values()))


def by_jax(layer: Any, x: Mapping[str, torch.Tensor], carry: Any = None, **call: Any) -> Found:
    """Run the layer and pull the cotangents of `oracles` back; gradients of parameters are those of stored numbers."""
    inputs = {n: as_jax(v) for n, v in x.items()}
    steps, batch = next(iter(x.values())).shape[:2]
    g_out, g_end = ({n: as_jax(g) for n, g in whole(group).items()} for group in cotangents(layer, steps, batch))

    def loss(layer: Any, inputs: Any, carry: Any) -> Any:
        out, after = called(layer, inputs, carry, **call)
        after = {n: v for n, v in after.items() if n != NOISE_KEY}
        outputs = out if isinstance(out, dict) else {next(iter(g_out)): out}
        total = sum((outputs[n] * g).sum() for n, g in g_out.items())
        return total + sum((after[n] * g).sum() for n, g in g_end.items()), (outputs, after)

    differentiated = jax.jit(jax.grad(loss, argnums=(0, 1, 2) if carry is not None else (0, 1), has_aux=True))
    slopes, (outputs, after) = differentiated(layer, inputs, carry)
    return Found(
        _numpy(outputs), _numpy(after), _numpy(slopes[1]), _numpy(slopes[2]) if carry is not None else {},
        _parameters(slopes[0]),
    )  # fmt: skip


def _parameters(slopes: Any) -> dict[str, np.ndarray]:
    rows = {f"parameters_of_neuron.raw_{n}": v for n, v in slopes.parameters_of_neuron.raw.items()}
    if slopes.weights is not None:
        rows["weights.weight"] = slopes.weights.weight
        if slopes.weights.bias is not None:
            rows["weights.bias"] = slopes.weights.bias
    return _numpy(rows)


def _numpy(rows: Mapping[str, Any]) -> dict[str, np.ndarray]:
    return {n: np.asarray(v, float) for n, v in rows.items()}
