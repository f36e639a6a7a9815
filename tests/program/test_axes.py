"""Axes inside a neuron: values and gradients against numpy written for each model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from references import distance

import neuroode as no
from neuroode.spec.read_yaml import read_text

RESONATORS = """
neuron: resonators
dt: 0.5
axes: {k: 3}
states: {z: {init: "0.1*(k + 1) + 0.05i", type: complex}}
parameters:
  delta: {value: 0.3, domain: positive, transform: exp, per: channel}
  tau: {value: [1, 2, 5], domain: positive, per: [channel, k]}
  omega: {init: "pi*k", per: [neuron, k]}
  C: {init: "normal(0, 1) + i*normal(0, 1)", type: complex, per: [k]}
equations: |
  dz[k]/dt = delta*((-1/tau[k] + i*omega[k])*z[k] + I) : complex
  h = sum_k(real(C[k]*z[k]))
spike: h > 0.6
surrogate: {kind: triangle, width: 1}
outputs: {s: s, h: h, x: "imag(z[k])"}
"""


def of(text: str) -> no.Neuron:
    return no.Neuron.from_spec(read_text(text))


def resonators(p: dict[str, np.ndarray], x: np.ndarray, dt: float) -> dict[str, np.ndarray]:
    """z[t] = e^(a dt) z[t-1] + delta (e^(a dt) - 1)/a I[t], a = delta (-1/tau + i omega); arrays (..., N, K)."""
    delta = p["delta"][:, None]
    a = delta * (-1 / p["tau"] + 1j * p["omega"])
    phi, gain = np.exp(a * dt), delta * np.expm1(a * dt) / a
    z = np.broadcast_to(0.1 * (np.arange(3) + 1) + 0.05j, (x.shape[1], *a.shape))
    rows = []
    for now in x:
        z = phi * z + gain * now[..., None]
        rows.append(z)
    found = np.stack(rows)
    h = (p["C"] * found).real.sum(-1)
    return {"z": found, "h": h, "s": (h > 0.6) * 1.0, "x": found.imag}


def drive(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.3, 1.5, shape)


@pytest.mark.parametrize("schedule", ["eager", "auto"])
def test_complex_resonators_equal_their_closed_form(schedule: str) -> None:
    layer = of(RESONATORS).torch(4, schedule=schedule, dtype=torch.float64)
    values = {n: v.detach().numpy() for n, v in layer.values.items()}
    assert {n: v.shape for n, v in values.items()} == {"delta": (4,), "tau": (4, 3), "omega": (4, 3), "C": (3,)}
    x = drive(30, 2, 4)
    wanted = resonators(values, x, 0.5)
    out, carry = layer(torch.tensor(x))
    trace = layer.trace(torch.tensor(x))
    assert 0 < wanted["s"].mean() < 1
    assert all(distance(out[n].detach(), wanted[n]) <= 1e-12 for n in ("s", "h", "x"))
    assert all(distance(trace[n].detach(), wanted[n]) <= 1e-12 for n in wanted)
    assert {n: tuple(v.shape) for n, v in carry.items()} == {"z.re": (2, 4, 3), "z.im": (2, 4, 3)}
    assert distance(carry["z.im"].detach(), wanted["x"][-1]) <= 1e-12


def test_the_interpreter_gives_the_same() -> None:
    x = drive(30, 2, 4)
    given = {"C": np.array([1 + 1j, -0.5, 2j]), "tau": 2.0}
    trace = of(RESONATORS).simulate(x, parameters=given)
    p = {"delta": np.full(4, 0.3), "tau": np.full((4, 3), 2.0), "C": given["C"]}
    wanted = resonators(p | {"omega": np.broadcast_to(np.pi * np.arange(3), (4, 3))}, x, 0.5)
    assert all(distance(trace[n], wanted[n]) <= 1e-12 for n in wanted)


def loss_and_gradients(layer: Any, x: torch.Tensor) -> dict[str, torch.Tensor]:
    out, _ = layer(x)
    rows = out.values() if isinstance(out, dict) else [out]
    total = sum((torch.cos(torch.arange(o.numel(), dtype=o.dtype)).reshape(o.shape) * o).sum() for o in rows)
    leaves = dict(layer.named_parameters())
    found = torch.autograd.grad(total, [*leaves.values(), x])
    return dict(zip([*leaves, "x"], found, strict=True))


def both(text: str, size: Any = 3, **options: Any) -> tuple[Any, Any]:
    """An eager layer and one with a kernel, with equal parameters."""
    layers = [of(text).torch(size, schedule=s, dtype=torch.float64, **options) for s in ("eager", "auto")]
    layers[1].load_state_dict(layers[0].state_dict())
    return layers[0], layers[1]


def test_gradients_of_kernel_and_autograd_agree() -> None:
    eager, fast = both(RESONATORS)
    x = torch.tensor(drive(40, 2, 3), requires_grad=True)
    a, b = loss_and_gradients(eager, x), loss_and_gradients(fast, x)
    assert all(distance(b[n], a[n]) <= 1e-11 for n in a)
    assert all(bool(a[n].abs().sum() > 0) for n in a)


def test_chunks_equal_one_call() -> None:
    for layer in both(RESONATORS):
        x = torch.tensor(drive(25, 2, 3))
        whole, end = layer(x)
        first, carry = layer(x[:9])
        second, last = layer(x[9:], carry)
        assert all(torch.equal(torch.cat([first[n], second[n]]), whole[n]) for n in whole)
        assert all(torch.equal(last[n], end[n]) for n in end)


def test_sizes_are_chosen_when_a_layer_is_built() -> None:
    neuron = of(RESONATORS.replace("[1, 2, 5]", "2"))
    layer = neuron.torch(2, axes={"k": 5})
    assert layer.values["tau"].shape == (2, 5)
    assert layer(torch.zeros(4, 1, 2))[0]["x"].shape == (4, 1, 2, 5)
    assert neuron.simulate(np.zeros((4, 1, 2)), axes={"k": 2})["z"].shape == (4, 1, 2, 2)
    assert len(neuron.program(axes={"k": 7}).carry) == 14
    assert neuron.torch(2).values["tau"].shape == (2, 3)


def test_a_wrong_size_is_refused() -> None:
    neuron = of(RESONATORS)
    with pytest.raises(no.RunError, match="'j' is not an axis of 'resonators'"):
        neuron.torch(2, axes={"j": 5})
    with pytest.raises(no.RunError, match="not a whole number"):
        neuron.torch(2, axes={"k": 0})
    with pytest.raises(no.SpecError, match="the list of parameter 'tau' has 3 entries, axis k has 5"):
        neuron.torch(2, axes={"k": 5})
