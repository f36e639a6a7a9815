"""Numbers of textbooks and of independent solvers: rates, spike counts, thresholds, responses of linear cells."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from scipy.linalg import expm

import neuroode as no

F64 = torch.float64


def kernel(
    model: str, x: Any, steps: int, dt: float, compat: str | None = None, method: str | None = None, **values: Any
) -> np.ndarray:
    """Spikes (steps, lanes) for constant inputs x, one lane each, by the float64 kernel."""
    x = np.atleast_1d(np.asarray(x, float))
    layer = no.load(model, compat=compat).torch(len(x), dt=dt, dtype=F64, method=method)
    layer.set(**{k: v if np.ndim(v) == 0 else torch.tensor(v, dtype=F64) for k, v in values.items()})
    with torch.no_grad():
        return layer(torch.tensor(x).expand(steps, 1, -1).contiguous())[0][:, 0].numpy()


def times(spikes: np.ndarray, dt: float) -> list[np.ndarray]:
    """Spike times of each lane: an event is at the end of its step."""
    return [dt * (np.flatnonzero(s) + 1) for s in spikes.T]


def test_rates_of_lif_converge_to_the_formula_with_order_1() -> None:
    """f = 1/(tau ln(I/(I - 1))): 20.8516, 45.5120, 72.1348, 123.3152 Hz for tau = 20 ms."""
    current = np.array([1.1, 1.5, 2.0, 3.0])
    exact = 1000 / (20 * np.log(current / (current - 1)))
    assert exact == pytest.approx([20.8516, 45.5120, 72.1348, 123.3152], abs=5e-5)
    model = no.load("lif").replace(reset="v = 0")
    errors = []
    for dt in (0.1, 0.05, 0.025, 0.0125, 0.00625):
        layer = model.torch(4, dt=dt, dtype=F64)
        spikes = layer(torch.tensor(current).expand(round(1000 / dt), 1, 4).contiguous())[0][:, 0].detach().numpy()
        found = [1000 / np.diff(t).mean() for t in times(spikes, dt)]
        errors.append(np.abs(np.array(found) - exact).max())
    assert errors[-1] < 0.05
    slope = np.polyfit(np.arange(5), np.log2(errors), 1)[0]
    assert slope == pytest.approx(-1, abs=0.35)  # the last step before a crossing is cut at random


def test_rates_of_a_refractory_lif() -> None:
    """f = 1/(t_r + tau ln(I/(I - 1))) with t_r = 2 ms; the potential rests at 0 meanwhile."""
    current = np.array([1.1, 1.5, 2.0, 3.0])
    spikes = kernel("lif_refractory", current, 100_000, 0.01)
    found = [1000 / np.diff(t).mean() for t in times(spikes, 0.01)]
    assert found == pytest.approx(1000 / (2 + 20 * np.log(current / (current - 1))), rel=1e-3)
    held = no.load("lif_refractory").simulate(np.full((200, 1, 1), 3.0), dt=0.1)
    first = int(held["s"].argmax())
    assert not held["v"][first : first + 21].any()
    assert held["v"][first + 21].item() > 0


SETS = {"a": [0.02, 0.02, 0.1], "b": [0.2] * 3, "c": [-65.0, -50.0, -65.0], "d": [8.0, 2.0, 2.0]}  # RS, CH, FS


@pytest.mark.parametrize(
    ("compat", "method", "dt", "counts"),
    [
        (None, "euler", 0.1, [23, 87, 130]),
        (None, "euler", 1.0, [22, 75, 110]),
        ("script", None, 1.0, [20, 43, 63]),
        (None, None, 0.001, [23, 87, 137]),
        (None, "strang", 0.01, [23, 87, 137]),
    ],
)
def test_spikes_of_izhikevich_in_a_second(compat: str | None, method: str | None, dt: float, counts: list[int]) -> None:
    """I = 10 from v = -65; the last rows are exact, and the published program loses half of the fast spikes.

    The fast spiking train of a coarse step turns on rounding after some forty spikes, which moves its count by two.
    """
    spikes = kernel("izhikevich", [10.0] * 3, round(1000 / dt), dt, compat, method, **SETS)
    assert [int(n) for n in spikes.sum(0)] == pytest.approx(counts, abs=0 if dt == 0.001 else 2)
    if dt == 0.001:
        found = times(spikes, dt)
        assert [t[0] for t in found] == pytest.approx([3.127, 3.127, 3.153], abs=4e-3)
        assert [t[-1] - t[-2] for t in found] == pytest.approx([44.812, 4.780, 7.343], abs=1e-2)


def test_spikes_of_adex_in_a_second() -> None:
    """Brette and Gerstner's set, currents in pA, from rest; a Hopf bifurcation at 627.18 pA."""
    spikes = kernel("adex", [500.0, 650.0, 800.0, 1000.0, 1500.0], 1_000_000, 0.001)
    assert [int(n) for n in spikes.sum(0)] == [0, 5, 17, 31, 61]
    first = [t[0] for t in times(spikes, 0.001)[1:]]
    assert first == pytest.approx([31.630, 17.720, 11.792, 6.667], rel=2e-3)


