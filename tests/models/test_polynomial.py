"""Learnable polynomial neurons against a LIF and numpy's polynomials; the theta neuron (lnm.md, qif.md)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from oracles import assert_same, by_interpreter, by_layer
from scipy.integrate import quad, solve_ivp

import neuroode as no

F64 = torch.float64
COMPATS = (None, "soft_reset", "soft_reset_after_map", "reset_after_map", "ode", "chebyshev", "contractive")
THETA = {1: [0.1, 0.6], 2: [0.1, 0.6, 0.2], 3: [0.1, 0.6, 0.2, -0.1], 4: [0, 0.6, 0.1, -0.1, 0.05],
         5: [0, 0.6, 0.1, -0.1, 0.05, -0.02]}  # fmt: skip


def of_degree(degree: int, compat: str | None = None) -> no.Neuron:
    return no.load("lnm", compat=compat).with_axes({"power": degree + 1})


def drive(*shape: int, seed: int = 0) -> torch.Tensor:
    return 0.8 * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=F64) + 0.3


# a LIF

LIF: dict[str | None, Any] = {
    None: {"reset": "v = 0"},
    "soft_reset": {"reset": "v -= v_th"},
    "soft_reset_after_map": {"reset": {"do": "v -= v_th", "when": "next_step"}},
}


def leaky(compat: str | None) -> no.Neuron:
    """v[t] = exp(-1/tau) v[t-1] + I, with the guard, reset and surrogate of lnm."""
    flow = {"inputs": {"I": {"kind": "impulse", "at": "end"}}, "equations": "dv/dt = -v/tau + I", "spike": "v >= v_th"}
    found = no.load("lif").replace(**flow, **LIF[compat]).add(surrogate={"kind": "rectangle", "width": 0.5})
    tau = {"tau": {"value": 20, "domain": "positive", "transform": "none"}, "v_th": 1}
    return found.replace(dt=1, parameters=tau)


@pytest.mark.parametrize(("schedule", "dtype"), [("eager", F64), ("sequential", F64), ("sequential", torch.float32)])
@pytest.mark.parametrize("compat", LIF)
def test_of_degree_one_it_is_a_lif(compat: str | None, dtype: torch.dtype, schedule: str) -> None:
    """Spikes and potentials bit for bit; gradients of inputs, and of beta through tau, to rounding."""
    tau = torch.tensor(1.7, dtype=dtype)
    ours, theirs = (n.torch(6, dtype=dtype, schedule=schedule) for n in (of_degree(1, compat), leaky(compat)))
    theirs.set(tau=tau)
    beta = torch.exp(-1 / theirs.values["tau"].detach())
    ours.set(theta=torch.stack([torch.zeros_like(beta), beta]))
    x = [drive(64, 3, 6).to(dtype).requires_grad_() for _ in range(2)]
    rows = [layer.trace(each) for layer, each in zip((ours, theirs), x, strict=True)]
    assert torch.equal(rows[0]["s"], rows[1]["s"])
    assert torch.equal(rows[0]["u"], rows[1]["v"])
    assert 0.1 < rows[0]["s"].detach().mean() < 0.6
    weights = torch.randn(64, 3, 6, generator=torch.Generator().manual_seed(1), dtype=F64).to(dtype)
    for layer, each in zip((ours, theirs), x, strict=True):
        (layer(each)[0] * weights).sum().backward()
    bound = 1e-12 if dtype == F64 else 1e-4
    assert (x[0].grad - x[1].grad).abs().max() <= bound * x[1].grad.abs().max()
    slope = ours.parameters_of_neuron.raw_theta.grad[1] * beta / tau**2
    wanted = theirs.parameters_of_neuron.raw_tau.grad
    assert abs(slope - wanted) <= bound * abs(wanted)


@pytest.mark.parametrize("compat", ["chebyshev", "contractive"])
def test_a_series_starts_at_the_same_lif(compat: str) -> None:
    """f(u) = u/2 from u_lo on; the series sums the same numbers in another order."""
    x = drive(64, 2, 4).clamp(-0.9, 3)  # u stays above -2
    series, plain = (no.load("lnm", compat=c).simulate(x.numpy()) for c in (compat, None))
    assert np.abs(series["u"] - plain["u"]).max() <= 1e-14
    assert np.array_equal(series["s"], plain["s"])


# polynomials of any degree


def reference(f: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor, compat: str | None) -> torch.Tensor:
    """Spikes of u[t] = f(u[t-1]) + x[t], a step a line, by autograd; the slope of a spike is 1 within 0.5 of 1."""
    u = s = torch.zeros_like(x[0])
    spikes = []
    for each in x.unbind(0):
        before = u - s if compat == "soft_reset" else u * (1 - s) if compat is None else u
        u = f(before) * (1 - s) + each if compat == "reset_after_map" else f(before) + each
        u = u - s if compat == "soft_reset_after_map" else u
        slope = ((u - 1).abs() <= 0.5).to(u)
        s = (u >= 1).to(u) + slope * (u - u.detach())
        spikes.append(s)
    return torch.stack(spikes)


def horner(theta: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    """Powers written out: not how the compiler does it."""
    return lambda u: sum((c * u**k for k, c in enumerate(theta)), torch.zeros_like(u))


@pytest.mark.parametrize("degree", THETA)
@pytest.mark.parametrize("compat", COMPATS[:4])
def test_values_and_gradients_of_every_degree(compat: str | None, degree: int) -> None:
    theta = torch.tensor(THETA[degree], dtype=F64, requires_grad=True)
    x = (0.5 * drive(12, 3, 4)).requires_grad_()
    g = torch.randn(12, 3, 4, generator=torch.Generator().manual_seed(1), dtype=F64)
    wanted = reference(horner(theta), x, compat)
    slopes = torch.autograd.grad((wanted * g).sum(), [x, theta])
    layer = of_degree(degree, compat).torch(4, dtype=F64, schedule="eager").set(theta=theta.detach())
    ours = layer(x)[0]
    assert torch.equal(ours.detach(), wanted.detach())
    assert wanted.sum() > 2
    found = torch.autograd.grad((ours * g).sum(), [x, layer.parameters_of_neuron.raw_theta])
    for a, b in zip(found, slopes, strict=True):
        assert (a - b).abs().max() <= 1e-10 * b.abs().max()


@pytest.mark.parametrize("compat", COMPATS[1:])
def test_every_form_is_that_of_the_interpreter(compat: str) -> None:
    layer = no.load("lnm", compat=compat).torch(4, dtype=F64, schedule="sequential")
    name = "c" if compat in ("chebyshev", "contractive") else "theta"
    bent = torch.tensor([-0.2, 0.9, 0.5, -0.3] if name == "c" else [0.05, 0.5, 0.2, -0.1], dtype=F64)
    layer.set(**{name: bent - (compat == "ode") * torch.tensor([0, 1.0, 0, 0], dtype=F64)})
    x = {"x": drive(30, 2, 4) * (2 if compat == "ode" else 1)}
    found = by_layer(layer, x)
    assert 0.02 < found.outputs["s"].mean() < 0.9
    assert_same(found, by_interpreter(layer, x))


def test_horner_is_the_power_form_in_float32() -> None:
    """lnm.md (e) 2: |u| <= 2, degree up to 5, relative to the sum of the terms."""
    u = np.linspace(-2, 2, 101).astype(np.float32)
    for degree in range(1, 6):
        theta = np.random.default_rng(degree).normal(size=degree + 1)
        neuron = no.Neuron("power", dt=1, axes={"power": degree + 1}, outputs="h", equations="h = poly(theta, I)",
                           parameters={"theta": no.Parameter(init="0", per="power")})  # fmt: skip
        layer = neuron.torch(101, schedule="eager")
        ours = layer.set(theta=torch.tensor(theta))(torch.tensor(u)[None, None])[0][0, 0].detach().double().numpy()
        terms = theta[:, None].astype(np.float32) * u.astype(float) ** np.arange(degree + 1)[:, None]
        assert np.abs(ours - terms.sum(0)).max() <= 1e-6 * np.abs(terms).sum(0).max()


# slopes


def slope(compat: str, c: np.ndarray, points: int = 101) -> np.ndarray:
    """Largest slope between neighbours of a grid of [u_lo, v_th], for each row of c: by one step of the map."""
    grid = np.linspace(-2, 1, points)
    array = {"init": "0", "per": ["neuron", "power"]}
    neuron = of_degree(c.shape[1] - 1, compat).replace(parameters={"c": array}).remove("reset")
    neuron = neuron.add(states={"u": "u_0"}, parameters={"u_0": no.Parameter(0.0, per="neuron")})
    size = (len(c), points)
    values = {"c": np.broadcast_to(c[:, None], (*size, c.shape[1])), "u_0": np.broadcast_to(grid, size)}
    u = neuron.simulate(np.zeros((1, 1, *size)), size=size, parameters=values)["u"][0, 0]
    return np.abs(np.diff(u) / np.diff(grid)).max(1)


def test_the_bound_of_a_series_holds_for_any_coefficients() -> None:
    """|T_k'| <= k^2: divided by what it exceeds, the sum keeps every slope at 1 at most; undivided it does not."""
    c = np.random.default_rng(0).normal(size=(500, 4)) * np.random.default_rng(1).choice([0.1, 1, 10], (500, 1))
    assert slope("contractive", c).max() <= 1 + 1e-9
    assert slope("contractive", c).max() > 0.95  # at the ends all T_k' have their largest slope
    assert slope("chebyshev", c).max() > 10
    safe = (np.arange(4) ** 2 * np.abs(c)).sum(1) <= 1.5
    assert 20 < safe.sum() < 480
    assert slope("chebyshev", c[safe]).max() <= 1 + 1e-9


