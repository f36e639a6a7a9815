"""Tables over time (`per: time`) against numpy; chunks, samples of different lengths, gradients, the horizon."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from line import check_line
from references import distance

import neuroode as no
from neuroode.spec.read_yaml import read_text

F64 = torch.float64
TABLES = """
neuron: tables
dt: 0.5
horizon: 24
axes: {k: 2}
states: {z: {type: complex}}
parameters:
  E: {init: "normal(0, 1)", per: [neuron, time]}
  g: {init: "uniform(0.5, 1)", per: [channel, k, time], domain: positive}
  C: {init: "normal(0, 1) + i*normal(0, 1)", type: complex, per: [time]}
  a: {init: "0.2*k + 0.1", per: [k]}
equations: |
  v[k, t] = a[k]*v[k, t-1] + g[k, t]*I + E[t]
  dz/dt = (-0.1 + 2i)*z + C[t]*I : complex
  h = sum_k(v[k]) + real(z)
spike: h > 2
outputs: {s: s, h: h}
"""


def tables() -> no.Neuron:
    return no.Neuron.from_spec(read_text(TABLES))


def by_hand(p: dict[str, np.ndarray], x: np.ndarray) -> dict[str, np.ndarray]:
    """x (T, B, C, M): two sizes, the first one channels."""
    b = -0.1 + 2j
    v, z = np.zeros((*x.shape[1:], 2)), np.zeros(x.shape[1:], complex)
    rows: dict[str, list[np.ndarray]] = {"v": [], "z": [], "h": []}
    for t, now in enumerate(x):
        g = p["g"][:, None, :, t]  # one row a channel
        v = p["a"] * v + g * now[..., None] + p["E"][..., t, None]
        z = np.exp(b * 0.5) * z + np.expm1(b * 0.5) / b * p["C"][t] * now
        for name, value in {"v": v, "z": z, "h": v.sum(-1) + z.real}.items():
            rows[name].append(value)
    return {n: np.stack(r) for n, r in rows.items()}


def drive(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(0.4, 1, shape)


def test_rows_are_read_by_step() -> None:
    layer = tables().torch((3, 2), dtype=F64)
    p = {n: v.detach().numpy() for n, v in layer.values.items()}
    assert {n: v.shape for n, v in p.items()} == {"E": (3, 2, 24), "g": (3, 2, 24), "C": (24,), "a": (2,)}
    x = drive(20, 2, 3, 2)
    wanted = by_hand(p, x)
    found, trace = tables().simulate(x, parameters=p), layer.trace(torch.tensor(x))
    assert all(distance(found[n], wanted[n]) <= 1e-13 for n in wanted)
    assert all(distance(trace[n].detach(), wanted[n]) <= 1e-13 for n in wanted)


def test_line() -> None:
    check_line(tables(), drive(20, 2, 3), 0.5)
    check_line(no.Neuron("clock", horizon=9, parameters={"E": no.Parameter(init="normal(0, 1)", per="time")},
                         equations="q[t] = 0.5*q[t-1] + E[t]"), (9, 2, 3), 1.0)  # fmt: skip


def test_gradients_stay_in_the_rows_that_were_read() -> None:
    for schedule in ("eager", "auto"):
        layer = tables().torch(3, schedule=schedule, dtype=F64)
        x = torch.tensor(drive(8, 2, 3))
        _, carry = layer(x)
        layer(x, carry)[0]["h"].sum().backward()
        grad = layer.parameters_of_neuron.raw_E.grad
        assert bool((grad[:, :16] != 0).all())
        assert bool((grad[:, 16:] == 0).all())


def test_samples_of_different_lengths_read_on_where_they_ended() -> None:
    for schedule in ("eager", "auto"):
        layer = tables().torch(2, schedule=schedule, dtype=F64)
        x = torch.tensor(drive(16, 2, 2))
        whole = layer(x)[0]["h"]
        first = torch.stack([x[:8, 0], torch.cat([x[:5, 1], x.new_full((3, 2), torch.nan)])], 1)
        _, carry = layer(first, lengths=torch.tensor([8, 5]))
        rest = torch.stack([x[8:16, 0], x[5:13, 1]], 1)
        found = layer(rest, carry)[0]["h"]
        assert torch.allclose(found[:, 0], whole[8:16, 0], rtol=0, atol=1e-13)
        assert torch.allclose(found[:, 1], whole[5:13, 1], rtol=0, atol=1e-13)


def test_the_horizon_ends_a_run() -> None:
    layer = tables().torch(2)
    with pytest.raises(no.RunError, match="the run reaches step 25, beyond the horizon 24 of 'tables'"):
        layer(torch.zeros(25, 1, 2))
    _, carry = layer(torch.zeros(20, 1, 2))
    with pytest.raises(no.RunError, match="reaches step 30"):
        layer(torch.zeros(10, 1, 2), carry)
    with pytest.raises(no.RunError, match="reaches step 25"):
        tables().simulate(np.zeros((25, 1, 2)))


def test_lists_and_written_values() -> None:
    neuron = no.Neuron(
        "list", horizon=3, parameters={"E": no.Parameter([1, 2, 3], per="time")}, equations="q[t] = E[t]*I"
    )
    layer = neuron.torch(2)
    assert layer(torch.ones(3, 1, 2))[0][:, 0, 0].tolist() == [1, 2, 3]
    layer.set(E=[3, 2, 1])
    assert layer(torch.ones(3, 1, 2))[0][:, 0, 1].tolist() == [3, 2, 1]
    assert layer.to_neuron().torch(2)(torch.ones(3, 1, 2))[0][:, 0, 1].tolist() == [3, 2, 1]
