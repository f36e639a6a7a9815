"""Each model against the recursion of its source, written out by hand in numpy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from recursions import RNG, N, Row, T, close, zeros

import neuroode as no

OMEGA, DAMPING = RNG.uniform(15, 35, N), RNG.uniform(0.1, 1, N)


def test_lif_is_the_exact_solution_for_a_held_input() -> None:
    tau = np.linspace(2, 30, N)
    alpha = np.exp(-1 / tau)

    def step(z: Row, x: np.ndarray) -> Row:
        v = alpha * z["v"] + (1 - alpha) * x
        s = (v > 1).astype(float)
        return {"v": v - s, "s": s}

    close("lif", RNG.normal(1.5, 1, (T, N)), step, zeros("v", "s"), parameters={"tau": tau})


def test_alif_raises_its_threshold_by_beta_a_spike() -> None:
    tau, tau_a = np.linspace(5, 30, N), np.linspace(20, 300, N)

    def step(z: Row, x: np.ndarray) -> Row:
        v = np.exp(-1 / tau) * z["v"] - np.expm1(-1 / tau) * x
        a = np.exp(-1 / tau_a) * z["a"]
        s = (v > 1 + 1.8 * a).astype(float)
        return {"v": v - s, "a": a + s, "s": s}

    close("alif", RNG.normal(4, 1, (T, N)), step, zeros("v", "a", "s"), parameters={"tau": tau, "tau_a": tau_a})


@pytest.mark.parametrize("tau_s", [5.0, 10.0], ids=["apart", "equal"])
def test_cuba_lif_is_the_exact_response_to_impulses(tau_s: float) -> None:
    tau = np.full(N, 10.0)
    a, b = np.exp(-1 / tau), np.exp(-1 / tau_s)
    gain = a / tau if tau_s == 10 else tau_s / (tau_s - tau) * (b - a)  # of the current at the start on v at the end

    def step(z: Row, x: np.ndarray) -> Row:
        i = z["i_s"] + x
        v = a * z["v"] + gain * i
        s = (v > 1).astype(float)
        return {"i_s": b * i, "v": v - s, "s": s}

    x = RNG.poisson(0.4, (T, N)).astype(float)
    close("cuba_lif", x, step, zeros("i_s", "v", "s"), parameters={"tau": tau, "tau_s": tau_s})


def test_li_is_the_readout_of_the_brf_paper() -> None:
    tau = RNG.normal(20, 5, N)
    a = np.exp(-1 / tau)
    close(
        "li",
        RNG.normal(0, 1, (T, N)),
        lambda z, x: {"v": a * z["v"] + (1 - a) * x},
        zeros("v"),
        parameters={"tau": tau},
    )


def test_brf_is_algorithm_1() -> None:
    d = 0.01
    p = (-1 + np.sqrt(1 - (d * OMEGA) ** 2)) / d

    def step(z: Row, x: np.ndarray) -> Row:
        b = p - DAMPING - z["q"]
        u = z["u"] + d * ((b + 1j * OMEGA) * z["u"] + x)
        s = (u.real > 1 + z["q"]).astype(float)
        return {"u": u, "q": 0.9 * z["q"] + s, "s": s}

    x = 40 * np.cos(0.01 * np.outer(np.arange(T), OMEGA))
    start = zeros("q", "s") | zeros("u", dtype=complex)
    for compat in (None, "paper_surrogate"):
        close("brf", x, step, start, compat, parameters={"omega": OMEGA, "b_0": DAMPING})


@pytest.mark.parametrize("compat", [None, "code"])
def test_bhrf(compat: str | None) -> None:
    d = 0.01
    p = 0.005 * OMEGA**2

    def step(z: Row, x: np.ndarray) -> Row:
        b = p + DAMPING + z["q"]
        v = z["v"] + d * z["u"]
        u = z["u"] + d * (-2 * b * z["u"] - OMEGA**2 * (v if compat else z["v"]) + x)
        s = (u > 1 + z["q"]).astype(float)
        return {"u": u, "v": v, "q": 0.9 * z["q"] + s, "s": s}

    x = 200 * np.cos(0.01 * np.outer(np.arange(T), OMEGA))
    close("bhrf", x, step, zeros("u", "v", "q", "s"), compat, parameters={"omega": OMEGA, "b_0": DAMPING})


def _held(z: np.ndarray, x: np.ndarray) -> np.ndarray:
    pole = -DAMPING + 1j * OMEGA
    return np.exp(0.01 * pole) * z + (np.exp(0.01 * pole) - 1) / pole * x


def _euler(z: np.ndarray, x: np.ndarray) -> np.ndarray:
    return z + 0.01 * ((-DAMPING + 1j * OMEGA) * z + x)


@pytest.mark.parametrize(("compat", "flow"), [(None, _held), ("euler", _euler)])
def test_rf(compat: str | None, flow: Callable) -> None:
    def step(z: Row, x: np.ndarray) -> Row:
        u = flow(z["u"], x)
        return {"u": u, "s": (u.real > 1).astype(float)}

    x = 40 * np.cos(0.01 * np.outer(np.arange(T), OMEGA))
    start = zeros("u", dtype=complex) | zeros("s")
    close("rf", x, step, start, compat, parameters={"omega": OMEGA, "b_0": DAMPING})


def test_rf_of_izhikevich_sets_the_state_to_i() -> None:
    def step(z: Row, x: np.ndarray) -> Row:
        u = np.exp(0.01 * (-DAMPING + 1j * OMEGA)) * (z["u"] + x)
        s = (u.imag > 1).astype(float)
        return {"u": np.where(s == 1, 1j, u), "s": s}

    start = zeros("u", dtype=complex) | zeros("s")
    x = 0.6 * RNG.poisson(0.2, (T, N))
    close("rf", x, step, start, "izhikevich", parameters={"omega": OMEGA, "b_0": DAMPING})


def _tc_lif(z: Row, x: np.ndarray, gamma: float, late: bool) -> Row:
    """The released step; `late`: the paper's, which resets inside the next step, after the soma was read."""
    due = z["s"] * late
    d = z["u_d"] - 0.5 * z["u_s"] + x - gamma * due
    u = z["u_s"] + 0.5 * d - due
    s = (u >= 1).astype(float)
    return {"u_d": d - gamma * s * (not late), "u_s": u - s * (not late), "s": s}


@pytest.mark.parametrize("compat", [None, "paper"])
def test_tc_lif(compat: str | None) -> None:
    x = RNG.normal(0.15, 0.3, (T, N))
    close("tc_lif", x, lambda z, row: _tc_lif(z, row, 0.5, compat == "paper"), zeros("u_d", "u_s", "s"), compat, dt=1)


def test_tc_lif_of_the_paper_with_another_gamma_is_the_code() -> None:
    """gamma + beta_1*v_th, found when the sheet of the paper was made, takes one recursion to the other."""
    x = RNG.normal(0.15, 0.3, (T, 1, N))
    code = no.load("tc_lif").simulate(x, dt=1)
    paper = no.load("tc_lif", compat="paper").simulate(x, dt=1, parameters={"gamma": 0.0})
    assert (code["s"] == paper["s"]).all()
    assert np.abs(code["u_s"] - (paper["u_s"] - paper["s"])).max() <= 1e-12
    assert code["s"].sum() > 10
