"""Parallel spiking neurons in jax, by its own scan and by the C kernel, against torch."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from jax_oracles import KEY, with_numbers_of
from references import distance

import neuroode as no


@pytest.mark.parametrize("schedule", ["eager", "sequential"])
@pytest.mark.parametrize("name", ["psn", "masked_psn", "mul_free_psn"])
def test_equal_to_torch(name: str, schedule: str) -> None:
    torch.manual_seed(0)
    one = no.load(name).torch(3, dtype=torch.float64)
    other = with_numbers_of(one, no.load(name).jax(3, key=KEY, dtype=jnp.float64, schedule=schedule))
    x = torch.randn(10, 2, 3, dtype=torch.float64).mul(3).requires_grad_()
    g = np.random.default_rng(0).normal(size=(10, 2, 3))
    out, _ = one(x)
    wanted = torch.autograd.grad((out * torch.tensor(g)).sum(), [x, *one.parameters()])

    def total(layer: Any, x: Any) -> Any:
        return (layer(x)[0] * g).sum()

    given = jnp.asarray(x.detach().numpy())
    slopes, g_x = jax.grad(total, argnums=(0, 1))(other, given)
    assert np.array_equal(np.asarray(other(given)[0]), out.detach().numpy())
    assert distance(g_x, wanted[0]) <= 1e-11
    for name, grad in zip(dict(one.named_parameters()), wanted[1:], strict=True):
        assert distance(slopes.parameters_of_neuron.raw[name.partition("raw_")[2]], grad) <= 1e-11
