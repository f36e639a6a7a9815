"""Models with axes against numpy written for each: windows, dense coupling, events with axes, series, indices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import torch
from line import check_line
from references import distance

import neuroode as no
from neuroode.spec.read_yaml import read_text

Array = np.ndarray
Found = dict[str, Array]


def of(text: str) -> no.Neuron:
    return no.Neuron.from_spec(read_text("neuron: made_up\n" + text))


def drive(*shape: int, seed: int = 0, scale: float = 1.0, offset: float = 0.0) -> Array:
    return offset + scale * np.random.default_rng(seed).normal(size=shape)


def lagged(x: Array, k: int) -> Array:
    """x[t-k], zero before the first step."""
    return np.concatenate([np.zeros_like(x[:k]), x[: len(x) - k]]) if k else x


# drf: resonators of one drive, a threshold raised by past pre-spikes


def drf(p: Found, x: Array, dt: float, own: bool = False) -> Found:
    a = p["delta"][:, None] * (-1 / p["tau"] + 1j * p["omega"])
    z = np.zeros((*x.shape[1:], 4), complex)
    raised = [np.zeros(x.shape[1:])] * 4
    rows: dict[str, list[Array]] = {n: [] for n in ("z", "h", "p", "s", "v_th")}
    for now in x:
        z = np.exp(a * dt) * z + (np.expm1(a * dt) / a * p["delta"][:, None]) * now[..., None]
        h = np.real(p["C"] * z).sum(-1)
        v_th = p["v_pre"] + sum(p["alpha"][k] * raised[k] for k in range(4))
        pre, s = (h > p["v_pre"]) * 1.0, (h > v_th) * 1.0
        raised = [s if own else pre, *raised[:-1]]
        for name, value in {"z": z, "h": h, "p": pre, "s": s, "v_th": v_th}.items():
            rows[name].append(value)
    return {n: np.stack(r) for n, r in rows.items() if not (own and n == "p")}


@pytest.mark.parametrize("compat", [None, "own_spikes"])
def test_drf(compat: str | None) -> None:
    neuron = no.load("drf", compat=compat)
    layer = neuron.torch(3, 1.0, dtype=torch.float64, init={"delta": "uniform(0.02, 0.2)"})
    p = {n: v.detach().numpy() for n, v in layer.values.items()}
    x = drive(60, 2, 3, scale=20.0)
    wanted = drf(p, x, 1.0, own=compat is not None)
    assert 0.02 < wanted["s"].mean() < 0.6
    found = neuron.simulate(x, 1.0, parameters=p)
    assert all(distance(found[n], wanted[n]) <= 1e-12 for n in wanted)
    assert distance(layer(torch.tensor(x))[0].detach(), wanted["s"]) == 0


def test_drf_on_every_backend() -> None:
    check_line(no.load("drf"), drive(40, 2, 3, scale=30.0), 1.0)


# windows: causal, strictly causal, dilated; over inputs, events and recorded definitions


@pytest.mark.parametrize(
    ("lag", "offset", "stride"), [("t-k", 0, 1), ("t-1-k", 1, 1), ("t-k*d", 0, 3), ("t-1-2*k", 1, 2)]
)
def test_windows_over_inputs(lag: str, offset: int, stride: int) -> None:
    d = "d: 3, " if "d" in lag else ""
    neuron = of(f"""
axes: {{k: 5}}
inputs: {{x: current}}
parameters: {{{d}w: {{init: "2^(-k)", per: [k]}}}}
equations: h = sum_k(w[k]*x[{lag}])
spike: h >= 1
""")
    x = drive(30, 2, 3, offset=0.4)
    h = sum(0.5**k * lagged(x, offset + stride * k) for k in range(5))
    found = neuron.simulate(x)
    assert distance(found["h"], h) <= 1e-14
    assert np.array_equal(found["s"], h >= 1)


def test_sliding_psn_on_every_backend() -> None:
    neuron = no.load("sliding_psn")
    x = drive(40, 2, 3, offset=0.4)
    h = sum(0.5**k * lagged(x, k) for k in range(32))
    assert distance(neuron.simulate(x)["h"], h) <= 1e-14
    assert neuron.torch(3).values["w"].shape == (32,)
    check_line(neuron.replace(axes={"k": 6}), x, 1.0)


WINDOWS = """
axes: {k: 3}
parameters: {w: {value: [0.5, -0.3, 0.2], per: [k]}, g: {value: [0.4, 0.1, 0.2], per: [k]}}
equations: |
  u = 0.7*I + sum_k(w[k]*u[t-1-k])
  q[t] = 0.5*q[t-1] + sum_k(g[k]*s[t-1-k]) - 0.1*q[t-3]