def test_the_check_of_a_series_says_whether_it_holds() -> None:
    from neuroode.cli.statements import verdicts

    neuron = no.load("lnm", compat="chebyshev")
    assert [v.ok for v in verdicts(neuron.spec)] == [True]
    steep = {"c": {"init": "where(power < 2, 0.75, 0.2)", "per": ["power"]}}
    assert [v.ok for v in verdicts(neuron.replace(parameters=steep).spec)] == [False]


# rates


def test_rate_of_a_lif_in_steps() -> None:
    """u_n = x (1 - beta^n)/(1 - beta) reaches 1 at the first n with beta^n <= 1 - (1 - beta)/x."""
    x = np.array([0.51, 0.55, 0.7, 0.9, 1.5])
    spikes = no.load("lnm").simulate(np.broadcast_to(x, (400, 1, 5)), size=5)["s"][:, 0]
    wanted = np.ceil(np.log(1 - 0.5 / x) / np.log(0.5)).astype(int)
    assert wanted.tolist() == [6, 4, 2, 2, 1]
    for each, n in zip(spikes.T, wanted, strict=True):
        assert np.flatnonzero(each).tolist() == list(range(n - 1, 400, n))


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_rates_of_the_flow_converge_to_the_integral(degree: int) -> None:
    """Time from 0 to 1 is tau times the integral of 1/(f(u) + I), for degree 1 tau log(I/(I - 1))."""
    theta = {1: [0, -1], 2: [0.1, -1, 0.4], 3: [0.1, -1, 0.4, 0.3]}[degree]
    current = np.array([1.2, 1.5, 3.0])
    exact = [quad(lambda u, i=i: 2 / (np.polyval(theta[::-1], u) + i), 0, 1)[0] for i in current]
    if degree == 1:
        assert exact == pytest.approx(2 * np.log(current / (current - 1)), rel=1e-12)
    errors = []
    for dt in (0.02, 0.01, 0.005):
        x = np.broadcast_to(current, (round(20 / dt), 1, 3))
        spikes = of_degree(degree, "ode").simulate(x, dt, size=3, parameters={"theta": theta})["s"][:, 0]
        found = [dt * np.diff(np.flatnonzero(s)).mean() for s in spikes.T]
        errors.append(np.abs(np.array(found) - exact).max())
        assert errors[-1] <= 1.01 * dt + (dt if degree == 3 else 0)  # a spike is at the end of its step
    assert errors[-1] < errors[0]


