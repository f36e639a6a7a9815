"""Sums over the whole sequence (`tau: time`) against the same written with einsum and autograd; refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from line import check_standalone
from references import distance
from sequences import drive, rich

import neuroode as no
from neuroode.program.interpret import gradients, run
from neuroode.program.values import slots, tables
from neuroode.spec.read_yaml import read_text

F64 = torch.float64


def by_hand(p: dict[str, torch.Tensor], x: torch.Tensor, y: torch.Tensor) -> dict[str, torch.Tensor]:
    """x (T, B, C, M), y (T, B, C, M, 2); parameters in constrained form. V reads its channel, C and a their neuron."""
    n = len(x)
    at = torch.arange(n)
    mask = 0.3 * (at[:, None] <= at[None]).to(x) + 0.7
    w = p["W"][:n, :n] * mask - 0.1 * p["E"][None, :n]
    before = torch.cat([torch.zeros_like(x[:1]), x[:-1]])
    b = torch.tanh(x) + 0.5 * before + p["E"][:n, None, None, None]
    h = torch.einsum("st,sbcm->tbcm", w, b)
    weighted = torch.einsum("csi,sbcm->bcmi", p["G"][:, :n, None], h)[..., 0]  # the same for all t
    g = (torch.einsum("cskt,sbcmk->tbcm", p["V"][:, :n, :, :n], y) + p["a"] * weighted) / 2
    z = torch.einsum("cmst,sbcm->tbcm", p["C"][..., :n, :n], x.to(p["C"].dtype))
    v, rows = torch.zeros_like(x[0]), []
    for t in range(n):
        v = np.exp(-0.5 / 4) * v - 4 * np.expm1(-0.5 / 4) * (g[t] + z[t].real)
        s = (v > 0.3 + 0.1 * h[t]).to(v)
        rows.append({"v.before": v, "s": s})
        v = v - s * (0.3 + 0.1 * z[t].imag)
        rows[-1]["v"] = v
    return {k: torch.stack([r[k] for r in rows]) for k in rows[0]} | {"h": h}


def wanted(layer: Any, x: torch.Tensor, y: torch.Tensor) -> tuple[dict[str, torch.Tensor], list[Any]]:
    """Values by hand, and gradients of random cotangents in inputs and stored numbers."""
    inner = layer.parameters_of_neuron
    found = by_hand({p.name: inner.constrained(p) for p in inner.spec.parameters}, x, y)
    return found, _grads({n: found["v.before" if n == "v" else n] for n in ("v", "h")}, layer, x, y)


def _grads(out: dict[str, torch.Tensor], layer: Any, *inputs: torch.Tensor) -> list[Any]:
    random = torch.Generator().manual_seed(1)
    total = sum((out[n] * torch.randn(out[n].shape, generator=random, dtype=F64)).sum() for n in ("v", "h"))
    return [g.numpy() for g in torch.autograd.grad(total, [*inputs, *layer.parameters()])]


@pytest.mark.parametrize("steps", [12, 7])
@pytest.mark.parametrize("schedule", ["eager", "sequential"])
def test_torch_is_the_sum_by_hand(schedule: str, steps: int) -> None:
    torch.manual_seed(3)
    layer = rich().torch((3, 2), dtype=F64, schedule=schedule)
    x, y = drive(steps)
    values, grads = wanted(layer, x, y)
    out, _ = layer({"x": x, "y": y})
    assert 0.05 < out["s"].mean() < 0.6
    assert torch.equal(out["s"], values["s"])
    for name in ("v", "h"):
        trace = layer.trace({"x": x, "y": y})
        assert distance(trace[name].detach(), values[name].detach()) <= 1e-13
    for a, b in zip(_grads(out, layer, x, y), grads, strict=True):
        assert distance(a, b) <= 1e-11
    numbers = {n: v.detach().numpy() for n, v in layer.values.items()}
    found = rich().simulate({"x": x.detach().numpy(), "y": y.detach().numpy()}, parameters=numbers)
    assert distance(found["v"], values["v"].detach()) <= 1e-13


def test_the_interpreters_gradients_are_autograds() -> None:
    layer = rich().torch((3, 2), dtype=F64)
    x, y = drive()
    out, _ = layer({"x": x, "y": y})
    random = torch.Generator().manual_seed(1)
    seeds = {n: torch.randn(out[n].shape, generator=random, dtype=F64) for n in ("v", "h")}
    wanted = torch.autograd.grad(sum((out[n] * g).sum() for n, g in seeds.items()), [x, *layer.parameters()])
    spec, numbers = layer.neuron.spec, {n: v.detach().numpy() for n, v in layer.values.items()}
    parameters = slots(spec, numbers, (3, 2)) | {"dt": np.asarray(0.5)}
    inputs = {"x": x.detach().numpy()} | {f"y__{i}": y.detach().numpy()[..., i] for i in (0, 1)}
    result = run(layer.program, parameters, inputs | tables(spec, numbers, (3, 2), 12))
    found = gradients(layer.program, parameters, result, {n: g.numpy() for n, g in seeds.items()})
    by_name = dict(zip(["x", *dict(layer.named_parameters())], wanted, strict=True))
    assert distance(found.inputs["x"], by_name["x"]) <= 1e-12
    raw = {n: by_name[f"parameters_of_neuron.raw_{n}"].numpy() for n in ("W", "V", "C", "G", "E")}
    assert distance(found.inputs["W"][..., 0, 0], raw["W"]) <= 1e-12
    assert distance(found.inputs["E"][:, 0, 0, 0], raw["E"]) <= 1e-12
    assert distance(found.inputs["V__1"][..., 0], np.moveaxis(raw["V"][:, :, 1], 0, -1)) <= 1e-12
    assert distance(found.inputs["G"][..., 0], raw["G"].T) <= 1e-12
    assert distance(found.inputs["C.im"], np.moveaxis(raw["C"][..., 1], (0, 1), (2, 3))) <= 1e-12


@pytest.mark.parametrize("schedule", ["eager", "sequential"])
def test_padding_does_not_enter(schedule: str) -> None:
    layer = rich().torch((3, 2), dtype=F64, schedule=schedule)
    x, y = drive()
    padded = [v.detach().clone() for v in (x, y)]
    for v in padded:
        v[5:, 1], v[:, 0] = torch.nan, v[:, 0]
        v.requires_grad_()
    out, _ = layer(dict(zip("xy", padded, strict=True)), lengths=torch.tensor([12, 5]))
    whole, _ = layer({"x": x[:, :1], "y": y[:, :1]})
    short, _ = layer({"x": x[:5, 1:], "y": y[:5, 1:]})
    for name in ("v", "h"):
        assert distance(out[name][:, 0].detach(), whole[name][:, 0].detach()) <= 1e-13
        assert distance(out[name][:5, 1].detach(), short[name][:, 0].detach()) <= 1e-13
        assert (out[name][5:, 1] == 0).all()
    grads = torch.autograd.grad(out["v"].sum() + out["h"].sum(), [*padded, *layer.parameters()])
    assert all(g.isfinite().all() for g in grads)
    assert (grads[0][5:, 1] == 0).all()


def test_units_are_those_of_the_product() -> None:
    text = """
