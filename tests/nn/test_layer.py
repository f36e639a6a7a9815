"""Kernel and eager program against the float64 interpreter: outputs, carries, and the gradients of everything."""

from __future__ import annotations

import pytest
import torch
from oracles import (
    GRADIENT,
    INVENTED,
    ZOO,
    assert_same,
    by_interpreter,
    by_layer,
    distance,
    drive,
    neuron,
    scatter,
    smallest_margin,
)

ALL = [*ZOO, *INVENTED]
SIZES = [1, 3, 7, 36, 130, (3, 5), (2, 3, 4)]
F64 = torch.float64


def build(name, size=7, schedule="auto", dtype=F64, seed=0, **options):
    torch.manual_seed(seed)
    return scatter(neuron(name).torch(size, schedule=schedule, dtype=dtype, **options))


@pytest.mark.parametrize("schedule", ["auto", "eager"])
@pytest.mark.parametrize("name", ALL)
def test_equals_the_interpreter(name, schedule):
    layer = build(name, schedule=schedule)
    x = drive(layer, 50, 3)
    found = by_layer(layer, x)
    assert_same(found, by_interpreter(layer, x), grads=GRADIENT.get(name, 1e-11))
    spikes = [v for n, v in found.outputs.items() if set(v.ravel()) == {0.0, 1.0}]
    assert spikes or name in ("levels", "ts_lif") or not layer.neuron.spec.events, name
    assert all(0.01 < v.mean() < 0.98 for v in spikes)


@pytest.mark.parametrize("schedule", ["auto", "eager"])
@pytest.mark.parametrize("name", ALL)
def test_equals_the_interpreter_from_a_given_carry(name, schedule):
    layer = build(name, schedule=schedule)
    _, carry = layer(as_given(drive(layer, 7, 3, seed=5)))
    x = drive(layer, 20, 3)
    assert_same(by_layer(layer, x, carry), by_interpreter(layer, x, carry), grads=GRADIENT.get(name, 1e-11))


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ["channels", "levels", "brf"])
def test_sizes(name, size, batch):
    layer = build(name, size)
    x = drive(layer, 33, batch)
    assert_same(by_layer(layer, x), by_interpreter(layer, x))


@pytest.mark.parametrize("schedule", ["auto", "eager"])
@pytest.mark.parametrize("steps", [0, 1, 2, 31, 32, 33, 64, 100])
@pytest.mark.parametrize("name", ["two_inputs", "pair"])
def test_lengths_of_a_sequence(name, steps, schedule):
    layer = build(name, schedule=schedule)
    x = drive(layer, steps, 2)
    assert_same(by_layer(layer, x), by_interpreter(layer, x))


def test_no_samples():
    for schedule in ("auto", "eager"):
        layer = build("pair", schedule=schedule)
        out, carry = layer(torch.zeros(5, 0, 7, dtype=F64))
        assert out.shape == (5, 0, 7)
        assert carry["v"].shape == (0, 7)


VIEWS = {
    "transposed": lambda x: x.transpose(0, 1).contiguous().transpose(0, 1),
    "neurons first": lambda x: x.permute(2, 0, 1).contiguous().permute(1, 2, 0),
    "offset": lambda x: torch.cat([x.new_full((3, *x.shape[1:]), 9.0), x])[3:],
    "offset by one number": lambda x: torch.cat([x.new_zeros(1), x.reshape(-1)])[1:].reshape(x.shape),
    "every second step": lambda x: torch.stack([x, x.new_full(x.shape, 9.0)], 1).reshape(-1, *x.shape[1:])[::2],
    "every second neuron": lambda x: torch.stack([x, x.new_full(x.shape, 9.0)], -1).flatten(-2)[..., ::2],
    "some samples": lambda x: torch.cat([x, x.new_full(x.shape, 9.0)], 1)[:, : x.shape[1]],
}


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("schedule", ["auto", "eager"])
def test_inputs_in_any_layout(view, schedule):
    layer = build("alif", 5, schedule)
    x = drive(layer, 40, 3)
    seen = {"I": VIEWS[view](x["I"])}
    assert torch.equal(seen["I"], x["I"])
    assert view.startswith("offset") or not seen["I"].is_contiguous()
    assert_same(by_layer(layer, seen), by_interpreter(layer, x))


