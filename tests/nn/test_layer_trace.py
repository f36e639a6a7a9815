"""A trace holds every state by name, and equals the numpy simulation."""

from __future__ import annotations

import pytest
import torch
from oracles import INVENTED, ZOO, distance, drive, neuron, scatter

import neuroode as no

ALL = [*ZOO, *INVENTED]
F64 = torch.float64
NAMES = {
    "lif": ["v", "v.before", "s"],
    "brf": ["q", "u", "s", "p", "b"],
    "spiral": ["z", "z.before", "s", "x"],
    "two_inputs": ["a", "v", "v.before", "s"],
    "levels": ["v", "v.before", "q", "q.before", "up", "down", "burst", "graded", "s", "low"],
    "pair": ["u", "v", "s"],
    "li": ["v"],
}


def build(name, size=5, **options):
    torch.manual_seed(0)
    return scatter(neuron(name).torch(size, dtype=F64, **options))


def given(x):
    return x if len(x) > 1 else next(iter(x.values()))


#: what has axes of its own
AXES = {
    "drf": {"z": (4,)}, "mul_free_psn": {"q": (3,)}, "p_spikessm": {"x": (8,)}, "ltc": {"x": (2,), "f": (2,)},
    "cfc": {"x": (2,), "z": (2,), "f": (4, 2), "g": (2,)},
    "elm": {"m": (2,), "b": (2,), "d": (2,), "h": (4,), "y": (1,)},
}  # fmt: skip


@pytest.mark.parametrize("size", [5, (3, 5)])
@pytest.mark.parametrize("name", ALL)
def test_equals_the_simulation_and_the_run(name, size):
    layer = build(name, size)
    x = drive(layer, 30, 2)
    trace = layer.trace(given(x))
    inner = layer.parameters_of_neuron
    values = {p.name: inner.constrained(p).detach().numpy() for p in layer.neuron.spec.parameters}
    wanted = layer.neuron.simulate({n: v.numpy() for n, v in x.items()}, parameters=values)
    complex_states = {s.name for s in layer.neuron.spec.states if s.type == "complex"}
    assert (name in ("rf", "brf", "prf", "drf", "s5_rf", "spiral", "p_spikessm")) == bool(complex_states)
    assert set(trace) == set(wanted)
    for n, v in trace.items():
        axes = AXES[name].get(n, ()) if name in AXES else ()
        assert tuple(v.shape) == wanted[n].shape == (30, 2, *layer.size, *axes)
        assert v.is_complex() == (n.partition(".")[0] in complex_states)
        assert distance(v.detach(), wanted[n]) < 1e-11
    out, carry = layer(given(x))
    for n, v in (out if isinstance(out, dict) else {layer.program.outputs[0][0].partition("__")[0]: out}).items():
        assert distance(trace[n].detach(), v.detach()) < 1e-12
    for n, v in carry.items():
        if n in trace:
            assert distance(trace[n][-1].detach(), v.detach()) < 1e-12


@pytest.mark.parametrize("name", NAMES)
def test_names(name):
    assert sorted(build(name).trace(given(drive(build(name), 3, 1)))) == sorted(NAMES[name])


def test_before_and_after_a_reset():
    layer = build("lif")
    trace = layer.trace(drive(layer, 30, 2)["I"])
    assert trace["s"].any()
    assert torch.allclose(trace["v.before"] - trace["v"], trace["s"] * layer.v_th, atol=1e-12)
    assert torch.equal(trace["s"], (trace["v.before"] > layer.v_th).double())


def test_goes_on_from_a_carry_and_has_gradients():
    layer = build("pair")
    x = drive(layer, 30, 2)["I"].requires_grad_()
    whole = layer.trace(x)
    _, carry = layer(x[:12])
    rest = layer.trace(x[12:], carry)
    assert all(distance(rest[n].detach(), v[12:].detach()) < 1e-11 for n, v in whole.items())
    (g,) = torch.autograd.grad(whole["u"][-1].sum(), x)
    (wanted,) = torch.autograd.grad(layer(x)[1]["u"].sum(), x)
    assert distance(g, wanted) < 1e-11


@pytest.mark.parametrize("name", ["lif", "levels", "li", "brf"])
def test_after_the_end_of_a_sample_states_rest_and_signals_are_0(name):
    layer = build(name)
    x = drive(layer, 30, 3)["I"]
    lengths = torch.tensor([30, 11, 0])
    x[11:, 1] = float("nan")
    x[:, 2] = float("nan")
    trace = layer.trace(x, lengths=lengths)
    out, carry = layer(x, lengths=lengths)
    alone = layer.trace(x[:11, 1:2])
    signals = {e.name for e in layer.neuron.spec.events}
    for n, v in trace.items():
        assert v.isfinite().all()
        assert distance(v[:11, 1:2].detach(), alone[n].detach()) < 1e-12
        if n in signals:
            assert not v[11:, 1].any()
            assert not v[:, 2].any()
        elif n not in ("graded", "low"):
            assert (v[11:, 1] == v[10, 1]).all()
    for n, v in carry.items():
        if n in trace:
            assert distance(trace[n][-1].detach(), v.detach()) < 1e-12
    if not isinstance(out, dict) and layer.program.outputs[0][0] in signals:
        assert torch.equal(trace["s"], out)


@pytest.mark.parametrize("steps", [0, 1])
def test_short(steps):
    layer = build("spiral")
    trace = layer.trace(drive(layer, steps, 2)["I"])
    assert trace["z"].shape == (steps, 2, 5)
    assert trace["z"].is_complex()


@pytest.mark.parametrize("x", [{"J": [1.0]}, {}, {"I": [[[1.0]]], "J": [[[1.0]]]}])
def test_a_simulation_with_wrong_inputs_is_refused(x):
    with pytest.raises(no.RunError, match="inputs of 'lif' are I"):
        no.load("lif").simulate(x)


@pytest.mark.parametrize(("x", "message"), [
    (1.0, r"\(T, B"), ([1.0, 2.0], r"\(T, B"), ([[["a"]]], "numbers"), ([[1.0], [2.0, 3.0]], "numbers"),
    (None, r"\(T, B"),
])  # fmt: skip
def test_a_simulation_of_what_is_no_sequence_is_refused(x, message):
    with pytest.raises(no.RunError, match=message):
        no.load("lif").simulate(x)


def test_a_simulation_with_inputs_of_different_lengths_is_refused():
    x = torch.zeros(4, 1, 2).numpy()
    with pytest.raises(no.RunError, match="'K'"):
        neuron("two_inputs").simulate({"I": x, "K": x[:3]})


@pytest.mark.parametrize(("parameters", "message"), [
    ({"tua": 3}, "'tua' is not a parameter"), ({"tau": -1}, "not positive"), ({"tau": "x"}, "real numbers"),
    ({"tau": [1, 2, 3]}, r"shape \(2,\), found \(3,\)"),
])  # fmt: skip
def test_a_simulation_with_wrong_parameters_is_refused(parameters, message):
    with pytest.raises(no.NeuroodeError, match=message):
        no.load("lif").simulate(torch.zeros(4, 1, 2).numpy(), parameters=parameters)