neuron: dim
dt: 1 ms
horizon: 5
axes: {tau: time}
inputs: {x: {kind: current, unit: nA}}
parameters: {W: {init: "0.1*tau*1 MOhm", per: [tau, time], unit: MOhm}, B: 2 mV}
equations: h = sum_tau(W[tau, t]*x[tau])
spike: h > B
outputs: {y: h/(1 mV), s: s}
"""
    neuron = no.Neuron.from_spec(read_text(text))
    x = np.random.default_rng(0).normal(1, 3, (5, 2, 3))
    found = neuron.simulate(x)
    wanted = np.einsum("s,sbn->bn", 0.1 * np.arange(5), x) + np.zeros((5, 2, 3))
    assert distance(found["y"], wanted) <= 1e-13
    assert np.array_equal(found["s"], wanted > 2)
    assert np.array_equal(neuron.torch(3, dtype=F64)(torch.tensor(x))[0]["s"].detach().numpy(), wanted > 2)


def test_emitted_files_hold_the_sums() -> None:
    check_standalone(rich(), 0.5)
    with pytest.raises(no.Unsupported, match="'rich' sums over the whole sequence, but c code runs step by step"):
        rich().emit("c")


def test_the_plan_says_it() -> None:
    rows = {r.states: r for r in rich().program().plan.rows}
    assert rows["sum_tau",].schedule == "one matrix product"
    assert "not causal" in rows["sum_tau",].reason


def test_the_length_of_the_axis_is_chosen_where_a_layer_is_built() -> None:
    neuron = no.load("psn")
    assert neuron.torch(3, axes={"tau": 50}).W.shape == (50, 50)
    assert neuron.with_axes({"tau": 5}).simulate(np.ones((5, 1, 2)))["h"].shape == (5, 1, 2)
    with pytest.raises(no.RunError, match="is not a whole number of at least 1"):
        neuron.torch(3, axes={"tau": 0})
    two = neuron.replace(axes={"tau": "time"}).add(axes={"rho": "time"}, equations="g = sum_rho(x[rho])", outputs="g*s")
    with pytest.raises(no.RunError, match=r"axes over the whole sequence have one length, found \[3, 4\]"):
        two.torch(3, axes={"tau": 3, "rho": 4})


def test_calls_stand_alone_and_end_at_the_horizon() -> None:
    layer = rich().torch((3, 2), dtype=F64)
    x, y = drive()
    _, carry = layer({"x": x, "y": y})
    with pytest.raises(no.RunError, match=r"'rich' sums over the whole sequence, so a call cannot go on from a carry"):
        layer({"x": x, "y": y}, carry)
    with pytest.raises(no.RunError, match="the run reaches step 13, beyond the horizon 12"):
        layer({"x": torch.cat([x, x[:1]]), "y": torch.cat([y, y[:1]])})
    with pytest.raises(no.Unsupported, match="sums 'x' over the whole sequence, before recurrent weights add to it"):
        rich().torch(4, recurrent={"x": "s"})


BASE = """
neuron: x
horizon: 6
axes: {{tau: time, rho: tau}}
parameters: {{W: {{value: 1, per: [tau, time]}}, U: {{value: 1, per: [rho, tau]}}}}
equations: |
  {equation}
  q[t] = 0.5*q[t-1] + I + sum_tau(W[tau, t]*I[tau])
