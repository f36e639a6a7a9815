"""torch.func.vmap folds its axis into the samples of one kernel call: equal to a loop, with gradients."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from oracles import drive, neuron, scatter

import neuroode as no

F64 = torch.float64


def build(name: str, size: Any = 5, **options: Any) -> Any:
    torch.manual_seed(0)
    return scatter(neuron(name).torch(size, dtype=F64, **options))


def many(layer: Any, count: int = 3, steps: int = 25) -> torch.Tensor:
    return torch.stack([drive(layer, steps, 2, seed=s)["I"] for s in range(count)])


@pytest.mark.parametrize("name", ["lif", "brf", "spiral", "levels"])
def test_vmap_is_a_loop(name: str) -> None:
    """Outputs bit by bit, carries to the rounding of coefficients, which torch computes here and C in a plain call."""
    layer = build(name)
    xs = many(layer)

    def call(x: torch.Tensor) -> Any:
        out, carry = layer(x)
        return out, dict(carry)

    found, states = torch.func.vmap(call)(xs)
    for i, x in enumerate(xs):
        out, carry = layer(x)
        pairs = [(found, out)] if isinstance(out, torch.Tensor) else [(found[k], v) for k, v in out.items()]
        assert all(torch.equal(a[i], b) for a, b in pairs)
        for k, v in carry.items():
            torch.testing.assert_close(states[k][i], v, rtol=1e-14, atol=1e-14 * float(v.detach().abs().max()))


@pytest.mark.parametrize("dim", [0, 1, 2, -1])
def test_any_axis_can_be_mapped(dim: int) -> None:
    layer = build("lif", (2, 3))
    xs = many(layer).movedim(0, dim)
    found = torch.func.vmap(lambda x: layer(x)[0], in_dims=dim)(xs)
    assert torch.equal(found, torch.stack([layer(x)[0] for x in xs.movedim(dim, 0)]))


def test_recurrence_carries_and_lengths_under_vmap() -> None:
    layer = build("alif", recurrent=no.Recurrent(bias=True))
    xs = many(layer)
    _, carry = layer(xs[0])
    lengths = torch.tensor([10, 25])
    wanted = torch.stack([layer(x, carry, lengths=lengths)[0] for x in xs])
    assert torch.equal(torch.func.vmap(lambda x: layer(x, carry, lengths=lengths)[0])(xs), wanted)
    cut = no.detach_carry(carry)
    starts = {k: torch.stack([v, 2 * v]) for k, v in cut.items()}
    one = torch.stack([layer(xs[0], type(cut)({k: v[i] for k, v in starts.items()}, cut.digest))[0] for i in (0, 1)])
    found = torch.func.vmap(lambda s: layer(xs[0], type(cut)(s, cut.digest))[0])(starts)
    assert torch.equal(found, one)


def test_nested_maps() -> None:
    layer = build("lif")
    xs = many(layer, 4).unflatten(0, (2, 2))
    found = torch.func.vmap(torch.func.vmap(lambda x: layer(x)[0]))(xs)
    assert torch.equal(found, torch.stack([torch.stack([layer(x)[0] for x in row]) for row in xs]))


@pytest.mark.parametrize("recurrent", [None, True])
def test_gradients_through_a_map(recurrent: bool | None) -> None:
    """Outer autograd, to inputs and to every parameter; equal to the loop's up to the order of sums."""
    layer = build("brf", recurrent=recurrent)
    xs = many(layer).requires_grad_()
    leaves = [xs, *layer.parameters()]
    weight = torch.randn(len(xs), 25, 2, 5, dtype=F64)
    by_map = torch.autograd.grad((torch.func.vmap(lambda x: layer(x)[0])(xs) * weight).sum(), leaves)
    by_loop = torch.autograd.grad((torch.stack([layer(x)[0] for x in xs]) * weight).sum(), leaves)
    for a, b in zip(by_map, by_loop, strict=True):
        assert (a - b).abs().max() <= 1e-12 * max(1.0, float(b.abs().max()))


def test_what_a_kernel_cannot_map_is_refused() -> None:
    layer = build("lif")
    x = many(layer)[0]
    stored = {n: torch.stack([p, 2 * p]) for n, p in layer.named_parameters()}
    with pytest.raises(no.Unsupported, match="vmap over the parameters"):
        torch.func.vmap(lambda p: torch.func.functional_call(layer, p, (x,))[0])(stored)
    for outer in (torch.func.grad, torch.func.jacrev):
        with pytest.raises(no.Unsupported, match=r"no torch\.func but vmap"):
            outer(lambda x: torch.func.vmap(lambda y: layer(y)[0])(x[None]).sum())(x)
        with pytest.raises(no.Unsupported, match=r"no torch\.func but vmap"):
            torch.func.vmap(outer(lambda y: layer(y)[0].sum()))(x[None])
    assert torch.isfinite(layer(x)[0]).all()
