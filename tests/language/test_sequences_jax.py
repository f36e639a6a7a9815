"""Sums over the whole sequence in jax against torch: values, gradients, samples of different lengths."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from jax_oracles import KEY
from references import distance
from sequences import drive, rich

import neuroode as no

F64 = torch.float64


def test_jax_is_torch() -> None:
    layer = rich().torch((3, 2), dtype=F64)
    other = rich().jax((3, 2), key=KEY, dtype=jnp.float64)
    other = other.set(**{n: v.detach().numpy() for n, v in layer.values.items()})
    x, y = drive(5)
    lengths = torch.tensor([5, 3])
    given = {"x": jnp.asarray(x.detach().numpy()), "y": jnp.asarray(y.detach().numpy())}
    cotangent = np.random.default_rng(0).normal(size=(5, 2, 3, 2))

    def total(layer: Any, given: Any) -> Any:
        out, _ = layer(given, lengths=jnp.asarray(lengths.numpy()))
        return (out["v"] * cotangent).sum() + (out["h"] ** 2).sum()

    slopes, g_inputs = jax.grad(total, argnums=(0, 1))(other, given)
    out, _ = layer({"x": x, "y": y}, lengths=lengths)
    loss = (out["v"] * torch.tensor(cotangent)).sum() + (out["h"] ** 2).sum()
    grads = torch.autograd.grad(loss, [x, y, *layer.parameters()])
    by_name = dict(zip(["x", "y", *dict(layer.named_parameters())], grads, strict=True))
    assert distance(g_inputs["x"], by_name["x"]) <= 1e-11
    for name, found in slopes.parameters_of_neuron.raw.items():
        assert distance(found, by_name[f"parameters_of_neuron.raw_{name}"]) <= 1e-11, name
    with pytest.raises(no.RunError, match="a call cannot go on from a carry"):
        other(given, other.init_carry(2))


@pytest.mark.slow
def test_emitted_files_hold_the_sums() -> None:
    space: dict[str, Any] = {"__name__": "emitted"}
    exec(compile(rich().emit("jax"), "<emitted>", "exec"), space)
    assert max(row[-1] for row in space["compare"]()) <= 1e-11
