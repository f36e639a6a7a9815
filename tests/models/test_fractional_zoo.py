"""f_if, f_lif, f_alif against closed forms: power laws, erfcx, and superposed relaxations at the spikes they found."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import erfcx, gamma

import neuroode as no

Array = np.ndarray


def run(
    name: str, current: float, steps: int, dt: float, compat: str | None = None, **values: float
) -> dict[str, Array]:
    x = np.full((steps, 1, 1), current)
    found = no.load(name, compat=compat).simulate(x, dt, parameters=values)
    return {n: v[:, 0, 0] for n, v in found.items()}


def test_spike_times_of_f_if_follow_a_power_law() -> None:
    """I t^a/(tau Gamma(1 + a)) reaches n at the n-th spike: a constant current does not fire at a constant rate."""
    dt, a = 0.01, 0.7
    found = run("f_if", 1.5, 2000, dt, alpha=a)
    wanted = (np.arange(1, 12) * 2.0 * gamma(1 + a) / 1.5) ** (1 / a)
    wanted = np.ceil(wanted[wanted < 20] / dt - 1e-9)
    assert np.flatnonzero(found["s"]) + 1 == pytest.approx(wanted, abs=0)
    assert len(wanted) == 6


@pytest.mark.parametrize("name", ["f_lif", pytest.param("f_alif", marks=pytest.mark.slow)])
def test_a_run_is_a_sum_of_relaxations(name: str) -> None:
    dt, tau, current = 0.02, 2.0, 8.0
    found = run(name, current, 1000, dt, alpha=0.5)
    t, lam = dt * np.arange(1, 1001), 1 / tau

    def sum_of(rate: float) -> Array:
        since = [t - dt * (k + 1) for k in np.flatnonzero(found["s"])]
        return sum(np.where(s > 1e-9, erfcx(rate * np.sqrt(np.maximum(s, 0))), 0) for s in since)

    v = current * (1 - erfcx(lam * np.sqrt(t))) - sum_of(lam)
    assert abs(found["v.before"] - v).max() < 2e-6
    threshold = 1 + (1.8 * sum_of(0.1) if name == "f_alif" else 0)
    assert found["s"].sum() == {"f_lif": 18, "f_alif": 4}[name]
    assert ((v >= threshold) == (found["s"] == 1)).all()


def test_order_one_is_the_ordinary_neuron() -> None:
    lif = no.load("lif").replace(spike="v >= v_th").simulate(np.full((200, 1, 1), 1.7), 1.0, parameters={"tau": 8.0})
    found = run("f_lif", 1.7, 200, 1.0, alpha=1.0, tau=8.0)
    assert (found["s"] == lif["s"][:, 0, 0]).all()
    assert abs(found["v"] - lif["v"][:, 0, 0]).max() < 1e-12


@pytest.mark.slow
def test_a_restarted_neuron_fires_at_a_constant_rate() -> None:
    """It forgets, so all intervals are the same; with a jump they change."""
    for compat, constant in (("restart", True), (None, False)):
        gaps = np.diff(np.flatnonzero(run("f_lif", 4.0, 500, 0.02, compat, alpha=0.6)["s"]))
        assert (np.ptp(gaps) == 0) == constant


@pytest.mark.slow
def test_a_deviation_leaks_exponentially() -> None:
    found = run("f_alif", 2.5, 400, 0.05, "leak")
    after = np.flatnonzero(found["s"])[0]
    a = found["a"][after : after + 10]
    assert a == pytest.approx(np.exp(-0.05 * np.arange(10) / 10), rel=1e-12)
