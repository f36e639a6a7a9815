"""Runs in pieces equal one run; a carry that does not fit is refused."""

from __future__ import annotations

import pytest
import torch
from oracles import GRADIENT, INVENTED, ZOO, distance, drive, neuron, scatter

import neuroode as no

ALL = [*ZOO, *INVENTED]
BOTH = pytest.mark.parametrize("schedule", ["auto", "eager"])
F64 = torch.float64


def build(name, size=5, schedule="auto", **options):
    torch.manual_seed(0)
    return scatter(neuron(name).torch(size, schedule=schedule, dtype=F64, **options))


def given(x):
    return x if len(x) > 1 else next(iter(x.values()))


def as_dict(out):
    return out if isinstance(out, dict) else {"out": out}


@BOTH
@pytest.mark.parametrize("name", ALL)
def test_pieces_equal_the_whole(name, schedule):
    layer = build(name, schedule=schedule)
    x = {n: v.requires_grad_() for n, v in drive(layer, 50, 3).items()}
    leaves = [*x.values(), *layer.parameters()]
    whole, last = layer(given(x))
    weight = {n: torch.randn_like(v) for n, v in as_dict(whole).items()}
    loss = sum((weight[n] * v).sum() for n, v in as_dict(whole).items()) + sum(v.square().sum() for v in last.values())
    wanted = torch.autograd.grad(loss, leaves)

    carry, pieces, start = None, [], 0
    for end in (0, 1, 20, 20, 33, 50):
        out, carry = layer(given({n: v[start:end] for n, v in x.items()}), carry)
        pieces.append(as_dict(out))
        start = end
    found = {n: torch.cat([p[n] for p in pieces]) for n in weight}
    assert all(torch.equal(found[n], v) for n, v in as_dict(whole).items())
    assert all(torch.equal(carry[n], last[n]) for n in last)
    loss = sum((weight[n] * v).sum() for n, v in found.items()) + sum(v.square().sum() for v in carry.values())
    for a, b in zip(torch.autograd.grad(loss, leaves), wanted, strict=True):
        assert distance(a, b) < GRADIENT.get(name, 1e-12)


@BOTH
@pytest.mark.parametrize("name", ALL)
def test_a_carry_of_init_equals_none(name, schedule):
    layer = build(name, schedule=schedule)
    x = given(drive(layer, 10, 3))
    start = layer.init_carry(3)
    out, after = layer(x, start)
    fresh, last = layer(x)
    assert all(torch.equal(a, b) for a, b in zip(as_dict(out).values(), as_dict(fresh).values(), strict=True))
    assert all(torch.equal(after[n], last[n]) for n in last)
    assert list(start) == list(after)
    assert all(start[n].shape[:2] == (3, 5) and start[n].dtype == F64 for n in start)


@BOTH
def test_a_carry_of_one_schedule_serves_the_other(schedule):
    layer = build("two_inputs", schedule=schedule)
    other = build("two_inputs", schedule="eager" if schedule == "auto" else "auto")
    other.load_state_dict(layer.state_dict())
    x = drive(layer, 10, 3)
    _, carry = layer(x)
    assert distance(other(x, carry)[0]["a"].detach(), layer(x, carry)[0]["a"].detach()) < 1e-12


@BOTH
def test_detach_carry(schedule):
    layer = build("alif", schedule=schedule)
    x = drive(layer, 20, 3)["I"].requires_grad_()
    _, carry = layer(x)
    cut = no.detach_carry(carry)
    assert all(torch.equal(cut[n], carry[n]) and not cut[n].requires_grad for n in carry)
    assert all(v.requires_grad for v in carry.values())
    y = drive(layer, 20, 3, seed=1)["I"]
    out, _ = layer(y, cut)
    assert torch.autograd.grad(out.sum(), x, allow_unused=True) == (None,)
    assert no.detach_carry(None) is None
    assert all(not v.requires_grad for c in no.detach_carry((carry, carry)) for v in c.values())


@BOTH
def test_a_carry_is_not_changed_by_a_call(schedule):
    layer = build("pair", schedule=schedule)
    x = drive(layer, 20, 3)["I"]
    _, carry = layer(x)
    before = {n: v.clone() for n, v in carry.items()}
    kept = x.clone()
    layer(x, carry)
    assert torch.equal(x, kept)
    assert all(torch.equal(carry[n], before[n]) for n in carry)


def test_a_carry_is_a_frozen_mapping():
    carry = build("brf").init_carry(2)
    assert sorted(carry) == ["q", "u.im", "u.re"]
    assert len(carry) == 3
    assert dict(carry)["q"].shape == (2, 5)
    assert "u.re: (2, 5)" in repr(carry)
    with pytest.raises(TypeError):
        carry["q"] = torch.zeros(2, 5)
    with pytest.raises(KeyError):
        carry["nothing"]


@BOTH
def test_a_trained_init_gets_its_gradient(schedule):
    layer = build("two_inputs", schedule=schedule)
    x = drive(layer, 3, 2)
    raw = layer.parameters_of_neuron.raw_v_0

    def loss():
        out, carry = layer(x)
        return out["a"].sum() + carry["v"].sum()

    with torch.no_grad():
        for r in layer.parameters():  # no spike near: then the run is smooth and differences are gradients
            r.clamp_(-5, 5)
    (found,) = torch.autograd.grad(loss(), raw)
    assert found.abs().min() > 1e-3
    start = layer.init_carry(2)
    (through,) = torch.autograd.grad(start["v"].sum() + start["a"].sum(), raw)
    assert torch.allclose(through, torch.full_like(raw, 2 * 3.0))  # two samples; v starts at v_0, a at 2 v_0


BAD = {
    "another model": (lambda layer: build("alif").init_carry(3), "another model"),
    "a dict": (lambda layer: dict(layer.init_carry(3)), "a dict"),
    "a tensor": (lambda layer: torch.zeros(3, 5), "a Tensor"),
    "a tuple": (lambda layer: (layer.init_carry(3),), "a tuple"),
    "another batch": (lambda layer: layer.init_carry(2), r"\(2, 5\).*expected \(3, 5\)"),
    "another size": (lambda layer: build("lif", 6).init_carry(3), r"\(3, 6\).*expected \(3, 5\)"),
    "another dtype": (lambda layer: build("lif").float().init_carry(3), "float32.*float64"),
    "a recurrent layer's": (lambda layer: build("lif", recurrent=True).init_carry(3), "another model"),
    "another device": (lambda layer: build("lif").to("meta").init_carry(3), "meta"),
}


@BOTH
@pytest.mark.parametrize("case", BAD)
def test_a_carry_that_does_not_fit_is_refused(case, schedule):
    layer = build("lif", schedule=schedule)
    make, message = BAD[case]
    with pytest.raises(no.RunError, match=message) as caught:
        layer(drive(layer, 4, 3)["I"], make(layer))
    assert "hint: " in str(caught.value)


def test_the_carry_of_a_plain_layer_does_not_fit_a_recurrent_one():
    layer = build("lif", recurrent=True)
    with pytest.raises(no.RunError, match="another model"):
        layer(drive(layer, 4, 3)["I"], build("lif").init_carry(3))


@pytest.mark.parametrize("batch", [-1, 1.5, "3", None])
def test_a_batch_that_is_no_number_is_refused(batch):
    with pytest.raises(no.RunError, match="batch"):
        build("lif").init_carry(batch)
