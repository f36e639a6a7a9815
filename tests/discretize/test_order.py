"""Measured convergence orders, exactness for held inputs, and what the papers' sheets say about each scheme."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import scipy.integrate
from references import distance, neuron

T_END = 1.0

#: text of the equations, their states and right side for scipy; every problem is smooth and takes I = sin(7 t) + 0.5
PROBLEMS = {
    "complex": ("'dz/dt = (-1 + 10i)*z + I : complex'\noutputs: real(z)\n", ["z"], lambda t, y, i: (-1 + 10j) * y + i),
    "pair": (
        "|\n  dx/dt = -x - 4*y + I\n  dy/dt = 4*x - y\n",
        ["x", "y"],
        lambda t, y, i: np.array([-y[0] - 4 * y[1] + i, 4 * y[0] - y[1]]),
    ),
    "pendulum": (
        "|\n  dx/dt = y\n  dy/dt = -sin(x) - 0.1*y + I\n",
        ["x", "y"],
        lambda t, y, i: np.array([y[1], -np.sin(y[0]) - 0.1 * y[1] + i]),
    ),
    "gate": (
        "|\n  dv/dt = -v*g + I\n  dg/dt = (1 - g)*exp(-v) - g/(1 + v^2)\n",
        ["v", "g"],
        lambda t, y, i: np.array([-y[0] * y[1] + i, (1 - y[1]) * np.exp(-y[0]) - y[1] / (1 + y[0] ** 2)]),
    ),
    "qif": ("dv/dt = v^2 - 1 + I\n", ["v"], lambda t, y, i: y**2 - 1 + i),
}


def drive(t: np.ndarray) -> np.ndarray:
    return np.sin(7 * t) + 0.5


def errors(name: str, method: str, steps: list[int]) -> list[float]:
    text, states, f = PROBLEMS[name]
    start = np.zeros(len(states), complex if name == "complex" else float)
    options = {"rtol": 1e-11, "atol": 1e-12, "method": "DOP853"}
    wanted = scipy.integrate.solve_ivp(lambda t, y: f(t, y, drive(t)), (0, T_END), start, **options).y[:, -1]
    found = []
    for n in steps:
        x = drive(np.arange(n) * T_END / n).reshape(-1, 1, 1)
        trace = neuron("equations: " + text).simulate(x, T_END / n, method=method)
        found.append(np.abs(np.array([trace[s][-1, 0, 0] for s in states]) - wanted).max())
    return found


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("complex", "euler"), ("complex", "exact"), ("complex", "exp_euler"),
        ("pair", "euler"), ("pair", "exact"), ("pair", "semi_implicit(x, y)"), ("pair", "semi_implicit(y, x)"),
        ("pair", "exp_euler"), ("pendulum", "euler"), ("pendulum", "semi_implicit(y, x)"), ("pendulum", "auto"),
        ("gate", "euler"), ("gate", "exp_euler"), ("gate", "auto"), ("qif", "euler"), ("qif", "auto"),
    ],
)  # fmt: skip
def test_every_scheme_has_order_1_on_smooth_input(name: str, method: str) -> None:
    """An exact step too: its input is held, which is an error of first order (rf.md, section 2)."""
    found = errors(name, method, [400, 800, 1600, 3200])
    slopes = [np.log2(a / b) for a, b in pairwise(found)]
    assert abs(slopes[-1] - 1) <= 0.1, (found, slopes)


def test_what_a_discretization_says_of_its_order() -> None:
    for method, exact, order in (("euler", False, 1), ("exact", True, None), ("exp_euler", False, 1)):
        found = neuron("equations: " + PROBLEMS["pair"][0]).discretize(method=method)
        assert (found.exact, found.convergence_order) == (exact, order)


@pytest.mark.parametrize("name", ["complex", "pair", "qif"])
def test_exact_for_piecewise_constant_input(name: str) -> None:
    text, states, f = PROBLEMS[name]
    x = np.random.default_rng(0).normal(size=20)
    y = np.zeros(len(states), complex if name == "complex" else float)
    for i in x:
        y = scipy.integrate.solve_ivp(
            lambda t, y, i=i: f(t, y, i), (0, 0.1), y, rtol=1e-12, atol=1e-14, method="DOP853"
        ).y[:, -1]
    trace = neuron("equations: " + text).simulate(x.reshape(-1, 1, 1), 0.1, method="exact")
    assert distance([trace[s][-1, 0, 0] for s in states], y) <= 1e-10


def test_a_conditional_state_held_gates_is_exact_in_itself() -> None:
    """Rush and Larsen: with v clamped, a gate's exp_euler step is its exact relaxation."""
    n = neuron("equations: |\n  dm/dt = a*(1 - m) - b*m\n  a = 0.5*exp(I)\n  b = 0.3 + I^2\n")
    x = np.random.default_rng(1).normal(size=30)
    m, wanted = 0.0, []
    for i in x:
        a, b = 0.5 * np.exp(i), 0.3 + i * i
        m = a / (a + b) + (m - a / (a + b)) * np.exp(-(a + b) * 0.7)
        wanted.append(m)
    for method in ("exact", "exp_euler", "auto"):
        assert distance(n.simulate(x.reshape(-1, 1, 1), 0.7, method=method)["m"].ravel(), wanted) <= 1e-13


