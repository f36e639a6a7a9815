"""Axes, tables over time, neurons without inputs and operators in jax layers, against torch with equal numbers."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from jax_oracles import KEY, as_jax, with_numbers_of
from oracles import distance
from references import neuron as declared

from neuroode._errors import RunError, Unsupported

X = np.random.default_rng(0).normal(8, 8, (12, 2, 3))
AXES = """
axes: {n: 3}
parameters:
  tau: {value: [2, 4, 8], domain: positive, per: [neuron, n]}
  w: {value: [1, -0.5, 0.25], per: [layer, n]}
inputs: {I: current}
equations: |
  dz[n]/dt = -z[n]/tau[n] + w[n]*I
  y = sum_n(z[n])
spike: y > 0.4
reset: z[n] -= 0.1
outputs: {s: s, y: y}
"""
STILL = "equations: |\n  dv/dt = -v/3 + 0.2\nspike: v > 0.3\nreset: v = 0\n"
TABLE = """
horizon: 16
parameters: {c: {value: CELLS, per: [neuron, time]}}
equations: "v[t] = 0.5*v[t-1] + c[t]*I"
""".replace("CELLS", str([round(0.1 * i - 0.7, 1) for i in range(16)]))


@pytest.mark.parametrize("text", [AXES, TABLE], ids=["axes", "table"])
def test_axes_and_tables_are_torchs(text: str) -> None:
    n = declared(text)
    one = n.torch(2, dt=0.5, dtype=torch.float64, schedule="eager")
    other = with_numbers_of(one, n.jax(2, dt=0.5, key=KEY))
    x = {"I": torch.randn(16, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))}
    out, carry = other(as_jax(x["I"]))
    wanted, held = one(x["I"])
    rows = out if isinstance(out, dict) else {"v": out}
    right = wanted if isinstance(wanted, dict) else {"v": wanted}
    assert all(distance(rows[k], v.detach()) <= 1e-12 for k, v in right.items())
    assert all(distance(carry[k], v.detach()) <= 1e-12 for k, v in held.items())
    half, middle = other(as_jax(x["I"][:9]))
    rest, _ = other(as_jax(x["I"][9:]), middle)
    for k in right:
        a, b = (v[k] if isinstance(v, dict) else v for v in (half, rest))
        assert distance(jnp.concatenate([a, b]), right[k].detach()) <= 1e-12
    sums = sum(v.sum() for v in right.values())
    slopes = torch.autograd.grad(sums, list(one.parameters()))
    found = jax.grad(lambda layer: sum(v.sum() for v in jax.tree.leaves(layer(as_jax(x["I"]))[0])))(other)
    for (name, _), s in zip(one.named_parameters(), slopes, strict=True):
        assert distance(found.parameters_of_neuron.raw[name.rpartition("raw_")[2]], s) <= 1e-11, name


def test_a_run_beyond_the_horizon_is_an_error() -> None:
    layer = declared(TABLE).jax(2, dt=0.5, key=KEY)
    _, carry = layer(np.zeros((16, 1, 2)))
    for bad in (lambda: layer(np.zeros((17, 1, 2))), lambda: layer(np.zeros((1, 1, 2)), carry)):
        with pytest.raises(RunError, match="horizon"):
            bad()


def test_a_neuron_without_inputs_counts_steps() -> None:
    n = declared(STILL)
    layer = n.jax(2, dt=0.5, key=KEY)
    out, _ = layer(steps=20, batch=1)
    assert np.array_equal(out, n.torch(2, dt=0.5, dtype=torch.float64)(steps=20, batch=1)[0].detach())
    assert 0 < out.mean() < 1
    with pytest.raises(RunError, match="steps"):
        layer()


OPERATORS = """
operators: {W: dense, pool: external}
parameters: {tau: {value: 4, domain: positive}}
equations: |
  dv/dt = (-v + I - W(s[t-1]))/tau
  a[t] = 0.9*a[t-1] + pool(s)
spike: v > 1 + a[t-1]
reset: v -= 1
outputs: {s: s, a: a}
"""


def test_operators_are_torchs() -> None:
    n = declared(OPERATORS)
    linear = torch.nn.Linear(5, 5, dtype=torch.float64)
    one = n.torch(5, dt=1.0, dtype=torch.float64, operators={"pool": linear})
    module = eqx.nn.Linear(5, 5, key=KEY, dtype=float)
    other = n.jax(5, dt=1.0, key=KEY, operators={"pool": module}).set(W=as_jax(one.values["W"]))
    weights = as_jax(linear.weight), as_jax(linear.bias)
    pool = eqx.tree_at(lambda m: (m.weight, m.bias), module, weights)
    other = eqx.tree_at(lambda m: m.operators_of_neuron.given["pool"], other, pool)
    x = 4 * torch.rand(30, 2, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    wanted, _ = one(x)
    found, _ = other(as_jax(x))
    assert 0 < wanted["s"].mean() < 1
    assert all(distance(found[k], v.detach()) <= 1e-12 for k, v in wanted.items())
    (wanted["s"].sum() + (wanted["a"] ** 2).sum()).backward()
    slopes = eqx.filter_grad(lambda m: (lambda o: o["s"].sum() + (o["a"] ** 2).sum())(m(as_jax(x))[0]))(other)
    inner = slopes.operators_of_neuron
    assert distance(inner.matrices["W"], one.operators_of_neuron.matrices()["W"].grad) <= 1e-11
    assert distance(inner.given["pool"].weight, linear.weight.grad) <= 1e-11


def test_refusals_of_operators() -> None:
    n = declared(OPERATORS)
    layer = n.jax(3, dt=1.0, key=KEY, operators={"pool": lambda s: s[:1]})
    for bad, kind in (
        (lambda: n.jax(3, dt=1.0, key=KEY), RunError),
        (lambda: n.jax(3, dt=1.0, key=KEY, operators={"pool": abs, "other": abs}), RunError),
        (lambda: n.jax(3, dt=1.0, key=KEY, operators={"pool": abs}, schedule="sequential"), Unsupported),
        (lambda: layer(X), RunError),
        (lambda: layer.set(W=np.ones((2, 2))), RunError),
        (lambda: layer.to_neuron(), Unsupported),
    ):
        with pytest.raises(kind):
            bad()