def test_adex_before_its_spike_follows_an_adaptive_solver() -> None:
    C, g, E, V_T, D, tau, a = 281, 30, -70.6, -50.4, 2, 144, 4

    def field(t: float, z: np.ndarray) -> list[float]:
        v, w = z
        return [(-g * (v - E) + g * D * np.exp((v - V_T) / D) - w + 700) / C, (a * (v - E) - w) / tau]

    wanted = solve_ivp(field, (0, 20), [E, 0], rtol=1e-11, atol=1e-11).y[:, -1]
    errors = []
    for dt in (0.04, 0.02, 0.01):
        found = no.load("adex").simulate(np.full((round(20 / dt), 1, 1), 700.0), dt=dt)
        errors.append(max(abs(found["v"][-1].item() - wanted[0]), abs(found["w"][-1].item() - wanted[1])))
    assert errors[-1] < 1e-6
    assert np.log2(np.array(errors[:-1]) / errors[1:]) == pytest.approx([2, 2], abs=0.02)


def test_glif_5_between_spikes_is_one_matrix_exponential() -> None:
    """States v, i_1, i_2, th_s, th_v and 1; the reset rule and the after-spike jumps by hand."""
    C, g, E, a_v, f_v = 100.0, 5.0, -70.0, 0.005, 0.3
    A = np.zeros((7, 7))
    A[0, [0, 1, 2, 5, 6]] = [-g / C, 1 / C, 1 / C, g * E / C, 1 / C]
    A[1, 1], A[2, 2], A[3, 3] = -1 / 5, -1 / 100, -1 / 20
    A[4, [0, 4, 5]] = [a_v, -1 / 50, -a_v * E]
    step = expm(0.1 * A)
    x = np.random.default_rng(3).normal(250, 150, 3000)
    found = no.load("glif_5").simulate(x[:, None, None])
    z, rows = np.array([E, 0, 0, 0, 0, 1, 0]), []
    for now in x:
        z = step @ [*z[:6], now]
        if z[0] > -50 + z[3] + z[4]:
            z[:4] += [E + f_v * (z[0] - E) - 2 - z[0], -60, -10, 3]
        rows.append(z)
    for k, name in enumerate(("v", "i_1", "i_2", "th_s", "th_v")):
        assert found[name].ravel() == pytest.approx(np.array(rows)[:, k], abs=1e-9), name
    assert 3 < found["s"].sum() < 100


def test_thresholds_of_the_resonator_of_izhikevich() -> None:
    """From rest at b = -1, omega = 10 a pulse of 1.16426 just fires, and one of -1.59400 by rebound."""
    pulses = np.array([1.1641, 1.1644, 1.5, -1.5939, -1.5941, -1.7, -2.0])
    model = no.load("rf", compat="izhikevich")
    x = np.zeros((10_000, 1, 7))
    x[0] = pulses
    layer = model.torch(7, dt=1e-4, dtype=F64)
    layer.set(omega=10.0, b_0=1.0)
    spikes = layer(torch.tensor(x))[0][:, 0].detach().numpy()
    assert list(spikes.any(0)) == [False, True, True, False, True, True, True]
    first = 1e-4 * (spikes.argmax(0) + 1)
    assert first[[2, 5, 6]] == pytest.approx([0.08078, 0.42636, 0.39814], abs=1.1e-4)


@pytest.mark.parametrize(("first", "second"), [(0.10, 0.20), (0.60, 0.40)])
def test_the_resonator_prefers_a_rhythm(first: float, second: float) -> None:
    """Two pulses of 0.8 fire within [0, 0.147] and [0.564, 0.695] of each other, and not between."""
    x = np.zeros((2000, 1, 2))
    x[0] = 0.8
    x[round(first / 1e-3), 0, 0] += 0.8
    x[round(second / 1e-3), 0, 1] += 0.8
    found = no.load("rf", compat="izhikevich").simulate(x, dt=1e-3, parameters={"omega": 10.0, "b_0": 1.0})
    assert list(found["s"][:, 0].any(0)) == [True, False]