outputs: {{y: "{output}"}}
"""


@pytest.mark.parametrize(
    ("equation", "output", "match"),
    [
        (
            "h = sum_tau(tanh(W[tau, t]*I[tau]))",
            "h",
            r"'tanh\(W\[tau, t\]\*I\[tau\]\)' in .* mixes step tau, step t and",
        ),
        ("h = sum_tau(W[tau, t]*sum_rho(U[rho, tau]*I[rho]))", "h", "sums over rho and tau at once"),
        ("h = mean_tau(W[tau, t]*I[tau])", "h", "a mean over the sequence has no fixed divisor"),
        ("h = sum_tau(W[tau, t]*exp(tau - t)*I[tau])", "h", "the running time t"),
        (
            "h[tau] = I[tau]; g = sum_tau(h[tau])",
            "g",
            "equations, inputs and events along a whole-sequence axis",
        ),
        ("h = sum_tau(W[tau, t]*I[tau])", "h*I[tau]", r"'I\[tau\]' is read over the whole sequence outside of a sum"),
    ],
)
def test_refusals(equation: str, output: str, match: str) -> None:
    text = BASE.format(equation=equation, output=output)
    if "U[" not in equation:
        text = text.replace(", U: {value: 1, per: [rho, tau]}", "")
    with pytest.raises(no.Unsupported, match=match):
        no.Neuron.from_spec(read_text(text)).program()


def test_a_definition_that_reads_a_state_is_not_known_for_the_whole_sequence() -> None:
    text = BASE.format(equation="c = 2*d; d = q[t-1]; h = sum_tau(W[tau, t]*c[tau])", output="h")
    with pytest.raises(no.SpecError, match="c is a definition that reads q and not known for the whole sequence"):
        read_text(text.replace(", U: {value: 1, per: [rho, tau]}", ""))
