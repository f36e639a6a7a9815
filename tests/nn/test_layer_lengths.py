"""Samples of different length in one batch equal each sample alone."""

from __future__ import annotations

import pytest
import torch
from oracles import GRADIENT, INVENTED, ZOO, distance, drive, neuron, scatter

import neuroode as no

ALL = [*ZOO, *INVENTED]
BOTH = pytest.mark.parametrize("schedule", ["auto", "eager"])
F64 = torch.float64
STEPS = torch.tensor([40, 0, 1, 33, 17])


def build(name, size=5, schedule="auto", **options):
    torch.manual_seed(0)
    return scatter(neuron(name).torch(size, schedule=schedule, dtype=F64, **options))


def given(x):
    return x if len(x) > 1 else next(iter(x.values()))


def as_dict(out):
    return out if isinstance(out, dict) else {"out": out}


def loss_of(out, carry, weights):
    ends = zip(carry.values(), weights["carry"], strict=True)
    return sum((weights[n] * v).sum() for n, v in as_dict(out).items()) + sum((w * v).sum() for v, w in ends)


@BOTH
@pytest.mark.parametrize(("name", "size", "recurrent"), [(n, 5, False) for n in ALL] + [
    ("alif", 130, False), ("channels", (3, 5), False), ("lif", 5, True), ("pair", 70, True),
])  # fmt: skip
def test_equal_to_each_sample_alone(name, size, recurrent, schedule):
    layer = build(name, size, schedule, **({"recurrent": True} if recurrent else {}))
    x = {n: v.requires_grad_() for n, v in drive(layer, 40, 5).items()}
    stored = list(layer.parameters())
    out, carry = layer(given(x), lengths=STEPS)
    weights = {n: torch.randn_like(v) for n, v in as_dict(out).items()}
    weights["carry"] = [torch.randn_like(v) for v in carry.values()]
    found = torch.autograd.grad(loss_of(out, carry, weights), [*x.values(), *stored])
    totals = [torch.zeros_like(p) for p in stored]
    for b, n in enumerate(STEPS.tolist()):
        one = {k: v.detach()[:n, b : b + 1].requires_grad_() for k, v in x.items()}
        alone, end = layer(given(one))
        for k, v in as_dict(alone).items():
            whole = as_dict(out)[k]
            assert distance(whole.detach()[:n, b : b + 1], v.detach()) < 1e-12
            assert not whole[n:, b].any()
        assert all(distance(carry[k].detach()[b : b + 1], end[k].detach()) < 1e-12 for k in end)
        part = {k: w[:n, b : b + 1] for k, w in weights.items() if k != "carry"}
        part["carry"] = [w[b : b + 1] for w in weights["carry"]]
        loss = loss_of(alone, end, part) + sum(0 * p.sum() for p in stored)
        grads = torch.autograd.grad(loss, [*one.values(), *stored], allow_unused=True)
        for whole, g in zip(found, grads[: len(one)], strict=False):
            assert g is None or distance(whole[:n, b : b + 1], g) < 1e-11
            assert not whole[n:, b].any()
        totals = [t + g for t, g in zip(totals, grads[len(one) :], strict=True)]
    for a, b in zip(found[len(x) :], totals, strict=True):
        assert distance(a, b) < GRADIENT.get(name, 1e-11)


@BOTH
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1e300])
@pytest.mark.parametrize(("name", "recurrent"), [("alif", False), ("brf", False), ("two_inputs", False), ("lif", True)])
def test_what_stands_in_the_padding_does_no_harm(name, recurrent, bad, schedule):
    layer = build(name, 7, schedule, **({"recurrent": True} if recurrent else {}))
    clean = drive(layer, 40, 5)
    after = torch.arange(40)[:, None] >= STEPS
    dirty = {n: torch.where(after[..., None], torch.tensor(bad, dtype=F64), v) for n, v in clean.items()}
    results = []
    for x in (clean, dirty):
        x = {n: v.requires_grad_() for n, v in x.items()}
        out, carry = layer(given(x), lengths=STEPS)
        loss = sum(v.square().sum() for v in [*as_dict(out).values(), *carry.values()])
        grads = torch.autograd.grad(loss, [*x.values(), *layer.parameters()])
        results.append([*as_dict(out).values(), *carry.values(), *grads])
    for a, b in zip(*results, strict=True):
        assert torch.isfinite(a).all()
        assert torch.equal(a, b)


@BOTH
def test_cotangents_of_padded_outputs_are_ignored(schedule):
    layer = build("li", schedule=schedule)
    x = drive(layer, 40, 5)["I"].requires_grad_()
    out, _ = layer(x, lengths=STEPS)
    g = torch.where(torch.arange(40)[:, None, None] >= STEPS[:, None], torch.tensor(1e9, dtype=F64), 1.0).expand(
        40, 5, 5
    )
    (found,) = torch.autograd.grad(out, x, g)
    out, _ = layer(x, lengths=STEPS)
    (wanted,) = torch.autograd.grad(out, x, torch.ones_like(out))
    assert torch.equal(found, wanted)


@BOTH
def test_full_lengths_equal_none(schedule):
    layer = build("levels", 7, schedule)
    x = drive(layer, 40, 5)["I"]
    out, carry = layer(x, lengths=torch.full((5,), 40))
    plain, last = layer(x)
    assert all(torch.equal(out[n], plain[n]) for n in plain)
    assert all(torch.equal(carry[n], last[n]) for n in last)


@BOTH
@pytest.mark.parametrize("dtype", [torch.int32, torch.int64, torch.uint8])
def test_whole_numbers_of_any_type_and_lists(dtype, schedule):
    layer = build("alif", schedule=schedule)
    x = drive(layer, 40, 5)["I"]
    wanted = layer(x, lengths=STEPS)[0]
    assert torch.equal(layer(x, lengths=STEPS.to(dtype))[0], wanted)
    assert torch.equal(layer(x, lengths=STEPS.tolist())[0], wanted)
    wide = torch.stack([STEPS, STEPS], 1)[:, 0]
    assert not wide.is_contiguous()
    assert torch.equal(layer(x, lengths=wide)[0], wanted)


@BOTH
def test_a_run_goes_on_from_each_sample_s_last_step(schedule):
    layer = build("pair", schedule=schedule)
    x = drive(layer, 40, 5)["I"]
    _, carry = layer(x, lengths=STEPS)
    more = drive(layer, 10, 5, seed=3)["I"]
    out, _ = layer(more, carry)
    for b, n in enumerate(STEPS.tolist()):
        whole, _ = layer(torch.cat([x[:n, b : b + 1], more[:, b : b + 1]]))
        assert distance(out[:, b : b + 1].detach(), whole[n:].detach()) < 1e-12


@pytest.mark.parametrize(("lengths", "message"), [
    (torch.tensor([1, 2, 3]), r"\(3,\).*\(5,\)"),
    (torch.tensor([1.0, 2, 3, 4, 5]), "float32.*whole numbers"),
    (torch.tensor([[1], [2], [3], [4], [5]]), r"\(5, 1\)"),
    (torch.tensor([1, 2, 3, 4, 41]), "41.*0 to 40"),
    (torch.tensor([1, 2, 3, 4, -1]), "-1.*0 to 40"),
    (torch.tensor([True, True, False, True, True]), "bool"),
    (torch.tensor(3), r"\(\)"),
    ("long", "lengths"),
    (3, "lengths"),
])  # fmt: skip
def test_wrong_lengths_are_refused(lengths, message):
    layer = build("lif")
    with pytest.raises(no.RunError, match=message):
        layer(drive(layer, 40, 5)["I"], lengths=lengths)
