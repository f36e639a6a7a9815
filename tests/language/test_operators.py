"""Functions across the neurons of a layer: external modules and learned matrices."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from references import distance, neuron, slope
from timing_cases import DT, RNG, A, G

import neuroode as no
from neuroode import RunError, SpecError, Unsupported

F64 = torch.float64
NET = """
operators: {W: dense, f: external}
parameters: {tau: {value: 4, domain: positive, per: neuron}}
equations: |
  dv/dt = (-v + I + W(s[t-1]) - 0.5*q[t-1])/tau
  q[t] = 0.5*q[t-1] + f(v - 0.1*q[t-1])
spike: v > 0.3
reset: v -= 0.3
outputs: {s: s, q: q}
"""
X = RNG.normal(0.3, 1, (20, 2, 3))
W = RNG.normal(0, 0.5, (3, 3))


def mix(x):
    """Each neuron sees the mean of the others."""
    return (x.sum(-1, keepdims=True) - x) / 2


def loop() -> dict[str, np.ndarray]:
    v = q = s = np.zeros((2, 3))
    rows = []
    for x in X:
        old = q
        h = A * v + G * (x + s @ W.T - 0.5 * old)
        q = 0.5 * old + mix(h - 0.1 * old)
        s = (h > 0.3) * 1.0
        v = h - 0.3 * s
        rows.append((v, q, s))
    return dict(zip("vqs", map(np.stack, zip(*rows, strict=True)), strict=True))


def made() -> no.Neuron:
    return neuron(NET)


def test_the_interpreter_and_the_layer_follow_the_loop() -> None:
    n, wanted = made(), loop()
    found = n.simulate(X, DT, operators={"W": W, "f": mix})
    layer = n.torch(3, DT, dtype=F64, operators={"f": mix}).set(W=W, tau=4.0)
    traced = layer.trace(torch.tensor(X))
    out, carry = layer(torch.tensor(X))
    for key, value in wanted.items():
        assert distance(found[key], value) <= 1e-12
        assert distance(traced[key].detach(), value) <= 1e-12
    assert distance(out["q"].detach(), wanted["q"]) <= 1e-12
    first, middle = layer(torch.tensor(X[:7]))
    second, last = layer(torch.tensor(X[7:]), middle)
    assert torch.equal(torch.cat([first["q"], second["q"]]), out["q"])
    assert all(torch.equal(carry[k], last[k]) for k in carry)
    assert layer.program.plan.rows[0].schedule == "eager"


def test_gradients_pass_through_operators() -> None:
    """Against differences, of a smooth neuron."""
    n = neuron("operators: {W: dense, f: external}\nmethod: euler\nequations: dv/dt = -v + W(tanh(v)) + f(I)\n")
    net = torch.nn.Linear(3, 3, dtype=F64)
    layer = n.torch(3, DT, dtype=F64, operators={"f": net}).set(W=W)
    x = torch.tensor(X, requires_grad=True)
    assert {p for _, p in layer.named_parameters()} == {*net.parameters(), layer.values["W"]}
    layer(x)[0].square().sum().backward()

    def numpy_net(z: np.ndarray) -> np.ndarray:
        return z @ net.weight.detach().numpy().T + net.bias.detach().numpy()

    def total(h: float) -> np.ndarray:
        moved = W.copy()
        moved[0, 1] += h
        return np.square(n.simulate(X, DT, operators={"W": moved, "f": numpy_net})["v"]).sum()

    def total_of_input(h: float) -> np.ndarray:
        moved = X.copy()
        moved[3, 1, 2] += h
        return np.square(n.simulate(moved, DT, operators={"W": W, "f": numpy_net})["v"]).sum()

    assert abs(layer.values["W"].grad[0, 1] - slope(total, 0.0)) <= 1e-7 * abs(slope(total, 0.0))
    assert abs(x.grad[3, 1, 2] - slope(total_of_input, 0.0)) <= 1e-7 * abs(slope(total_of_input, 0.0))


def test_a_dense_matrix_is_a_parameter_of_the_layer() -> None:
    n = neuron("operators: {W: dense}\nequations: v[t] = 0.5*v[t-1] + W(I)\n")
    torch.manual_seed(0)
    layer = n.torch((2, 3), DT)
    assert layer.values["W"].shape == (6, 6)
    assert layer.values["W"].detach().abs().max() <= 0.5**0.5
    assert list(layer.values) == ["W"]
    assert list(layer.state_dict()) == ["operators_of_neuron.dense_W"]
    other = copy.deepcopy(layer)
    x = torch.randn(4, 2, 2, 3)
    assert torch.equal(layer(x)[0], other(x)[0])
    with pytest.raises(RunError, match=r"operator 'W' is \(2, 2\), expected \(6, 6\)"):
        layer.set(W=torch.zeros(2, 2))
    with pytest.raises(Unsupported, match="no place for the matrix"):
        layer.to_neuron()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, r"no operator 'f': 'made_up' calls it as a function\nhint: write operators=\{'f': f\}"),
        ({"f": 3}, "operator 'f' is a int"),
        ({"f": mix, "g": mix}, "operators names 'g'; external operators of 'made_up': f"),
        ({"f": mix, "W": mix}, "operators names 'W'; external operators"),
    ],
)
def test_wrong_operators(given: object, message: str) -> None:
    with pytest.raises(RunError, match=message):
        made().torch(3, DT, operators=given)


def test_wrong_uses() -> None:
    n = made()
    with pytest.raises(Unsupported, match=r"runs each neuron by itself, but operators mix them \(W, f\)"):
        n.torch(3, DT, schedule="sequential", operators={"f": mix})
    for target in ("torch", "c", "jax"):
        with pytest.raises(Unsupported, match="not of an emitted file"):
            n.emit(target, DT)
    layer = n.torch(3, DT, operators={"f": lambda x: x.sum(-1)})
    with pytest.raises(RunError, match=r"operator 'f' gave \(2,\) for \(2, 3\)"):
        layer(torch.randn(2, 2, 3))
    with pytest.raises(SpecError, match="impulse x does not enter the equation of v as coefficient"):
        neuron("inputs: {x: impulse}\noperators: {W: dense}\nequations: dv/dt = -v + W(x)\n")
    with pytest.raises(no.NeuroodeError, match="impulse 'x' does not enter"):
        neuron("inputs: {x: impulse}\noperators: {W: dense}\nequations: |\n  h = W(x)\n  dv/dt = -v + h\n").program(DT)
    with pytest.raises(Unsupported, match="differs from neuron to neuron or in time"):
        neuron("operators: {W: dense}\nequations: |\n  U = W(q)^2\n  dq/dt = -grad(U, q) + I\n").program(DT)


def test_the_diagram_names_them() -> None:
    from neuroode.cli.timing import render, timing

    text = render(timing(made().spec))
    assert "operator W: a learned N x N matrix of the layer" in text
    assert "operator f: given to the layer, called once a step" in text
