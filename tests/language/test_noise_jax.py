"""Noise streams of JAX layers against the interpreter: seeds, keys, chunks, replay, transforms."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax_oracles import KEY
from noisy import drive, escape

import neuroode as no
from neuroode.nn.stack_jax import Stack


def layer(schedule: str = "auto") -> Any:
    return escape().jax(4, key=KEY, dtype=jnp.float64, schedule=schedule)


@pytest.mark.parametrize("schedule", ["eager", "sequential", "auto"])
def test_a_layer_is_the_interpreter_with_that_seed(schedule: str) -> None:
    x = drive(40, 3, 4).numpy()
    rows = escape().simulate(x, seed=7)
    found, _ = layer(schedule)(x, seed=7)
    np.testing.assert_array_equal(found["s"], rows["s"])
    np.testing.assert_allclose(found["v"], rows["v.before"], atol=1e-12)
    np.testing.assert_allclose(layer(schedule).trace(x, seed=7)["v"], rows["v"], atol=1e-12)


def test_two_calls_equal_one() -> None:
    x, lengths = drive(30, 3, 4).numpy(), np.array([30, 11, 0])
    whole, last = layer()(x, seed=3, lengths=lengths)
    first, between = layer()(x[:11], seed=3, lengths=np.minimum(lengths, 11))
    second, end = layer()(x[11:], between, lengths=np.maximum(lengths - 11, 0))
    for name in whole:
        np.testing.assert_array_equal(jnp.concatenate([first[name], second[name]]), whole[name])
    assert last["noise key"].tolist() == end["noise key"].tolist() == [[3, 30], [3, 11], [3, 0]]


def test_keys_pass_through_transforms() -> None:
    one, x = layer(), drive(20, 2, 4).numpy()
    keys = jax.random.split(jax.random.key(1), 3)
    each = [one(x, key=k)[0]["s"] for k in keys]
    assert not np.array_equal(each[0], each[1])
    np.testing.assert_array_equal(jax.jit(lambda k: one(x, key=k)[0]["s"])(keys[1]), each[1])
    np.testing.assert_array_equal(jax.vmap(lambda k: one(x, key=k)[0]["s"])(keys), each)
    np.testing.assert_array_equal(jax.jit(lambda s: one(x, seed=s)[0]["s"])(jnp.uint32(5)), one(x, seed=5)[0]["s"])
    assert one.init_carry(2, seed=5)["noise key"].tolist() == [[5, 0], [5, 0]]
    out, carries = Stack(escape().replace(outputs="s").jax(4, key=KEY, dtype=jnp.float64))(x, key=keys[0])
    assert out.shape == x.shape
    assert len(carries) == 1


def test_replayed_noise_has_gradients() -> None:
    x, r = drive(12, 2, 4).numpy(), np.random.default_rng(1)
    noise = {"U": r.random((12, 2, 4)), "Z": r.normal(size=(12, 2, 4, 2))}
    rows = escape().simulate(x, noise=noise)
    found, _ = layer()(x, noise=noise)
    np.testing.assert_allclose(found["v"], rows["v.before"], atol=1e-12)
    total = {s: jax.grad(lambda z, s=s: layer(s)(x, noise=noise | {"Z": z})[0]["v"].sum()) for s in ("eager", "auto")}
    np.testing.assert_allclose(total["auto"](noise["Z"]), total["eager"](noise["Z"]), atol=1e-10)


def test_what_does_not_fit_is_refused() -> None:
    x = drive(12, 2, 4).numpy()
    for call, message in (
        ({}, "'escape' has noise, and the call passes no key"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": 1, "key": KEY}, "seed= and key=, which say the same thing twice"),
        ({"key": 3}, "key is 3, no key of JAX"),
        ({"seed": 0, "noise": {"W": x}}, "'W' is no noise stream"),
        ({"seed": 0, "noise": {"U": x[:3]}}, "noise 'U' is"),
    ):
        with pytest.raises(no.RunError, match=message):
            layer()(x, **call)
    with pytest.raises(no.RunError, match="passes no key"):
        layer().init_carry(2)
