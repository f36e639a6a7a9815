"""Recurrent layers against a loop written out: the plain layer, one step a call, driven by its last output."""

from __future__ import annotations

import pytest
import torch
from oracles import distance, drive, neuron, scatter

import neuroode as no

BOTH = pytest.mark.parametrize("schedule", ["auto", "eager"])
F64 = torch.float64
CASES = {
    "lif": ("lif", True, "I", "s"),
    "bias": ("lif", no.Recurrent(bias=True), "I", "s"),
    "no self connections": ("alif", no.Recurrent(self_connections=False, bias=True), "I", "s"),
    "orthogonal": ("brf", no.Recurrent(init="orthogonal"), "I", "s"),
    "graded": ("li", True, "I", "v"),
    "graded with bias": ("li", no.Recurrent(bias=True), "I", "v"),
    "impulse": ("cuba_lif", True, "I", "s"),
    "late reset": ("pair", {"I": "s"}, "I", "s"),
    "one of several, graded": ("levels", {"I": "graded"}, "I", "graded"),
    "one of several, more than a spike": ("levels", no.Recurrent(output="s", bias=True), "I", "s"),
    "one of several, spikes": ("levels", {"I": "low"}, "I", "low"),
    "complex": ("spiral", {"I": "s"}, "I", "s"),
    "second input": ("two_inputs", {"K": "s"}, "K", "s"),
    "first input, lagged": ("two_inputs", no.Recurrent(output="a", bias=True), "I", "a"),
}


def build(name, size=7, schedule="auto", recurrent=True, **options):
    torch.manual_seed(0)
    layer = scatter(neuron(name).torch(size, schedule=schedule, dtype=F64, recurrent=recurrent, **options))
    if layer.weights.bias is not None:
        torch.nn.init.normal_(layer.weights.bias, std=0.5)
    return layer


def given(x):
    return x if len(x) > 1 else next(iter(x.values()))


def as_dict(out, layer):
    return out if isinstance(out, dict) else {layer.program.outputs[0][0]: out}


def by_loop(layer, plain, x, target, source):
    """Outputs and the last carry of `plain`, whose input `target` gets W_rec times its own last `source`."""
    steps, batch = next(iter(x.values())).shape[:2]
    last, carry, rows = torch.zeros(batch, *layer.size, dtype=F64), None, []
    for t in range(steps):
        now = {n: v[t : t + 1] for n, v in x.items()}
        extra = torch.einsum("ij,bj->bi", layer.W_rec, last)
        bias = layer.weights.bias
        now[target] = now[target] + (extra if bias is None else extra + bias)
        out, carry = plain(given(now), carry)
        rows.append(as_dict(out, layer))
        last = rows[-1][source][0]
    return {n: torch.cat([r[n] for r in rows]) for n in rows[0]}, dict(carry) | {"last output": last}


@BOTH
@pytest.mark.parametrize(
    ("case", "size"), [*((c, 7) for c in CASES), ("bias", 1), ("bias", 70), ("graded with bias", 66)]
)
def test_equals_a_loop_written_out(case, size, schedule):
    name, recurrent, target, source = CASES[case]
    layer = build(name, size, schedule, recurrent)
    plain = neuron(name).torch(size, dtype=F64, schedule="eager")
    plain.parameters_of_neuron = layer.parameters_of_neuron
    x = {n: v.requires_grad_() for n, v in drive(layer, 25, 3).items()}
    leaves = [*x.values(), *layer.parameters()]
    out, carry = layer(given(x))
    wanted, end = by_loop(layer, plain, x, target, source)
    out = as_dict(out, layer)
    weights = {n: torch.randn_like(v) for n, v in {**wanted, **end}.items()}
    losses = [
        sum((weights[n] * v).sum() for group in pair for n, v in group.items())
        for pair in ((out, carry), (wanted, end))
    ]
    assert set(carry) == set(end)
    for found, right in ((out, wanted), (carry, end)):
        assert all(distance(found[n].detach(), right[n].detach()) < 1e-12 for n in right)
    grads = [torch.autograd.grad(loss, leaves) for loss in losses]
    for a, b in zip(*grads, strict=True):
        assert distance(a, b) < 1e-11
    if source == "s" and size > 1:
        assert 0.02 < out["s"].detach().count_nonzero() / out["s"].numel() < 0.98


@BOTH
@pytest.mark.parametrize("case", ["bias", "graded", "late reset"])
def test_pieces_equal_the_whole(case, schedule):
    layer = build(CASES[case][0], 7, schedule, CASES[case][1])
    x = drive(layer, 50, 3)["I"].requires_grad_()
    whole, last = layer(x)
    g = torch.randn_like(whole)
    wanted = torch.autograd.grad((whole * g).sum() + sum(v.sum() for v in last.values()), [x, *layer.parameters()])
    carry, pieces, start = None, [], 0
    for end in (1, 20, 20, 33, 50):
        out, carry = layer(x[start:end], carry)
        pieces.append(out)
        start = end
    out = torch.cat(pieces)
    assert distance(out.detach(), whole.detach()) < 1e-13
    grads = torch.autograd.grad((out * g).sum() + sum(v.sum() for v in carry.values()), [x, *layer.parameters()])
    for a, b in zip(grads, wanted, strict=True):
        assert distance(a, b) < 1e-11


