"""Checkable claims of the sheet on balanced resonate-and-fire neurons (papers/brf, section e)."""

from __future__ import annotations

import numpy as np
import pytest
from references import distance, neuron

import neuroode as no
from neuroode.program import interpret

D = 0.01
RNG = np.random.default_rng(5)
BRF = no.load("brf")
RF = """
parameters: {b: 0, w: 0}
method: euler
equations: "du/dt = (b + i*w)*u + I : complex"
states: {u: 1}
outputs: real(u)
"""
INSIDE = """
parameters:
  omega: {value: 1, per: neuron}
  b_0: {value: 1, per: neuron}
  q_0: {value: 0, per: neuron}
method: euler
states: {u: 1, q: q_0}
equations: |
  b = (-1 + sqrt(1 - (dt*omega)^2))/dt - b_0 - q[t-1]
  du/dt = (b + i*omega)*u + I : complex
  q[t] = 0.9*q[t-1]
outputs: real(u)
"""
HARMONIC = """
parameters: {w: {value: 1, per: neuron}, s: {value: 0, per: neuron}, r: {value: 0, per: neuron}}
method: euler
states: {u: s, v: r}
equations: |
  b = dt*w^2/2
  du/dt = -2*b*u - w^2*v + I
  dv/dt = u
"""
LATE_Q = """
method: euler
equations: |
  b = -13.4 - 0.5 - {q}
  du/dt = (b + 50i)*u + I : complex
  q[t] = {late}
spike: real(u) > 1 + {q}
"""


def boundary(w: np.ndarray) -> np.ndarray:
    return (-1 + np.sqrt(1 - (D * w) ** 2)) / D


def euler_factor(b: float, w: float) -> complex:
    return neuron(RF).simulate(np.zeros((1, 1, 1)), D, parameters={"b": b, "w": w})["u"][0, 0, 0]


def test_on_the_divergence_boundary_an_euler_step_is_a_rotation() -> None:
    for w in RNG.uniform(0, 99.9, 25):
        p = float(boundary(w))
        assert abs(abs(euler_factor(p, w)) - 1) <= 1e-15 * 5
        assert abs(np.angle(euler_factor(p, w)) - np.arcsin(D * w)) <= 1e-14
        for eps in (1e-3, 0.1, 1.0):
            assert abs(euler_factor(p - eps, w)) < 1 < abs(euler_factor(p + eps, w))


def test_the_rotation_form_is_algorithm_1() -> None:
    n, steps = 16, 784
    omega, b_0 = RNG.uniform(15, 50, n), RNG.uniform(0.1, 1, n)
    x = 40 * np.cos(D * np.outer(np.arange(steps), omega)) + RNG.normal(size=(steps, n))
    found = BRF.simulate(x[:, None, :], parameters={"omega": omega, "b_0": b_0})
    phi, u, q, spikes = np.arcsin(D * omega), np.zeros(n, complex), np.zeros(n), 0.0
    for t in range(steps):
        u = (np.exp(1j * phi) - D * (b_0 + q)) * u + D * x[t]
        s = (u.real > 1 + q).astype(float)
        q = 0.9 * q + s
        spikes += s.sum()
        assert np.array_equal(s, found["s"][t, 0])
        assert np.abs(u - found["u"][t, 0]).max() <= 1e-12
    assert spikes > 100


def test_the_impulse_response() -> None:
    n, b, w = 200, -1.0, 30.0
    text = RF.replace("states: {u: 1}\n", "")
    found = neuron(text).simulate(np.eye(n)[0].reshape(-1, 1, 1), D, parameters={"b": b, "w": w})["u"].ravel()
    assert distance(found, D * (1 + D * (b + 1j * w)) ** np.arange(n)) <= 1e-14


def test_the_multiplier_stays_inside_the_unit_circle_for_every_q() -> None:
    """q at its start sets the damping of the first step: |lambda| of q in [0, 10], omega in [0, 99], b_0 in [0, 5]."""
    n = 4000
    values = {"omega": RNG.uniform(0, 99, n), "b_0": RNG.uniform(0, 5, n), "q_0": RNG.uniform(0, 10, n)}
    u = neuron(INSIDE).simulate(np.zeros((1, 1, n)), D, parameters=values)["u"][0, 0]
    assert np.abs(u).max() <= 1 + 1e-12
    factor = 1 + D * (boundary(values["omega"]) - values["b_0"] - values["q_0"] + 1j * values["omega"])
    assert np.abs(u - factor).max() <= 1e-13


