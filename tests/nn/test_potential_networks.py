"""Potentials with a network: forces by its gradient, in torch, JAX and numpy, trained through the layer."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import neuroode as no
from neuroode.spec.read_yaml import read_text

F64 = torch.float64
TEXT = """
neuron: learned
dt: 0.1
inputs: {{I: current}}
operators: {{net: {kind}}}
parameters:
  gamma: {{value: 1, domain: positive}}
  c: {{value: 0.7, per: {per}}}
equations: |
  U = c*net(2*q) + q^2/2
  dq = p*dt
  dp = (-grad(U, q) - gamma*p + I)*dt + dW
outputs: {{q: q, p: p}}
"""


class Energy(torch.nn.Module):
    """An energy of the whole layer, shared out over its neurons."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.inner, self.outer = torch.nn.Linear(3, 5).to(F64), torch.nn.Linear(5, 1).to(F64)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.outer(torch.tanh(self.inner(x))).expand_as(x) / 3

    def numpy_gradient(self, x: np.ndarray) -> np.ndarray:
        """By hand: W' (v (1 - tanh^2))."""
        W, b, v = (p.detach().numpy() for p in (self.inner.weight, self.inner.bias, self.outer.weight))
        return ((1 - np.tanh(x @ W.T + b) ** 2) * v) @ W


def learned(kind: str = "external", per: str = "layer") -> no.Neuron:
    return no.Neuron.from_spec(read_text(TEXT.format(kind=kind, per=per)))


@pytest.mark.parametrize("method", ["auto", "obabo", "euler_maruyama"])
def test_forces_are_gradients_of_the_network(method: str) -> None:
    net = Energy()
    layer = learned().torch(3, dtype=F64, method=method, operators={"net": net})
    x = torch.randn(30, 2, 3, dtype=F64)
    found, _ = layer(x, seed=5)
    given = {"net": lambda q: net(torch.tensor(q)).detach().numpy(), "grad net": net.numpy_gradient}
    rows = learned().simulate(x.numpy(), seed=5, method=method, operators=given)
    np.testing.assert_allclose(found["q"].detach(), rows["q"], atol=1e-12)
    with torch.no_grad():
        torch.testing.assert_close(layer(x, seed=5)[0]["p"], found["p"], atol=1e-14, rtol=0)
    assert learned().discretize(method=method).updates[0].method == ("baoab" if method == "auto" else method)


def test_the_network_is_trained_through_the_layer() -> None:
    net = Energy()
    layer = learned().torch(3, dtype=F64, operators={"net": net})
    x = torch.randn(12, 2, 3, dtype=F64, requires_grad=True)
    layer(x, seed=2)[0]["q"].pow(2).sum().backward()
    for p in (net.inner.weight, net.inner.bias, net.outer.weight, *layer.parameters()):
        if p.grad is None:  # the outer bias does not change a force
            continue
        values = []
        for h in (1e-6, -1e-6):
            with torch.no_grad():
                p.view(-1)[0] += h
                values.append(layer(x, seed=2)[0]["q"].pow(2).sum().item())
                p.view(-1)[0] -= h
        assert p.grad.view(-1)[0].item() == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-5, abs=1e-8)
    assert net.inner.weight.grad.abs().sum() > 0


def test_a_dense_operator_has_a_gradient_too() -> None:
    layer = learned("dense").torch(3, dtype=F64)
    x = torch.randn(10, 2, 3, dtype=F64)
    matrix = layer.values["net"].detach().numpy()
    rows = learned("dense").simulate(x.numpy(), seed=1, operators={"net": matrix})
    np.testing.assert_allclose(layer(x, seed=1)[0]["q"].detach(), rows["q"], atol=1e-13)


def test_jax_layers_derive_the_network() -> None:
    jax = pytest.importorskip("jax")
    equinox = pytest.importorskip("equinox")
    net = Energy()
    with jax.enable_x64(True):
        W, b, v = (jax.numpy.asarray(p.detach().numpy()) for p in (net.inner.weight, net.inner.bias, net.outer.weight))

        class Shared(equinox.Module):
            W: jax.Array

            def __call__(self, q: jax.Array) -> jax.Array:
                return jax.numpy.broadcast_to(v[0] @ jax.numpy.tanh(self.W @ q + b), q.shape) / 3

        layer = learned().jax(3, dtype=np.float64, operators={"net": Shared(W)}, key=jax.random.key(0))
        x = np.random.default_rng(0).normal(size=(15, 2, 3))

        def loss(layer: object) -> jax.Array:
            return (layer(jax.numpy.asarray(x), seed=4)[0]["q"] ** 2).sum()

        value, slopes = equinox.filter_value_and_grad(loss)(layer)
    ours = learned().torch(3, dtype=F64, operators={"net": net})
    wanted = ours(torch.tensor(x), seed=4)[0]["q"].pow(2).sum()
    wanted.backward()
    assert float(value) == pytest.approx(wanted.item(), rel=1e-12)
    found = slopes.operators_of_neuron.given["net"].W
    np.testing.assert_allclose(found, net.inner.weight.grad.numpy(), rtol=1e-9, atol=1e-12)


def test_what_has_no_gradient_is_refused() -> None:
    with pytest.raises(no.Unsupported, match=r"the factor of net\(...\) differs from neuron to neuron"):
        learned(per="neuron").system()
    with pytest.raises(no.RunError, match="needs the gradient of 'net', which numpy cannot derive"):
        learned().simulate(np.zeros((3, 1, 3)), operators={"net": np.sin})