@pytest.mark.parametrize("schedule", ["auto", "eager"])
@pytest.mark.parametrize("shape", [(40, 1, 1), (1, 3, 5), (40, 1, 5), (40, 3, 1), (1, 1, 1)])
def test_expanded_inputs(shape, schedule):
    layer = build("alif", 5, schedule)
    small = (8 * torch.randn(shape, dtype=F64) + 3).requires_grad_()
    wide = small.expand(40, 3, 5)
    found = by_layer(layer, {"I": wide})
    assert_same(found, by_interpreter(layer, {"I": wide}))


@pytest.mark.parametrize("schedule", ["auto", "eager"])
def test_cotangents_in_any_layout(schedule):
    layer = build("li", 5, schedule)
    x = drive(layer, 40, 3)["I"].requires_grad_()
    wanted = torch.autograd.grad((layer(x)[0] * torch.arange(5.0, dtype=F64)).sum(), x)[0]
    expanded = torch.autograd.grad(layer(x)[0], x, torch.arange(5.0, dtype=F64).expand(40, 3, 5))[0]
    turned = torch.arange(5.0, dtype=F64).expand(3, 40, 5).contiguous().transpose(0, 1)
    assert distance(expanded, wanted) < 1e-14
    assert distance(torch.autograd.grad(layer(x)[0], x, turned)[0], wanted) < 1e-14


@pytest.mark.parametrize("schedule", ["auto", "eager"])
def test_a_carry_in_any_layout(schedule):
    layer = build("brf", 5, schedule)
    x = drive(layer, 40, 3)["I"]
    _, carry = layer(x)
    odd = type(carry)({k: v.T.contiguous().T for k, v in carry.items()}, carry.digest)
    assert torch.equal(layer(x, odd)[0], layer(x, carry)[0])


@pytest.mark.parametrize("schedule", ["auto", "eager"])
@pytest.mark.parametrize("name", ALL)
def test_float32(name, schedule):
    layer = build(name, schedule=schedule, dtype=torch.float32)
    x = next(x for s in range(30) if smallest_margin(layer, x := drive(layer, 25, 2, seed=s)) > 2e-3)
    found, wanted = by_layer(layer, x), by_interpreter(layer, x)
    assert_same(found, wanted, 1e-4, 1e-3)
    for n, v in wanted.outputs.items():
        if set(v.ravel()) <= {0.0, 1.0}:
            assert (found.outputs[n] == v).all()


@pytest.mark.parametrize("name", ["alif", "brf", "levels", "two_inputs"])
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_threads_give_the_same_bits(name, dtype):
    layer = build(name, 130, dtype=dtype)
    x = drive(layer, 256, 9)
    before = torch.get_num_threads()
    try:
        found = []
        for n in (1, 2, 3):
            torch.set_num_threads(n)
            found.append(by_layer(layer, x))
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert_same(other, found[0], 0.0, 0.0)


@pytest.mark.parametrize("schedule", ["auto", "eager"])
def test_a_loss_that_reads_one_output_or_the_carry_only(schedule):
    layer = build("two_inputs", schedule=schedule)
    x = {n: v.requires_grad_() for n, v in drive(layer, 20, 2).items()}
    out, carry = layer(x)
    leaves = [*x.values(), *layer.parameters()]
    by_output = torch.autograd.grad(out["a"].sum(), leaves, retain_graph=True, allow_unused=True)
    by_carry = torch.autograd.grad(carry["v"].sum(), leaves, allow_unused=True)
    out, carry = layer(x)
    both = torch.autograd.grad(out["a"].sum() + carry["v"].sum(), leaves)
    for a, b, c in zip(by_output, by_carry, both, strict=True):
        total = (0 if a is None else a) + (0 if b is None else b)
        assert distance(total, c) < 1e-12


def test_without_gradients_nothing_is_kept():
    layer = build("alif")
    x = drive(layer, 40, 3)["I"]
    with torch.no_grad():
        out, carry = layer(x)
    assert not out.requires_grad
    assert not any(v.requires_grad for v in carry.values())
    assert torch.equal(out, layer(x)[0])
    with torch.inference_mode():
        assert torch.equal(out, layer(x)[0])


def as_given(x):
    return x if len(x) > 1 else next(iter(x.values()))
