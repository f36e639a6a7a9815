"""The jax layer against the interpreter and the torch layer with equal numbers: values, carries, every gradient."""

from __future__ import annotations

import jax
import numpy as np
import pytest
import torch
from jax_oracles import as_jax, by_jax, given, twins
from oracles import DRIVE, GRADIENT, INVENTED, ZOO, assert_same, by_interpreter, by_layer, distance, drive

import neuroode as no

QUICK = {"brf", "levels", "spiral", "channels"}  # others stand below, and in test_native_jax.py
ALL = [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in [*ZOO, *INVENTED] if n in DRIVE]


@pytest.mark.parametrize("name", ALL)
def test_equals_the_interpreter(name: str) -> None:
    torch_layer, layer = twins(name, (2, 3) if name == "channels" else 4)
    x = drive(torch_layer, 30, 2)
    assert_same(by_jax(layer, x), by_interpreter(torch_layer, x), grads=GRADIENT.get(name, 1e-11))


@pytest.mark.parametrize("name", ["two_inputs", "spiral"])
def test_a_run_from_a_carry(name: str) -> None:
    """Three calls are one, and the gradient reaches the carry."""
    torch_layer, layer = twins(name, 3)
    x = drive(torch_layer, 24, 2)
    first = {n: v[:10] for n, v in x.items()}
    second = {n: v[10:] for n, v in x.items()}
    _, carry = layer(given({n: as_jax(v) for n, v in first.items()}))
    _, torch_carry = torch_layer(given(first))
    assert all(distance(np.asarray(carry[n]), v.detach().numpy()) <= 1e-12 for n, v in torch_carry.items())
    held = type(carry)({n: as_jax(v) for n, v in torch_carry.items()}, carry.digest)
    assert_same(by_jax(layer, second, held), by_interpreter(torch_layer, second, torch_carry))


@pytest.mark.parametrize(
    ("name", "recurrent"),
    [("alif", no.Recurrent(self_connections=False, bias=True)), ("levels", {"I": "graded"})],
    ids=["alif", "levels"],
)
def test_a_recurrent_layer_equals_torchs(name: str, recurrent: object) -> None:
    torch_layer, layer = twins(name, 5, recurrent=recurrent)
    x = drive(torch_layer, 25, 2)
    assert_same(by_jax(layer, x), by_layer(torch_layer, x))


@pytest.mark.parametrize(("name", "options"), [("lif", {}), ("two_inputs", {"recurrent": {"I": "s"}})])
def test_lengths(name: str, options: dict) -> None:
    """Padding of nan enters nothing: outputs are 0, states rest, gradients are those of torch."""
    torch_layer, layer = twins(name, 3, **options)
    x = drive(torch_layer, 20, 4)
    lengths = torch.tensor([20, 0, 7, 1])
    for v in x.values():
        for b, n in enumerate(lengths):
            v[int(n) :, b] = torch.nan
    found = by_jax(layer, x, lengths=as_jax(lengths))
    wanted = by_layer(torch_layer, x, lengths=lengths)
    assert_same(found, wanted)
    trace = layer.trace(given({n: as_jax(v) for n, v in x.items()}), lengths=as_jax(lengths))
    ours = torch_layer.trace(given(x), lengths=lengths)
    assert set(trace) == set(ours)
    assert all(distance(np.asarray(trace[n]), v.detach().numpy()) <= 1e-12 for n, v in ours.items())


def test_checkpointed_chunks() -> None:
    """150 steps are cut into chunks; so are 131, which no chunk divides."""
    torch_layer, layer = twins("lif", 2)
    for steps in (150, 131):
        x = drive(torch_layer, steps, 1)
        assert_same(by_jax(layer, x), by_interpreter(torch_layer, x))


def test_float32_equals_torch_in_float32() -> None:
    torch_layer, layer = twins("cuba_lif", 4, dtype=torch.float32)
    x = drive(torch_layer, 40, 3)
    found, wanted = by_jax(layer, x), by_layer(torch_layer, x)
    assert np.array_equal(found.outputs["s"], wanted.outputs["s"])
    assert_same(found, wanted, 1e-5, 1e-4)


def test_a_trace_has_every_state_and_complex_ones_whole() -> None:
    torch_layer, layer = twins("spiral", 3)
    x = drive(torch_layer, 12, 2)
    found, wanted = layer.trace(given({n: as_jax(v) for n, v in x.items()})), torch_layer.trace(given(x))
    assert set(found) == set(wanted)
    assert np.iscomplexobj(found["z"])
    assert all(distance(np.asarray(found[n]), v.detach().numpy()) <= 1e-12 for n, v in wanted.items())


@pytest.mark.parametrize("steps", [0, 1])
def test_hardly_any_steps(steps: int) -> None:
    torch_layer, layer = twins("lif", 3)
    x = drive(torch_layer, steps, 2)
    assert_same(by_jax(layer, x), by_interpreter(torch_layer, x))
    assert jax.tree.map(np.shape, dict(layer.init_carry(2))) == {"v": (2, 3)}
