"""Domains over axes: simplex, symmetric and psd matrices, stored, drawn, trained, projected."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from references import neuron, slope

from neuroode import RunError, SpecError, Unsupported

F64 = torch.float64
NET = """
axes: {k: 3, l: k}
inputs: {I: {kind: current, axes: [k]}}
parameters: {W: {VALUE, domain: "DOMAIN", per: [LEVEL]}}
equations: 'q[k, t] = 0.5*q[k, t-1] + sum_l(W[k, l]*q[l, t-1]) + I[k]'
outputs: {q: "q[k]"}
"""
X = np.random.default_rng(0).normal(size=(6, 2, 2, 3))


def net(value: str, domain: str, level: str = "k, l", more: str = "") -> object:
    text = NET.replace("VALUE", f"{value}{more}").replace("DOMAIN", domain).replace("LEVEL", level)
    return neuron(text)


def in_domain(kind: str, w: np.ndarray) -> None:
    if kind == "simplex(l)":
        assert (w >= 0).all()
        assert np.allclose(w.sum(-1), 1, atol=1e-12)
        return
    assert np.allclose(w, w.swapaxes(-2, -1), atol=1e-12)
    if kind == "psd(k, l)":
        assert np.linalg.eigvalsh(w).min() >= -1e-9


@pytest.mark.parametrize("kind", ["simplex(l)", "symmetric(k, l)", "psd(k, l)"])
@pytest.mark.parametrize("level", ["k, l", "neuron, k, l"])
@pytest.mark.parametrize("transform", ["", ", transform: none"])
def test_drawn_written_trained(kind: str, level: str, transform: str) -> None:
    torch.manual_seed(0)
    draw = 'init: "uniform(0.1, 1)"' if kind == "simplex(l)" else 'init: "normal(0, 0.4)"'
    layer = net(draw, kind, level, transform).torch(2, 1.0, dtype=F64)
    in_domain(kind, layer.values["W"].detach().numpy())
    shape = layer.values["W"].shape
    rng = np.random.default_rng(1)
    value = np.abs(rng.normal(size=shape))
    value /= value.sum(-1, keepdims=True)
    if kind != "simplex(l)":
        value = value @ value.swapaxes(-2, -1) / 4
    layer.set(W=value)
    assert np.allclose(layer.values["W"].detach().numpy(), value, atol=1e-9)
    optimiser = torch.optim.SGD(layer.parameters(), 0.01)
    x = torch.tensor(X)
    for _ in range(3):
        optimiser.zero_grad()
        layer(x)[0].square().mean().backward()
        optimiser.step()
        layer.project()
    trained = layer.values["W"].detach().numpy()
    in_domain(kind, trained)
    assert not np.allclose(trained, value, atol=1e-6)
    assert np.allclose(layer.to_neuron().torch(2, 1.0, dtype=F64).values["W"].detach().numpy(), trained, atol=1e-9)


@pytest.mark.parametrize("kind", ["simplex(l)", "symmetric(k, l)", "psd(k, l)"])
def test_gradients(kind: str) -> None:
    """Of stored numbers, against differences of the interpreter."""
    torch.manual_seed(0)
    draw = 'init: "uniform(0.1, 1)"' if kind == "simplex(l)" else 'init: "normal(0, 0.4)"'
    n = net(draw, kind)
    layer = n.torch(2, 1.0, dtype=F64)
    (raw,) = layer.parameters()
    layer(torch.tensor(X))[0].square().sum().backward()
    at = raw.detach().clone()

    def total(h: float) -> np.ndarray:
        with torch.no_grad():
            raw.copy_(at)
            raw[0, 1] += h
            w = layer.values["W"].numpy()
        return np.square(n.simulate(X, 1.0, parameters={"W": w})["q"]).sum()

    wanted = float(slope(total, 0.0))
    assert abs(raw.grad[0, 1].item() - wanted) <= 1e-6 * abs(wanted)


def test_the_nearest_member_of_the_simplex() -> None:
    """Against a search over the support (Duchi et al., ICML 2008)."""
    layer = net('init: "1/3"', "simplex(l)", more=", transform: project").torch(2, 1.0, dtype=F64)
    (raw,) = layer.parameters()
    rows = np.random.default_rng(2).normal(0.3, 1, (3, 3))
    with torch.no_grad():
        raw.copy_(torch.tensor(rows))
    layer.project()
    for found, x in zip(raw.detach().numpy(), rows, strict=True):
        grid = np.linspace(-4, 4, 400_001)
        level = grid[np.argmin(np.abs(np.maximum(x - grid[:, None], 0).sum(1) - 1))]
        assert np.allclose(found, np.maximum(x - level, 0), atol=1e-4)


def test_refused() -> None:
    with pytest.raises(SpecError, match=r"parameter 'W' is not in simplex\(l\)"):
        net("value: 0.5", "simplex(l)").torch(2, 1.0)
    with pytest.raises(SpecError, match=r"parameter 'W' is not in symmetric\(k, l\)"):
        net('init: "k"', "symmetric(k, l)").torch(2, 1.0)
    layer = net('init: "1/3"', "simplex(l)").torch(2, 1.0)
    with pytest.raises(SpecError, match=r"is not in simplex"):
        layer.set(W=np.full((3, 3), 0.4))
    with pytest.raises(RunError, match="softmax does not reach 0"):
        layer.set(W=np.eye(3))
    with pytest.raises(SpecError, match=r"parameter 'W' is not in psd\(k, l\)"):
        net('init: "1/(1 + k + l)"', "psd(k, l)").torch(2, 1.0).set(W=-np.eye(3))
    with pytest.raises(Unsupported, match="an emitted file stores single numbers"):
        net('init: "1/3"', "simplex(l)").emit("torch", 1.0)
    assert "W" in net('init: "1/3"', "simplex(l)", more=", trainable: false").emit("torch", 1.0)
