"""Layers in a row, with and without their carries."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from oracles import distance

import neuroode as no
from neuroode.nn.carry import NOISE_KEY

BOTH = pytest.mark.parametrize("schedule", ["auto", "eager"])
F64 = torch.float64


def build(schedule="auto"):
    torch.manual_seed(0)
    first = no.load("alif").torch(8, dtype=F64, schedule=schedule, recurrent=True).set(tau=3.0)
    second = no.load("li").torch(3, dtype=F64, schedule=schedule)
    stack = no.nn.Stack(
        torch.nn.Linear(4, 8, dtype=F64), first, torch.nn.Dropout(0.0), torch.nn.Linear(8, 3, dtype=F64), second
    )
    torch.nn.init.normal_(stack.layers[0].weight, std=3.0)
    return stack, first, second


@BOTH
def test_equals_the_layers_one_after_another(schedule):
    stack, first, second = build(schedule)
    x = torch.randn(40, 2, 4, dtype=F64)
    out, carries = stack(x)
    spikes, a = first(stack.layers[0](x))
    wanted, b = second(stack.layers[3](spikes))
    assert spikes.mean() > 0.02
    assert torch.equal(out, wanted)
    assert len(carries) == 2
    assert all(torch.equal(found[n], right[n]) for found, right in zip(carries, (a, b), strict=True) for n in right)


@BOTH
def test_pieces_equal_the_whole(schedule):
    stack, *_ = build(schedule)
    x = torch.randn(40, 2, 4, dtype=F64).requires_grad_()
    leaves = [x, *stack.parameters()]
    whole, _ = stack(x)
    a, carry = stack(x[:15])
    b, carry = stack(x[15:], carry)
    assert distance(torch.cat([a, b]).detach(), whole.detach()) < 1e-13
    wanted = torch.autograd.grad(whole.square().sum(), leaves)
    for g, w in zip(torch.autograd.grad(torch.cat([a, b]).square().sum(), leaves), wanted, strict=True):
        assert distance(g, w) < 1e-11
    cut = no.detach_carry(carry)
    assert isinstance(cut, tuple)
    out, _ = stack(x[:5].detach(), cut)
    assert torch.autograd.grad(out.sum(), x, allow_unused=True) == (None,)


@BOTH
def test_lengths(schedule):
    stack, *_ = build(schedule)
    x = torch.randn(40, 2, 4, dtype=F64)
    x[25:, 1] = float("nan")
    out, carries = stack(x, lengths=torch.tensor([40, 25]))
    alone, ends = stack(x[:25, 1:])
    assert distance(out[:25, 1:].detach(), alone.detach()) < 1e-12
    assert not out[25:, 1].any()
    for c, e in zip(carries, ends, strict=True):
        assert all(distance(c[n][1:].detach(), e[n].detach()) < 1e-12 for n in e)


def test_stacks_in_stacks():
    stack, first, second = build()
    inner = no.nn.Stack(first, stack.layers[3])
    outer = no.nn.Stack(stack.layers[0], inner, second)
    x = torch.randn(40, 2, 4, dtype=F64)
    out, carries = outer(x)
    assert torch.equal(out, stack(x)[0])
    assert isinstance(carries[0], tuple)
    more, _ = outer(x, no.detach_carry(carries))
    assert torch.equal(more, stack(x, stack(x)[1])[0])


@pytest.mark.parametrize("carry", [(), (None,), (None, None, None)])
def test_another_number_of_carries_is_refused(carry):
    stack, *_ = build()
    with pytest.raises(no.RunError, match=f"2 layers with a carry, found {len(carry)}"):
        stack(torch.zeros(3, 1, 4, dtype=F64), carry)


def test_carries_in_another_order_are_refused():
    stack, *_ = build()
    x = torch.zeros(3, 1, 4, dtype=F64)
    _, (a, b) = stack(x)
    with pytest.raises(no.RunError, match="another model"):
        stack(x, (b, a))


def test_one_missing_carry_starts_afresh():
    stack, *_ = build()
    x = torch.randn(20, 1, 4, dtype=F64)
    _, (a, b) = stack(x)
    out, _ = stack(x, (a, None))
    assert not torch.equal(out, stack(x, (a, b))[0])


def test_only_output_fits_a_sequential():
    stack, first, second = build()
    net = torch.nn.Sequential(*stack.layers[:1], first.only_output, *stack.layers[2:4], second.only_output)
    x = torch.randn(40, 2, 4, dtype=F64)
    assert torch.equal(net(x), stack(x)[0])
    assert len(list(net.parameters())) == len(list(stack.parameters()))
    net(x).sum().backward()
    assert all(p.grad is not None for p in net.parameters())
    assert torch.equal(copy.deepcopy(net)(x), net(x))


def test_project_reaches_every_layer():
    lif = no.load("lif").replace(
        parameters={"tau": no.Parameter(2.0, domain="positive", transform="project", unit="ms")}
    )
    layers = [lif.torch(3) for _ in range(3)]
    stack = no.nn.Stack(layers[0], no.nn.Stack(torch.nn.Linear(3, 3), layers[1]), layers[2].only_output)
    with torch.no_grad():
        for layer in layers:
            layer.parameters_of_neuron.raw_tau -= 5
    stack.project()
    assert all((layer.tau > 0).all() for layer in layers)


def test_saving_and_moving():
    stack, *_ = build()
    x = torch.randn(10, 2, 4, dtype=F64)
    other, *_ = build()
    with torch.no_grad():
        for p in other.parameters():
            p.mul_(1.3)
    assert not torch.equal(other(x)[0], stack(x)[0])
    other.load_state_dict(stack.state_dict())
    assert torch.equal(other(x)[0], stack(x)[0])
    assert torch.equal(pickle.loads(pickle.dumps(stack))(x)[0], stack(x)[0])
    assert stack.float()(x.float())[0].dtype == torch.float32


def test_an_empty_stack():
    x = torch.zeros(3, 1, 4)
    out, carries = no.nn.Stack()(x)
    assert out is x
    assert carries == ()


def noisy(start: str = "0") -> no.Neuron:
    rows = {"inputs": {"I": "current"}, "states": {"v": start}, "outputs": "v", "dt": 0.1}
    return no.Neuron("walk", equations="dv = (I - v)*dt + dW", **rows)


def test_a_seed_gives_each_layer_numbers_of_its_own():
    inner = no.nn.Stack(noisy("normal(0, 1)").torch(2, dtype=F64))
    stack = no.nn.Stack(
        noisy().torch(2, dtype=F64), no.load("li").torch(2, dtype=F64), noisy().torch(2, dtype=F64), inner
    )
    x = torch.zeros(20, 3, 2, dtype=F64)
    out, carries = stack(x, seed=5)
    torch.manual_seed(1)
    assert torch.equal(out, stack(x, seed=5)[0])
    assert not torch.equal(out, stack(x, seed=6)[0])
    seeds = [int(c[NOISE_KEY][0, 0]) for c in (carries[0], carries[2], carries[3][0])]
    assert len(set(seeds)) == 3
    halves, half = [], None
    for part in (x[:9], x[9:]):
        y, half = stack(part, half, **({"seed": 5} if half is None else {}))
        halves.append(y)
    assert torch.allclose(torch.cat(halves), out, atol=1e-14)


def test_a_seed_that_no_layer_reads_is_refused():
    stack, *_ = build()
    with pytest.raises(no.RunError, match="no layer of this stack draws"):
        stack(torch.zeros(3, 2, 4, dtype=F64), seed=1)
    with pytest.raises(no.RunError, match="whole number from 0"):
        stack(torch.zeros(3, 2, 4, dtype=F64), seed=-1)
