"""Sums of exponentials against Mittag-Leffler functions, over orders, leaks, lengths and tolerances."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import sympy as sp
from scipy.special import digamma, gamma

from neuroode.discretize.soe_grid import grid
from neuroode.discretize.soe_kernels import integral, relaxation
from neuroode.neuron import Neuron
from tests import fractional_oracles as oracles

A, LAM, DT = sp.Symbol("a", real=True), sp.Symbol("lam", positive=True), sp.Symbol("dt", positive=True)


@cache
def leaky(steps: int, tolerance: float) -> oracles.Numbers:
    return oracles.Numbers(relaxation("v", A, LAM, DT, grid(steps, tolerance)))


@cache
def bare() -> oracles.Numbers:
    return oracles.Numbers(integral("v", A, DT, grid(10_000, 1e-6)))


def test_few_modes() -> None:
    """With the one that is an ordinary leak."""
    for steps, tolerance, most in ((10_000, 1e-6, 43), (32_768, 1e-6, 45), (32_768, 1e-3, 20), (32_768, 1e-8, 69)):
        kernel = relaxation("v", A, LAM, DT, grid(steps, tolerance))
        assert len(kernel.modes) <= most


@pytest.mark.parametrize("tolerance", [1e-3, 1e-6, pytest.param(1e-9, marks=pytest.mark.slow)])
def test_half_order_is_erfcx(tolerance: float) -> None:
    kernel, t = leaky(10_000, tolerance), np.geomspace(1e-4, 1, 60)
    for lam in (1e-3, 0.3, 1.0, 30.0, 1e3):
        w, d = kernel(a=0.5, lam=lam, dt=1e-4)
        found = np.exp(-np.outer(t / 1e-4, d)) @ w
        assert abs(found - oracles.relaxation_half(t, lam)).max() < tolerance


@pytest.mark.parametrize("a", [0.3, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999])
def test_every_order_keeps_the_tolerance(a: float) -> None:
    kernel, t = leaky(10_000, 1e-6), np.geomspace(1e-4, 1, 7)
    for lam in (0.5, 20.0):
        w, d = kernel(a=a, lam=lam, dt=1e-4)
        wanted = np.array([oracles.relaxation(a, lam, x) for x in t])
        assert abs(np.exp(-np.outer(t / 1e-4, d)) @ w - wanted).max() < 1e-6


def test_values_of_the_literature() -> None:
    """E_a(-1), papers/fspikede.md."""
    table = {0.3: 0.456594408330, 0.5: 0.427583576156, 0.7: 0.399611978116, 0.9: 0.376066021425}
    kernel = leaky(10_000, 1e-6)
    for a, wanted in table.items():
        w, d = kernel(a=a, lam=1.0, dt=0.01)
        assert abs(np.exp(-100 * d) @ w - wanted) < 1e-7


@pytest.mark.parametrize("a", [0.1, 0.5, 0.9, 0.999, 1.0])
@pytest.mark.parametrize("lam", [1e-2, 1e-5, 1e-9])
def test_a_weak_leak_keeps_a_relative_tolerance(a: float, lam: float) -> None:
    """D^a v = -lam v + 1 from 0 is (1 - E_a(-lam t^a))/lam = t^a/Gamma(1 + a) - lam t^2a/Gamma(1 + 2a) + ..."""
    t = np.geomspace(1e-4, 1, 12)
    x = lam * t**a
    wanted = sum((-x) ** k * t**a / gamma(1 + (k + 1) * a) for k in range(12))
    w, d = leaky(10_000, 1e-6)(a=a, lam=lam, dt=1e-4)
    assert (-np.expm1(-np.outer(t / 1e-4, d)) @ w / lam) / wanted == pytest.approx(1, abs=2e-6)


@pytest.mark.parametrize("a", [0.9995, 1.0])
def test_a_weak_leak_near_order_one(a: float) -> None:
    """Value and slope of t^a/Gamma(1 + a), relative: the square of log(steps*dt/t) = 2.3 enters."""
    kernel, t, h, lam = leaky(10_000, 1e-6), 0.1, 1e-5, 1e-6
    ends = []
    for order in (a, a - h):
        w, d = kernel(a=order, lam=lam, dt=1e-4)
        ends.append(float(-np.expm1(-t / 1e-4 * d) @ w / lam))
    wanted = t**a / gamma(1 + a)
    assert ends[0] == pytest.approx(wanted, rel=3e-6)
    assert (ends[0] - ends[1]) / h == pytest.approx(wanted * (np.log(t) - digamma(1 + a)), abs=5e-3 * wanted)


@pytest.mark.parametrize("a", [0.9985, 0.9995, 1.0])
def test_values_and_slopes_up_to_order_one(a: float) -> None:
    """Above 1 - sqrt(tolerance) values are interpolated: within the tolerance, slopes within its square root."""
    kernel, h = leaky(10_000, 1e-6), 1e-5
    for lam, t in ((0.3, 1.0), (3.0, 0.3), (20.0, 1e-3)):
        ends = []
        for order in (a, a - h):
            w, d = kernel(a=order, lam=lam, dt=1e-4)
            ends.append(float(np.exp(-t / 1e-4 * d) @ w))
        assert ends[0] == pytest.approx(oracles.relaxation(a, lam, t) if a < 1 else np.exp(-lam * t), abs=5e-7)
        assert (ends[0] - ends[1]) / h == pytest.approx(oracles.relaxation_slope(a, lam, t), abs=1e-3)


def test_order_one_is_one_leak() -> None:
    w, d = leaky(10_000, 1e-6)(a=1.0, lam=3.0, dt=0.01)
    heavy = w > 1e-14
    assert abs(w.sum() - 1) < 1e-14
    assert d[heavy] == pytest.approx(0.03, rel=1e-13)


SLOPES = (0.1, 0.5, 0.9, 0.99, *(pytest.param(a, marks=pytest.mark.slow) for a in (0.2, 0.3, 0.7, 0.8, 0.95, 0.98)))


@pytest.mark.parametrize("a", SLOPES)
def test_the_slope_in_the_order(a: float) -> None:
    """d E_a(-lam t^a)/da keeps four times the tolerance of the values, from the first step to the last."""
    for lam in (0.01, 3.0):
        for t in (1e-4, 0.02, 3.2768):
            found = slope(leaky(32_768, 1e-6), t / 1e-4, a=a, lam=lam, dt=1e-4)
            assert found == pytest.approx(oracles.relaxation_slope(a, lam, t), abs=4e-6)


def slope(kernel: oracles.Numbers, n: float, a: float, **rest: float) -> float:
    """By differences of the sum, whose error here is 1e-10."""
    h, ends = 1e-5, []
    for order in (a + h, a - h):
        w, d = kernel(a=order, **rest)
        ends.append(float(np.exp(-n * d) @ w))
    return (ends[0] - ends[1]) / (2 * h)


def test_an_order_that_is_a_number() -> None:
    """Constants stay exact up to the quadrature: D^0.5 v = I and D^1.0 v = I held at 1."""
    for order, wanted in (("0.5", 1 / gamma(1.5)), ("1.0", 1.0)):
        neuron = Neuron("f", dt=0.1, outputs={"v": "v"}, equations=f"D^{order} v = I", method="soe(steps=10)")
        assert neuron.simulate(np.ones((10, 1, 1)))["v"].ravel()[-1] == pytest.approx(wanted, abs=3e-6)


@pytest.mark.parametrize("a", [0.05, 0.3, 0.5, 0.8, 0.97, 0.9999, 1.0])
def test_the_integral_of_a_constant(a: float) -> None:
    """I^a 1 = t^a/Gamma(1 + a)."""
    kernel, t = bare(), np.geomspace(1e-4, 1, 30)
    w, d = kernel(a=a, dt=1e-4)
    found = d[0] * t + (1 - np.exp(-np.outer(t / 1e-4, d[1:]))) @ w[1:]
    wanted = t**a / gamma(1 + a)
    assert abs(found / wanted - 1).max() < 3e-6