@BOTH
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 1.0])
def test_rates(share, schedule):
    """From silence to every neuron in every step: sparse and dense paths agree with the loop."""
    layer = build("lif", 70, schedule, no.Recurrent(bias=True)).set(tau=0.2)  # hardly a memory: I > 1 spikes
    torch.nn.init.zeros_(layer.weights.bias)
    with torch.no_grad():
        layer.weights.weight *= 0.01
    x = torch.where(torch.rand(12, 3, 70, dtype=F64) < share, 5.0, 0.1).to(F64).requires_grad_()
    plain = neuron("lif").torch(70, dtype=F64, schedule="eager")
    plain.parameters_of_neuron = layer.parameters_of_neuron
    out, _ = layer(x)
    wanted, _ = by_loop(layer, plain, {"I": x}, "I", "s")
    assert torch.equal(out, wanted["s"])
    assert abs(float(out.detach().mean()) - share) < 0.05
    g = torch.randn_like(out)
    leaves = [x, *layer.parameters()]
    for a, b in zip(
        torch.autograd.grad((out * g).sum(), leaves), torch.autograd.grad((wanted["s"] * g).sum(), leaves), strict=True
    ):
        assert distance(a, b) < 1e-11


@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_threads_give_the_same_bits(dtype):
    layer = build("alif", 130, recurrent=no.Recurrent(bias=True)).to(dtype)
    x = drive(layer, 128, 16)["I"].requires_grad_()
    before, found = torch.get_num_threads(), []
    try:
        for n in (1, 2, 3):
            torch.set_num_threads(n)
            out, carry = layer(x)
            found.append([out, *carry.values(), *torch.autograd.grad(out.square().sum(), [x, *layer.parameters()])])
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(other, found[0], strict=True))


@BOTH
def test_w_rec(schedule):
    layer = build("lif", schedule=schedule)
    assert layer.W_rec.shape == (7, 7)
    assert layer.W_rec.requires_grad
    assert "weights.weight" in dict(layer.named_parameters())
    free = build("lif", schedule=schedule, recurrent=no.Recurrent(self_connections=False))
    assert not free.W_rec.diagonal().any()
    out, _ = free(drive(free, 40, 3)["I"])
    out.sum().backward()
    assert not free.weights.weight.grad.diagonal().any()
    assert free.weights.weight.grad.any()
    assert not neuron("lif").torch(7, recurrent=no.Recurrent(init="zeros")).W_rec.any()
    q = neuron("lif").torch(7, recurrent=no.Recurrent(init="orthogonal"), dtype=F64).W_rec
    assert torch.allclose(q @ q.T, torch.eye(7, dtype=F64), atol=1e-12)
    assert not hasattr(neuron("lif").torch(7), "W_rec")


@BOTH
@pytest.mark.parametrize("steps", [0, 1])
@pytest.mark.parametrize("batch", [0, 1])
def test_short_and_empty(steps, batch, schedule):
    layer = build("lif", schedule=schedule, recurrent=no.Recurrent(bias=True))
    x = drive(layer, steps, batch)["I"]
    out, carry = layer(x)
    assert out.shape == (steps, batch, 7)
    assert carry["last output"].shape == (batch, 7)
    (out.sum() + sum(v.sum() for v in carry.values()) + 0 * layer.W_rec.sum()).backward()
    assert not layer.weights.weight.grad.any()


@BOTH
def test_inputs_in_any_layout(schedule):
    layer = build("lif", 7, schedule)
    x = drive(layer, 30, 3)["I"]
    wanted = layer(x)[0]
    assert torch.equal(layer(x.transpose(0, 1).contiguous().transpose(0, 1))[0], wanted)
    assert torch.equal(layer(x.permute(2, 0, 1).contiguous().permute(1, 2, 0))[0], wanted)


def test_a_frozen_matrix_gets_no_gradient():
    layer = build("lif")
    layer.weights.requires_grad_(False)
    layer(drive(layer, 30, 3)["I"])[0].sum().backward()
    assert layer.weights.weight.grad is None
    assert layer.parameters_of_neuron.raw_tau.grad.any()


def test_carries_of_another_recurrence_are_refused():
    x = drive(build("levels", recurrent={"I": "s"}), 4, 2)["I"]
    _, carry = build("levels", recurrent={"I": "s"})(x)
    with pytest.raises(no.RunError, match="another model"):
        build("levels", recurrent={"I": "low"})(x, carry)


def test_a_trace_shows_the_recurrent_run():
    layer = build("alif")
    x = drive(layer, 40, 3)["I"]
    out, carry = layer(x)
    trace = layer.trace(x)
    assert torch.equal(trace["s"], out)
    assert distance(trace["v"][-1].detach(), carry["v"].detach()) < 1e-12


@pytest.mark.parametrize(("name", "size", "recurrent", "message"), [
    ("lif", (3, 5), True, r"one number.*\(3, 5\)"),
    ("levels", 5, True, r"single output.*graded, s, low"),
    ("lif", 5, {"K": "s"}, "inputs: I; outputs: s"),
    ("lif", 5, {"I": "v"}, "inputs: I; outputs: s"),
    ("lif", 5, no.Recurrent(init="eye"), "eye.*xavier_uniform"),
    ("lif", 5, {"I": "s", "K": "s"}, "recurrent is"),
    ("lif", 5, "yes", "write True"),
    ("lif", 5, 1, "write True"),
    ("lif", 5, {}, "write True"),
])  # fmt: skip
def test_a_recurrence_that_does_not_fit_is_refused(name, size, recurrent, message):
    with pytest.raises((no.Unsupported, no.RunError)) as caught:
        neuron(name).torch(size, recurrent=recurrent)
    assert __import__("re").search(message, str(caught.value), 16), caught.value


@pytest.mark.parametrize("recurrent", [None, False])
def test_none_and_false_mean_no_recurrence(recurrent):
    assert neuron("lif").torch(5, recurrent=recurrent).recurrent is None
