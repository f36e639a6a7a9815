"""Domains over axes in jax: the values, runs, gradients and projections of torch, and of formulas by hand."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from references import distance

import neuroode as no
from neuroode.nn import domains

KINDS = ["simplex(l)", "symmetric(k, l)", "psd(k, l)"]


def neuron(domain: str, init: str = "normal(0, 0.5)", **more: Any) -> no.Neuron:
    W = no.Parameter(init=init, per=["neuron", "k", "l"], domain=domain, **more)
    return no.Neuron(
        "coupled", dt=1.0, axes={"k": 3, "l": "k"}, parameters={"W": W}, states={"q": "0.3*k"},
        equations="dq[k]/dt = -q[k] + sum_l(W[k, l]*tanh(q[l])) + I", method="euler",
    )  # fmt: skip


def init_in(domain: str) -> str:
    return "1/size(k)" if domain.startswith("simplex") else "normal(0, 0.5)"


def belongs(domain: str, W: np.ndarray) -> bool:
    flipped = W.swapaxes(-1, -2)
    if domain.startswith("simplex"):
        return bool((W >= -1e-7).all() and np.abs(W.sum(-1) - 1).max() <= 1e-6)
    same = np.abs(W - flipped).max() <= 1e-6
    return bool(same and (domain.startswith("sym") or np.linalg.eigvalsh(W).min() >= -1e-6))


def of_stored(domain: str, raw: torch.Tensor) -> torch.Tensor:
    if domain.startswith("simplex"):
        return torch.softmax(raw, -1)
    return (raw + raw.mT) / 2 if domain.startswith("sym") else raw @ raw.mT


@pytest.mark.parametrize("domain", KINDS)
def test_values_runs_and_gradients_are_those_of_torch(domain: str) -> None:
    n = neuron(domain, init_in(domain))
    layer = n.torch(2)
    with torch.no_grad():
        layer.parameters_of_neuron.raw_W += 0.3 * torch.randn(2, 3, 3)
    W = layer.values["W"].detach().numpy()
    other = n.jax(2, key=jax.random.key(0), dtype=jnp.float32).set(W=W)
    assert belongs(domain, np.asarray(other.values["W"]))
    assert distance(np.asarray(other.values["W"]), W) <= 1e-6
    x = np.random.default_rng(0).normal(size=(5, 1, 2)).astype(np.float32)
    leaf = torch.tensor(x, requires_grad=True)
    out = layer(leaf)[0]
    out.square().sum().backward()
    assert distance(np.asarray(other(jnp.asarray(x))[0]), out.detach()) <= 1e-5
    if domain.startswith("simplex"):  # stored numbers are equal up to one number a row, which has no slope
        grad = jax.grad(lambda m: (m(jnp.asarray(x))[0] ** 2).sum(), allow_int=True)(other)
        rows = [g for g in jax.tree.leaves(grad) if g.shape == (2, 3, 3)]
        assert distance(np.asarray(rows[0]), layer.parameters_of_neuron.raw_W.grad) <= 1e-4


@pytest.mark.parametrize("domain", KINDS)
def test_stored_numbers_map_into_the_domain(domain: str) -> None:
    n = neuron(domain, init_in(domain))
    p = n.spec.parameters[0]
    raw = np.random.default_rng(1).normal(size=(4, 3, 3))
    value = domains.forward(np, p, raw)
    assert belongs(domain, value)
    assert distance(value, of_stored(domain, torch.tensor(raw))) <= 1e-14
    assert distance(domains.forward(np, p, domains.inverse(np, p, value)), value) <= 1e-12
    assert distance(np.asarray(domains.forward(jnp, p, jnp.asarray(raw))), value) <= 1e-5


@pytest.mark.parametrize("domain", KINDS)
def test_projection_is_the_nearest_member(domain: str) -> None:
    p = neuron(domain, init_in(domain), transform="none").spec.parameters[0]
    raw = np.random.default_rng(2).normal(size=(4, 3, 3))
    near = domains.project(np, p, raw)
    assert belongs(domain, near)
    assert distance(domains.project(np, p, near), near) <= 1e-12
    free = neuron(domain, init_in(domain)).spec.parameters[0]
    for seed in range(50):  # no member that is drawn lies nearer
        other = domains.forward(np, free, np.random.default_rng(seed).normal(size=(4, 3, 3)))
        assert (np.abs(near - raw) ** 2).sum() <= (np.abs(other - raw) ** 2).sum()
    assert distance(np.asarray(domains.project(jnp, p, jnp.asarray(raw))), near) <= 1e-5