spike: u > 0.8 + q[t-1]
"""


def windows(x: Array) -> Found:
    w, g = (0.5, -0.3, 0.2), (0.4, 0.1, 0.2)
    u, q, s = ([np.zeros(x.shape[1:])] * 3 for _ in range(3))
    for now in x:
        fresh = 0.7 * now + sum(w[k] * u[-1 - k] for k in range(3))
        spike = (fresh > 0.8 + q[-1]) * 1.0
        q = [*q, 0.5 * q[-1] + sum(g[k] * s[-1 - k] for k in range(3)) - 0.1 * q[-3]]
        u, s = [*u, fresh], [*s, spike]
    return {"u": np.stack(u[3:]), "q": np.stack(q[3:]), "s": np.stack(s[3:])}


def test_windows_over_events_states_and_recorded_definitions() -> None:
    neuron, x = of(WINDOWS), drive(50, 2, 3, offset=0.6)
    found, wanted = neuron.simulate(x), windows(x)
    assert 0.1 < wanted["s"].mean() < 0.9
    assert all(distance(found[n], wanted[n]) <= 1e-13 for n in wanted)
    check_line(neuron, x, 1.0)


# coupled within: a matrix over (k, l)

COUPLED = """
axes: {k: 3, l: k}
inputs: {x: {kind: current, axes: [k]}}
states: {q: "0.1*k - 0.2"}
parameters:
  A: {value: [[-1, 0.4, 0.1], [-0.7, -0.5, 0.3], [0.2, -0.6, -0.8]], per: [k, l]}
  B: {value: [0.5, 1, 2], per: [k]}
  W: {init: "normal(0, 0.3)", per: [neuron, k, l]}
  theta: {value: 0.25, domain: positive}
equations: |
  dq[k]/dt = sum_l(A[k, l]*q[l]) + B[k]*x[k] - r[k, t-1]
  r[k, t] = 0.6*r[k, t-1] + sum_l(W[k, l]*s[l]) + 0.01*(k + 1)*q[0]
events:
  s: {when: "q[k] > theta*(1 + k/size(k))", axes: [k], reset: "q[k] -= theta"}
outputs: {s: "s[k]", mean: "mean_k(q[k])", last: "q[2]"}
"""


def coupled(p: Found, x: Array, dt: float) -> Found:
    """Zero-order hold by the exponential of the augmented matrix; arrays (T, B, N, K)."""
    A = np.array(p["A"])
    whole = scipy.linalg.expm(np.block([[A, np.eye(3)], [np.zeros((3, 6))]]) * dt)
    phi, gain = whole[:3, :3], whole[:3, 3:]
    q = np.broadcast_to(0.1 * np.arange(3) - 0.2, x.shape[1:])
    r = np.zeros(x.shape[1:])
    rows: dict[str, list[Array]] = {n: [] for n in ("q", "r", "s", "mean", "last")}
    for now in x:
        q = q @ phi.T + (p["B"] * now - r) @ gain.T
        s = (q > p["theta"] * (1 + np.arange(3) / 3)) * 1.0
        r = 0.6 * r + np.einsum("nkl,bnl->bnk", p["W"], s) + 0.01 * (np.arange(3) + 1) * q[..., :1]
        mean, last = q.mean(-1), q[..., 2]
        q = q - p["theta"] * s
        for name, value in {"q": q, "r": r, "s": s, "mean": mean, "last": last}.items():
            rows[name].append(value)
    return {n: np.stack(v) for n, v in rows.items()}


def test_a_matrix_inside_the_neuron() -> None:
    neuron = of(COUPLED)
    layer = neuron.torch(2, 0.5, dtype=torch.float64)
    p = {n: v.detach().numpy() for n, v in layer.values.items()}
    x = drive(40, 2, 2, 3, offset=0.2)
    wanted = coupled(p, x, 0.5)
    assert 0.02 < wanted["s"].mean() < 0.8
    found = neuron.simulate(x, 0.5, parameters=p)
    assert all(distance(found[n], wanted[n]) <= 1e-12 for n in wanted)
    assert distance(found["q.before"] - p["theta"] * wanted["s"], wanted["q"]) <= 1e-12
    out, carry = layer(torch.tensor(x))
    assert {n: tuple(v.shape) for n, v in out.items()} == {"s": (40, 2, 2, 3), "mean": (40, 2, 2), "last": (40, 2, 2)}
    assert all(distance(out[n].detach(), wanted[n]) <= 1e-12 for n in out)
    assert tuple(carry["q"].shape) == tuple(carry["r"].shape) == (2, 2, 3)


def test_a_matrix_inside_the_neuron_on_every_backend() -> None:
    check_line(of(COUPLED), {"x": drive(30, 2, 2, 3, offset=0.2)}, 0.5, size=(2,))


# two axes of an input, whole sizes, indices in another order


def test_two_axes_and_a_size_of_two_numbers() -> None:
    neuron = of("""