def test_perfect_fires_at_its_mean_input_over_the_threshold() -> None:
    found = no.load("perfect").simulate(np.full((1000, 1, 1), 0.3), parameters={"v_th": 1.25})
    assert found["s"].sum() == pytest.approx(1000 * 0.3 / 1.25, abs=1)


IMPULSE = np.eye(200)[:, :1, None]
T = np.arange(1, 201)


def test_alpha_synapse_is_the_alpha_function() -> None:
    g = no.load("alpha_synapse").simulate(IMPULSE, parameters={"tau": 8.0})["g"].ravel()
    assert g == pytest.approx(np.e * T / 8 * np.exp(-T / 8), abs=1e-13)
    assert (g.argmax(), g.max()) == (7, pytest.approx(1, abs=1e-13))


@pytest.mark.parametrize("tau_r", [2.0, 9.0, 10.0 - 1e-9, 10.0, 10.0 + 1e-4])
def test_double_exponential_in_any_order_of_its_constants(tau_r: float) -> None:
    g = no.load("double_exponential").simulate(IMPULSE, parameters={"tau_r": tau_r, "tau_d": 10.0})["g"].ravel()
    between = (np.expm1(T * (1 / 10 - 1 / tau_r)) / (1 / 10 - 1 / tau_r) if tau_r != 10 else T) * np.exp(-T / 10)
    assert g == pytest.approx(between / (tau_r * 10), abs=1e-12)
    assert g.sum() < 1.01


@pytest.mark.parametrize("zeta", [0.0, 0.1, 1.0 - 1e-9, 1.0, 1.0 + 1e-6, 4.0])
def test_damped_oscillator_in_any_regime(zeta: float) -> None:
    found = no.load("damped_oscillator").simulate(np.ones((300, 1, 1)), parameters={"omega": 10.0, "zeta": zeta})
    step = expm(0.01 * np.array([[0, 1, 0], [-100, -20 * zeta, 100], [0, 0, 0]]))
    rows = [np.array([0.0, 0.0, 1.0])]
    for _ in range(300):
        rows.append(step @ rows[-1])
    assert found["x"].ravel() == pytest.approx(np.array(rows)[1:, 0], abs=1e-11)
    if zeta >= 1:
        assert found["x"].max() <= 1
    if 0 < zeta < 0.5:  # the overshoot of a textbook
        assert found["x"].max() - 1 == pytest.approx(np.exp(-np.pi * zeta / np.sqrt(1 - zeta**2)), abs=5e-3)


def test_rc_ladder_spreads_and_delays() -> None:
    """Against the exponential of the cable's matrix; at rest the potentials solve the resistor network."""
    A = np.array([[-3.0, 2, 0], [2, -5, 2], [0, 2, -3]]) / 20
    x = np.random.default_rng(0).normal(0.5, 1, 100)
    found = no.load("rc_ladder").simulate(x[:, None, None])
    drive = np.linalg.solve(A, expm(A) - np.eye(3)) @ [0, 0, 1 / 20]
    z, rows = np.zeros(3), []
    for now in x:
        z = expm(A) @ z + drive * now
        rows.append(z)
    for k in range(3):
        assert found[f"v_{k + 1}"].ravel() == pytest.approx(np.array(rows)[:, k], abs=1e-12)
    rest = no.load("rc_ladder").simulate(np.ones((1000, 1, 1)))
    assert [rest[f"v_{k}"][-1].item() for k in (1, 2, 3)] == pytest.approx(-np.linalg.solve(A, [0, 0, 0.05]), abs=1e-9)


def test_resonant_membrane_resonates_where_its_impedance_peaks() -> None:
    """|Z(w)| = |1/(g + g_1/(1 + i w tau_1) + i w C)| against the amplitude of a long run; 0.0592 rad/ms at the peak."""
    w = np.array([0.01, 0.03, 0.0592, 0.1, 0.3])
    t = 0.1 * np.arange(20_000)
    layer = no.load("resonant_membrane").torch(5, dtype=F64)
    with torch.no_grad():
        v = layer(torch.tensor(np.cos(np.outer(t, w)))[:, None])[0][-10_000:, 0].numpy()
    impedance = abs(1 / (0.05 + 0.2 / (1 + 50j * w) + 1j * w))
    assert v.max(0) == pytest.approx(impedance, rel=5e-3)
    assert impedance.argmax() == 2
    assert abs(1 / 0.25) < impedance.max() / 2