def test_the_flow_of_degree_two_takes_the_moebius_step() -> None:
    """lnm.md (e) 9: against solve_ivp; the Euler map differs by O(dt)."""
    theta = [0.2, -1, 0.4]
    free = of_degree(2, "ode").replace(parameters={"v_th": 100})
    x = drive(30, 1, 1).numpy()
    ours = free.simulate(x, parameters={"theta": theta})["u"][:, 0, 0]
    u, wanted = 0.0, []
    for each in x[:, 0, 0]:
        u = solve_ivp(lambda _, u, i=each: (np.polyval(theta[::-1], u) + i) / 2, (0, 1), [u], "DOP853",
                      rtol=1e-12, atol=1e-13).y[0, -1]  # fmt: skip
        wanted.append(u)
    assert np.abs(ours - wanted).max() <= 1e-9
    fine = [np.repeat(x, n, axis=0) for n in (8, 16, 32)]
    off = [np.abs(free.simulate(f, dt=1 / n, method="euler", parameters={"theta": theta})["u"][n - 1 :: n, 0, 0]
                  - wanted).max() for f, n in zip(fine, (8, 16, 32), strict=True)]  # fmt: skip
    assert np.abs(np.log2(np.divide(off[:-1], off[1:])) - 1).max() < 0.1


def test_the_interval_of_the_theta_neuron() -> None:
    """pi/sqrt(I) from infinity to infinity (qif.md (e) 5), counted to a step over many intervals."""
    current = np.array([0.5, 1, 2, 8])
    spikes = no.load("theta").simulate(np.broadcast_to(current, (4000, 1, 4)), dt=0.01, size=4)["s"][:, 0]
    for i, each in zip(current, spikes.T, strict=True):
        at = np.flatnonzero(each)
        interval = 0.01 * (at[-1] - at[0]) / (len(at) - 1)
        assert abs(interval - np.pi / np.sqrt(i)) <= 0.01 / (len(at) - 1)


def test_the_theta_neuron_is_the_deviation_of_qif() -> None:
    x = drive(300, 2, 3).numpy()
    other = no.load("qif", compat="theta").replace(parameters={"a": {"value": 1, "domain": "positive"}, "u_2": 0})
    wanted = other.simulate(x, dt=0.1)
    found = no.load("theta").simulate(x, dt=0.1)
    assert np.array_equal(found["s"], wanted["s"])
    assert found["s"].sum() > 20
    inner = np.abs(wanted["v"]) < 1e3
    assert np.abs(found["v"] - wanted["v"])[inner].max() < 1e-6