axes: {k: 2, j: 3}
inputs: {x: {kind: current, axes: [k, j]}, y: current}
parameters: {W: {init: "k + 10*j", per: [channel, j, k]}}
equations: |
  a[j] = sum_k(W[j, k]*x[k, j])
  b[k, t] = 0.5*b[k, t-1] + sum_j(a[j]*x[k, j, t-2]) + x[1, 2]*y
outputs: {a: "a[j]", b: "b[k]", flipped: "W[j, k]*x[k, j]"}
""")
    x, y = drive(9, 2, 3, 4, 2, 3), drive(9, 2, 3, 4, seed=1)
    W = np.arange(2) + 10 * np.arange(3)[:, None]
    a = np.einsum("jk,...kj->...j", W, x)
    b, rows = np.zeros((2, 3, 4, 2)), []
    for t in range(9):
        past = lagged(x, 2)[t]
        b = 0.5 * b + np.einsum("...j,...kj->...k", a[t], past) + (x[t, ..., 1, 2] * y[t])[..., None]
        rows.append(b)
    layer = neuron.torch((3, 4), 1.0, dtype=torch.float64)
    out, carry = layer({"x": torch.tensor(x), "y": torch.tensor(y)})
    assert layer.values["W"].shape == (3, 3, 2)
    assert distance(out["a"].detach(), a) <= 1e-14
    assert distance(out["b"].detach(), np.stack(rows)) <= 1e-13
    assert distance(out["flipped"].detach(), np.einsum("jk,...kj->...jk", W, x)) <= 1e-14
    assert tuple(carry["x[t-2]"].shape) == (2, 3, 4, 2, 3)
    check_line(neuron, {"x": x, "y": y}, 1.0, size=(3, 4))


# series


@pytest.mark.parametrize(
    ("name", "value"), [("poly", np.polynomial.polynomial.polyval), ("chebyshev", np.polynomial.chebyshev.chebval)]
)
def test_series(name: str, value: Callable[..., Array]) -> None:
    neuron = of(f"""
axes: {{k: 9}}
parameters: {{c: {{init: "normal(0, 1)", per: [k]}}}}
equations: h = {name}(c, tanh(I))
outputs: h
""")
    layer = neuron.torch(3, 1.0, dtype=torch.float64)
    x = drive(20, 2, 3)
    assert distance(layer(torch.tensor(x))[0].detach(), value(np.tanh(x), layer.values["c"].detach().numpy())) <= 1e-14
    check_line(neuron, x, 1.0)


def test_gradients_of_parameters_with_axes_by_finite_differences() -> None:
    neuron = of(COUPLED.replace("theta*(1", "1000*theta*(1").replace("when:", "surrogate: none, when:"))  # no spikes
    x = torch.tensor(drive(12, 1, 2, 3))
    for schedule in ("eager", "auto"):
        layer = neuron.torch(2, 0.5, schedule=schedule, dtype=torch.float64)
        total = sum((v**2).sum() for v in layer(x)[0].values())
        total.backward()
        for name, at in (("A", (0, 1)), ("A", (2, 0)), ("B", (1,))):
            raw = getattr(layer.parameters_of_neuron, f"raw_{name}")

            def loss(h: float, raw: Any = raw, at: Any = at, layer: Any = layer) -> float:
                with torch.no_grad():
                    raw[at] += h
                    found = sum((v**2).sum() for v in layer(x)[0].values())
                    raw[at] -= h
                return float(found)

            slope = (loss(1e-5) - loss(-1e-5)) / 2e-5
            assert abs(float(raw.grad[at]) - slope) <= 1e-7 * abs(slope)