VARIANTS = {  # threshold raised, damping raised -> spikes of the sheet (Fig. 2)
    (False, False): 457, (True, False): 319, (False, True): 328, (True, True): 122,
}  # fmt: skip


@pytest.mark.parametrize("variant", VARIANTS)
def test_refractory_period_and_smooth_reset_lower_the_count(variant: tuple[bool, bool]) -> None:
    """b = -1 at omega = 10, cosine drive of amplitude 15, 1000 steps."""
    threshold, damping = variant
    b = f"(-1{' - q[t-1]' if damping else ''})"
    text = f"method: euler\nequations: |\n  du/dt = ({b} + 10i)*u + I : complex\n  q[t] = 0.9*q[t-1] + s\n"
    text += f"spike: real(u) > 1{' + q[t-1]' if threshold else ''}\n" + ("" if any(variant) else "outputs: s + 0*q\n")
    x = 15 * np.cos(10 * D * np.arange(1000)).reshape(-1, 1, 1)
    assert abs(neuron(text).simulate(x, D)["s"].sum() - VARIANTS[variant]) <= 3


def test_q_decays_no_faster_than_gamma_after_a_spike() -> None:
    x = np.where(np.arange(60) < 5, 200.0, 0.0).reshape(-1, 1, 1)
    found = BRF.simulate(x, parameters={"omega": 20.0, "b_0": 0.5})
    first = int(np.flatnonzero(found["s"].ravel())[0])
    assert np.all(found["q"].ravel()[first:] >= 0.9 ** np.arange(60 - first) - 1e-15)


def test_which_q_is_read_matters() -> None:
    """q[t] in the place of q[t-1] (q decayed before it is used) moves more than one step in a hundred."""
    x = 40 * np.cos(0.5236 * np.arange(2000)).reshape(-1, 1, 1) + RNG.normal(size=(2000, 1, 1))
    before = neuron(LATE_Q.format(q="q[t-1]", late="0.9*q[t-1] + s")).simulate(x, D)["s"]
    after = neuron(LATE_Q.format(q="q", late="0.9*q[t-1] + 0.9*s[t-1]")).simulate(x, D)["s"]
    assert np.mean(before != after) > 0.01


def test_the_harmonic_neuron_on_its_boundary() -> None:
    """BHRF, explicit Euler at b = omega^2 d/2: spectral radius 1."""
    n = neuron(HARMONIC)
    for w in (5.0, 30.0, 60.0, 99.0):
        values = {"w": w, "s": np.array([1.0, 0.0]), "r": np.array([0.0, 1.0])}
        trace = n.simulate(np.zeros((1, 1, 2)), D, parameters=values)
        A = np.stack([trace["u"][0, 0], trace["v"][0, 0]])
        assert abs(np.abs(np.linalg.eigvals(A)).max() - 1) <= 1e-12
        assert distance(A, [[1 - 2 * D * (D * w**2 / 2), -(w**2) * D], [D, 1]]) <= 1e-15


def brf_slope(compat: str | None, m: np.ndarray) -> np.ndarray:
    """The surrogate's derivative as the adjoint computes it."""
    program = no.load("brf", compat=compat).program()
    slot = program.events[0]
    known = interpret.prologue(program, {"dt": D, "p.omega": 20, "p.b_0": 1, "p.theta_c": 1, "p.gamma": 0.9})
    constants = tuple(a for a in program.body if a.op == "const")
    return np.asarray(interpret.evaluate((*constants, *slot.slope), known | {slot.margin: m})[slot.slope_id])


@pytest.mark.parametrize(
    ("compat", "at_zero", "values", "area"),
    [
        (None, 0.4388, (-0.0121, 0.0432, 0.2586), 0.425),
        ("paper_surrogate", 0.85, (-0.182, -0.128, 0.402), -0.815),
    ],
)
def test_the_surrogate_of_the_code_and_of_the_paper(
    compat: str | None, at_zero: float, values: tuple, area: float
) -> None:
    m = np.linspace(-40, 40, 80001)
    found = brf_slope(compat, m)
    assert found[40000] == pytest.approx(at_zero, abs=6e-5)
    assert [found[np.abs(m - x).argmin()] for x in (-3, -1, -0.5)] == pytest.approx(values, abs=6e-4)
    assert found.sum() * 1e-3 == pytest.approx(area, abs=6e-4)
