"""Axes beside everything else: recurrence, lengths, copies, other steps, written-out values, and scalar twins."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from line import check_line
from references import distance, neuron

import neuroode as no

F64 = torch.float64


def drive(*shape: int, scale: float = 1.0, offset: float = 0.0) -> np.ndarray:
    return offset + scale * np.random.default_rng(3).normal(size=shape)


ONE_BY_ONE = """
dt: 0.5
parameters:
  tau_0: {value: 2, domain: positive, per: neuron}
  tau_1: {value: 6, domain: positive, per: neuron}
  w_01: 0.4
  w_10: -0.3
  theta: {value: 0.6}
equations: |
  dv_0/dt = -v_0/tau_0 + w_01*v_1 + I
  dv_1/dt = -v_1/tau_1 + w_10*v_0 + 0.5*I
  a[t] = 0.8*a[t-1] + s
  soma = v_0 - 0.5*v_1[t-1]
spike: soma > theta + 0.2*a[t-1]
reset: v_0 -= theta; v_1 *= 0.5
outputs: s
"""

WITH_AXES = """
dt: 0.5
axes: {k: 2, l: k}
parameters:
  tau: {value: [2, 6], domain: positive, per: [neuron, k]}
  W: {value: [[0, 0.4], [-0.3, 0]], per: [k, l], trainable: false}
  g: {value: [1, 0.5], per: [k], trainable: false}
  theta: {value: 0.6}
equations: |
  dv[k]/dt = -v[k]/tau[k] + sum_l(W[k, l]*v[l]) + g[k]*I
  a[t] = 0.8*a[t-1] + s
  soma = v[0] - 0.5*v[1, t-1]
spike: soma > theta + 0.2*a[t-1]
reset: v[k] = where(k < 1, v[k] - theta, 0.5*v[k])
outputs: s
"""


@pytest.mark.parametrize("schedule", ["eager", "auto"])
def test_a_twin_without_axes(schedule: str) -> None:
    a, b = (neuron(t).torch(3, schedule=schedule, dtype=F64) for t in (ONE_BY_ONE, WITH_AXES))
    x = torch.tensor(drive(60, 2, 3, scale=0.8, offset=0.3))
    one, two = a.trace(x), b.trace(x)
    assert 0.02 < float(one["s"].detach().mean()) < 0.9
    assert torch.equal(one["s"], two["s"])
    assert distance(two["v"].detach(), torch.stack([one["v_0"], one["v_1"]], -1).detach()) <= 1e-13
    (a(x)[0].cos().sum() + a(x)[0].square().sum()).backward()
    (b(x)[0].cos().sum() + b(x)[0].square().sum()).backward()
    scalar = [a.parameters_of_neuron.raw_tau_0.grad, a.parameters_of_neuron.raw_tau_1.grad]
    assert distance(b.parameters_of_neuron.raw_tau.grad, torch.stack(scalar, -1)) <= 1e-11
    assert distance(b.parameters_of_neuron.raw_theta.grad, a.parameters_of_neuron.raw_theta.grad) <= 1e-11


def test_recurrence() -> None:
    check_line(no.load("drf"), drive(30, 2, 4, scale=30.0), 1.0, recurrent=True, standalone=False)
    n = neuron(WITH_AXES.replace("outputs: s", "outputs: v[k]"))
    with pytest.raises(no.Unsupported, match="recurrent"):
        n.torch(3, recurrent=True)


def test_lengths_freeze_every_element() -> None:
    for schedule in ("eager", "auto"):
        layer = neuron(WITH_AXES).torch(3, schedule=schedule, dtype=F64)
        x = torch.tensor(drive(12, 2, 3))
        _, carry = layer(x, lengths=torch.tensor([12, 5]))
        _, short = layer(x[:5])
        assert torch.equal(carry["v"][1], short["v"][1])
        assert carry["v"].shape == (2, 3, 2)


def test_a_layer_lives() -> None:
    layer = no.load("drf").torch(3, dtype=F64)
    x = torch.tensor(drive(20, 2, 3, scale=30.0))
    out, carry = layer(x)
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(other(x)[0], out)
        assert torch.equal(other(x[:5], carry)[0], layer(x[:5], carry)[0])
    fresh = no.load("drf").torch(3, dtype=F64)
    fresh.load_state_dict(layer.state_dict())
    assert torch.equal(fresh(x)[0], out)
    written = layer.to_neuron()
    assert torch.equal(written.torch(3, dtype=F64)(x)[0], out)
    half = layer.at_dt(0.5).trace(x)["z"]
    a = (layer.delta[:, None] * (-1 / layer.values["tau"] + 1j * layer.omega)).detach()
    first = torch.expm1(a * 0.5) / a * layer.delta.detach()[:, None] * x[0][..., None]
    assert distance(half[0].detach(), first) <= 1e-12


def test_writing_one_array() -> None:
    layer = no.load("drf").torch(3)
    layer.set(omega=[1.0, 2.0, 3.0, 4.0])  # over the axis, the same for every channel
    assert layer.omega.tolist() == [[1, 2, 3, 4]] * 3
    with pytest.raises(no.RunError, match=r"parameter 'omega' has shape \(3, 4\), found \(5,\)"):
        layer.set(omega=[1.0] * 5)


def test_a_wrong_input_says_which_axes_are_missing() -> None:
    n = no.Neuron(
        "n", axes={"k": 4}, inputs={"x": no.Input("current", axes=["k"])}, equations="h[k] = x[k]", outputs="h[k]"
    )
    with pytest.raises(no.RunError, match=r"input 'x' has shape \(5, 2, 3\), expected \(T, B, 3, 4\)"):
        n.torch(3)(torch.zeros(5, 2, 3))
    with pytest.raises(no.RunError, match=r"input 'x' has shape \(5, 2, 3\), expected \(T, B, \*size\*, 4\)"):
        n.simulate(np.zeros((5, 2, 3)))


def test_half_precision_and_empty_runs() -> None:
    n = no.Neuron(
        "n", axes={"k": 4}, inputs={"x": no.Input("current", axes=["k"])}, outputs="q[k]",
        equations="q[k, t] = 0.5*q[k, t-1] + x[k]",
    )  # fmt: skip
    layer = n.torch(3)
    out, carry = layer(torch.ones(5, 2, 3, 4, dtype=torch.float16))
    assert out.dtype == torch.float16
    assert carry["q"].dtype == torch.float32
    assert layer(torch.zeros(0, 2, 3, 4))[0].shape == (0, 2, 3, 4)