# rf.md, section 2

RF = "parameters: {b: -1, w: 10}\nequations: 'dz/dt = (b + i*w)*z + I : complex'\nstates: {z: 1}\noutputs: real(z)\n"
RF_REAL = (
    "parameters: {b: -1, w: 10}\nequations: |\n  dx/dt = b*x - w*y + I\n  dy/dt = w*x + b*y\nstates: {x: s, y: r}\n"
)
OMEGAS = (10.0, 50.0, 85.0)


def transition(method: str, w: float) -> np.ndarray:
    """The 2 x 2 map of one step without input."""
    text = RF_REAL.replace("{b: -1, w: 10}", "{b: -1, w: 10, s: 0, r: 0}")
    values = {"w": w, "s": np.array([1.0, 0.0]), "r": np.array([0.0, 1.0])}
    n = neuron(text.replace("s: 0, r: 0", "s: {value: 0, per: neuron}, r: {value: 0, per: neuron}"))
    trace = n.simulate(np.zeros((1, 1, 2)), 0.01, method=method, parameters=values)
    return np.stack([trace["x"][0, 0], trace["y"][0, 0]])


@pytest.mark.parametrize(
    ("method", "radii", "speeds"),
    [
        ("euler", (0.9950, 1.1091, 1.3048), (10.07, 46.77, 70.95)),
        ("semi_implicit(x, y)", (0.9900, 0.9900, 0.9900), (10.06, 50.80, 88.27)),
        ("exact", (0.99005, 0.99005, 0.99005), OMEGAS),
    ],
)
def test_spectral_radius_and_angular_velocity(method: str, radii: tuple, speeds: tuple) -> None:
    for w, radius, speed in zip(OMEGAS, radii, speeds, strict=True):
        values = np.linalg.eigvals(transition(method, w))
        assert np.abs(values).max() == pytest.approx(radius, abs=6e-5)
        assert np.abs(np.angle(values)).max() / 0.01 == pytest.approx(speed, abs=6e-3)


def test_the_semi_implicit_matrix() -> None:
    b, w, d = -1.0, 50.0, 0.01
    wanted = [[1 + b * d, -w * d], [w * d * (1 + b * d), 1 + b * d - (w * d) ** 2]]
    found = transition("semi_implicit(x, y)", w)
    assert distance(found, wanted) <= 1e-15
    assert np.linalg.det(found) == pytest.approx((1 + b * d) ** 2, abs=1e-15)


@pytest.mark.parametrize("w", OMEGAS)
def test_complex_and_real_form_are_one_neuron(w: float) -> None:
    x = np.random.default_rng(2).normal(size=(1000, 1, 1))
    real = neuron(RF_REAL.replace("w: 10}", "w: 10, s: 1, r: 0}")).simulate(x, 0.01, parameters={"w": w})
    both = neuron(RF).simulate(x, 0.01, parameters={"w": w})["z"]
    assert distance(real["x"] + 1j * real["y"], both) <= 1e-12


def test_a_thousand_steps_of_constant_input_stay_exact() -> None:
    for pole in (-1 + 10j, -1 + 85j, -1e-9 + 0j, 1e-10j):
        found = neuron(RF).simulate(np.ones((1000, 1, 1)), 0.01, parameters={"b": pole.real, "w": pole.imag})["z"]
        t = 0.01 * np.arange(1, 1001)
        gain = np.expm1(pole * t) / pole if abs(pole) > 1e-6 else t * (1 + pole * t / 2)
        assert distance(found.ravel(), np.exp(pole * t) + gain) <= 1e-12


def test_impulses_at_grid_points_are_exact_and_held_input_differs_by_phi_1() -> None:
    x = np.random.default_rng(0).poisson(0.1, 300).astype(float)
    pole, k = -1 + 50j, np.arange(300)
    wanted = [np.sum(np.exp(pole * 0.01 * (t + 1 - k[: t + 1])) * x[: t + 1]) for t in k]
    text = RF.replace("states: {z: 1}", "inputs: {I: impulse}")
    found = neuron(text).simulate(x.reshape(-1, 1, 1), 0.01, parameters={"w": 50})["z"].ravel()
    assert distance(found, wanted) <= 1e-12
    held = neuron(RF.replace("states: {z: 1}\n", "")).simulate(x.reshape(-1, 1, 1), 0.01, parameters={"w": 50})["z"]
    phi_1 = np.expm1(pole * 0.01) / (pole * 0.01)
    assert distance(held.ravel(), np.array(wanted) * np.exp(-pole * 0.01) * 0.01 * phi_1) <= 1e-12


# textbook.md


@pytest.mark.parametrize(("current", "rate"), [(1.1, 20.8516), (1.5, 45.5120), (2.0, 72.1348), (3.0, 123.3152)])
def test_the_rate_of_a_lif_neuron(current: float, rate: float) -> None:
    """tau ln(RI/(RI - theta)) between spikes, up to one step of 0.01 ms late."""
    n = neuron("parameters: {tau: 20}\nequations: dv/dt = (-v + I)/tau\nspike: v > 1\nreset: v = 0\n")
    times = np.flatnonzero(n.simulate(np.full((30000, 1, 1), current), 0.01)["s"].ravel())
    between = np.diff(times) * 0.01
    assert np.all(between == pytest.approx(between[0]))
    assert 0 <= between[0] - 1000 / rate <= 0.0101


def test_the_impulse_response_of_two_decays() -> None:
    """sum_j alpha^j beta^(t-j) = (alpha^(t+1) - beta^(t+1))/(alpha - beta), and its limit for alpha = beta."""
    n = neuron("parameters: {a: 0.9, b: 0.8}\nequations: |\n  c[t] = a*c[t-1] + I\n  u[t] = b*u[t-1] + c\n")
    t, pulse = np.arange(60), np.eye(60)[0].reshape(-1, 1, 1)
    found = n.simulate(pulse, 1)["u"].ravel()
    assert distance(found, (0.9 ** (t + 1) - 0.8 ** (t + 1)) / 0.1) <= 1e-12
    assert distance(n.simulate(pulse, 1, parameters={"a": 0.8})["u"].ravel(), (t + 1) * 0.8**t) <= 1e-12


def test_the_alpha_neuron_peaks_where_the_sheet_says() -> None:
    a, b = 0.9, 0.8
    tau = np.log(a) / (np.log(b) - np.log(a)) + 1
    n = neuron(
        f"equations: |\n  e[t] = {a}*e[t-1] + I\n  n[t] = {b}*n[t-1] - I\n  u = {float(tau)!r}*(e + n)\noutputs: u\n"
    )
    u = n.simulate(np.eye(30)[0].reshape(-1, 1, 1), 1)["u"].ravel()
    assert (int(u.argmax()), u.max()) == (6, pytest.approx(0.510191, abs=5e-7))


@pytest.mark.parametrize("tau_s", [5.0, 10.0, 10.0 * (1 + 1e-9)])
def test_cuba_against_its_closed_form(tau_s: float) -> None:
    text = (
        "inputs: {I: impulse}\nparameters: {tau: 10, q: 5}\nequations: |\n  dj/dt = -j/q + I\n  dv/dt = (-v + j)/tau\n"
    )
    v = neuron(text).simulate(np.eye(80)[0].reshape(-1, 1, 1), 0.5, parameters={"q": tau_s})["v"].ravel()
    t = 0.5 * np.arange(1, 81)
    near = abs(tau_s - 10) < 1e-6
    wanted = t / 10 * np.exp(-t / 10) if near else tau_s / (10 - tau_s) * (np.exp(-t / 10) - np.exp(-t / tau_s))
    assert distance(v, wanted) <= (1e-8 if near else 1e-13)


def test_fitzhugh_nagumo_rests_where_the_sheet_says() -> None:
    n = neuron(
        """
equations: |
  dv/dt = v - v^3/3 - w + I
  dw/dt = 0.08*(v + 0.7 - 0.8*w)
states: {v: -1.19940804, w: -0.62426004}
"""
    )
    found = n.simulate(np.zeros((2000, 1, 1)), 0.1, method="rk4")  # a split step rests beside it, by dt^2
    assert found["v"][-1, 0, 0] == pytest.approx(-1.19940804, abs=1e-7)
    assert found["w"][-1, 0, 0] == pytest.approx(-0.62426004, abs=1e-7)
