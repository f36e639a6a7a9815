"""Fractional methods in numpy: reference values, measured orders, and what the published schemes do instead."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from scipy.special import erfcx, gamma

from neuroode.solvers.on_numpy import fractional, fractional_published
from neuroode.solvers.on_numpy.fractional_weights import (
    bdf2_series,
    binomial_series,
    starting_weights,
    trapezoid_weights,
    trapezoidal_series,
)
from neuroode.solvers.on_numpy.mittag_leffler import mittag_leffler
from neuroode.solvers.on_numpy.online import OnlineConvolution

END, LEAK, CURRENT, FIRST = 2.0, 1.0, 0.7, 1.0


def test_mittag_leffler_has_the_values_of_the_sheet() -> None:
    known = {0.3: 0.456594408330, 0.5: 0.427583576156, 0.7: 0.399611978116, 0.9: 0.376066021425}
    assert max(abs(mittag_leffler(1.0, a) - v) for a, v in known.items()) < 1e-12


def test_mittag_leffler_of_one_half_is_erfcx() -> None:
    x = np.geomspace(1e-6, 1e6, 200)
    assert np.abs(mittag_leffler(x, 0.5) / erfcx(x) - 1).max() < 1e-13


def test_mittag_leffler_at_one_is_the_exponential() -> None:
    x = np.linspace(0, 40, 100)
    assert np.abs(mittag_leffler(x, 1.0) - np.exp(-x)).max() < 1e-13
    assert np.abs(mittag_leffler(x, 1 - 1e-9) - np.exp(-x)).max() < 1e-9


@pytest.mark.parametrize("alpha", [0.2, 0.6, 0.95])
def test_mittag_leffler_obeys_its_recurrence(alpha: float) -> None:
    z = np.geomspace(1e-3, 1e5, 50)
    assert np.abs(z * mittag_leffler(z, alpha, 1 + alpha) - (1 - mittag_leffler(z, alpha))).max() < 1e-13


@pytest.mark.slow
@pytest.mark.parametrize("alpha", [0.1, 0.3, 0.5, 0.8, 0.97])
def test_mittag_leffler_against_its_series_in_many_digits(alpha: float) -> None:
    import mpmath

    with mpmath.workdps(60):
        for beta in (1.0, alpha, 1 + alpha, 0.0, 2.0):
            for z in (0.0, 0.01, 0.4, 0.7):
                terms = (
                    (-mpmath.mpf(z)) ** k * mpmath.rgamma(k * mpmath.mpf(alpha) + beta) for k in range(int(80 / alpha))
                )
                assert abs(mittag_leffler(z, alpha, beta) - float(sum(terms))) < 1e-13


@pytest.mark.slow
def test_mittag_leffler_against_its_integral_in_many_digits() -> None:
    """E_a(-z) = sin(pi a)/pi * integral of e^(-s z^(1/a)) s^(a-1)/(s^(2a) + 2 s^a cos(pi a) + 1) over s > 0."""
    import mpmath

    for alpha in (0.3, 0.5, 0.8):
        for z in (0.5, 2.0, 30.0):
            rate = mpmath.mpf(z) ** (1 / mpmath.mpf(alpha))

            def density(x: object, a: float = alpha, r: object = rate) -> object:  # s = e^x
                s = mpmath.exp(x)
                return mpmath.exp(-s * r) * s**a / (s ** (2 * a) + 2 * s**a * mpmath.cospi(a) + 1)

            found = mpmath.sinpi(alpha) / mpmath.pi * mpmath.quad(density, np.linspace(-120, 20, 71).tolist())
            assert abs(mittag_leffler(z, alpha) - float(found)) < 1e-12


def _errors(method: object, alpha: float, sizes: tuple[int, ...]) -> np.ndarray:
    exact = fractional.leak(np.full(1, CURRENT), FIRST, alpha, LEAK, END)[-1]
    found = [method(lambda _, y: -LEAK * y + CURRENT, FIRST, alpha, END / n, n)[-1] for n in sizes]  # type: ignore[operator]
    return np.abs(np.array(found) - exact)


def _order(method: object, alpha: float, sizes: tuple[int, int] = (800, 1600)) -> float:
    errors = _errors(method, alpha, sizes)
    return float(np.log2(errors[0] / errors[1]))


@pytest.mark.parametrize("alpha", [0.3, 0.5, 0.8])
def test_orders_are_those_of_the_sheet(alpha: float) -> None:
    graded = lambda f, y0, a, h, n: fractional.l1_on(f, y0, a, fractional.graded(h * n, n, a))  # noqa: E731
    assert _order(fractional.rectangle, alpha) == pytest.approx(1.0, abs=0.05)
    assert _order(fractional.gl, alpha) == pytest.approx(1.0, abs=0.02)
    assert _order(fractional.l1, alpha) == pytest.approx(1.0, abs=0.05)
    assert _order(fractional.abm, alpha) == pytest.approx({0.3: 1.38, 0.5: 1.52, 0.8: 1.79}[alpha], abs=0.08)
    assert _order(fractional.flmm2, alpha) >= 1.9
    assert _order(partial(fractional.flmm2, rule="trapezoidal"), alpha) >= 1.9
    assert _order(graded, alpha, (200, 400)) == pytest.approx(2 - alpha, abs=0.05)


def test_causal_starting_weights_cost_little() -> None:
    causal = partial(fractional.flmm2, causal=True)
    assert _order(causal, 0.3) >= 1.75
    assert _order(causal, 0.5) >= 1.9
    assert _order(causal, 0.8) >= 1.9


@pytest.mark.parametrize("alpha", [0.3, 0.5, 0.8])
def test_the_published_schemes_do_not_converge_from_one(alpha: float) -> None:
    wrong = {0.3: 0.403, 0.5: 0.334, 0.8: 0.197}[alpha]
    assert _errors(fractional_published.gl_unshifted, alpha, (1600,))[0] == pytest.approx(wrong, abs=0.001)
    assert _errors(fractional_published.trapezoidal_published, alpha, (1600,))[0] == pytest.approx(wrong, abs=0.001)
    assert _errors(fractional.gl, alpha, (1600,))[0] < 4e-5


@pytest.mark.parametrize(
    "method", [fractional.rectangle, fractional.gl, fractional.l1, fractional.abm, fractional.flmm2]
)
def test_alpha_one_is_no_special_case(method: object) -> None:
    assert _errors(method, 1.0, (800,))[0] < 2e-4
    assert abs(_errors(method, 1 - 1e-7, (800,))[0] - _errors(method, 1.0, (800,))[0]) < 1e-7


def test_elements_run_side_by_side() -> None:
    y0 = np.array([[1.0, 0.2], [0.0, -1.0]])
    field = lambda t, y: np.sin(t) - y**3  # noqa: E731
    for method in (fractional.rectangle, fractional.gl, fractional.l1, fractional.abm, fractional.flmm2):
        whole = method(field, y0, 0.6, 0.1, 12)
        assert np.allclose(whole[:, 0, 1], method(field, 0.2, 0.6, 0.1, 12), rtol=0, atol=1e-12)


def test_nonlinear_methods_agree() -> None:
    field = lambda t, y: np.sin(t) - y**3  # noqa: E731
    best = fractional.flmm2(field, 1.0, 0.6, 1 / 800, 800)[-1]
    assert abs(fractional.abm(field, 1.0, 0.6, 1 / 800, 800)[-1] - best) < 2e-5
    assert abs(fractional.rectangle(field, 1.0, 0.6, 1 / 800, 800)[-1] - best) < 2e-3


def test_leak_by_fft_is_the_direct_sum() -> None:
    b = np.random.default_rng(0).normal(size=(600, 3))
    found = fractional.leak(b, 1.0, 0.5, 0.7, 0.1)
    assert np.abs(found - fractional.leak(b, 1.0, 0.5, 0.7, 0.1, direct=True)).max() < 1e-13
    assert abs(fractional.leak(0 * b, 1.0, 0.5, 0.7, 0.1)[-1, 0] - mittag_leffler(0.7 * 60**0.5, 0.5)) < 1e-13


def test_leak_without_leak_is_the_rectangle_rule() -> None:
    b = np.random.default_rng(0).normal(size=300)
    found = fractional.rectangle(lambda t, y: b[round(t / 0.1)] + 0 * y, 0.0, 0.4, 0.1, 300)
    assert np.abs(fractional.leak(b, 0.0, 0.4, 0.0, 0.1) - found).max() < 1e-12


def test_tail_is_a_power_law() -> None:
    v = fractional.leak(np.zeros(1), 1.0, 0.5, 2.0, 1e4)[-1]
    assert v * 1e4**0.5 == pytest.approx(1 / (2.0 * gamma(0.5)), rel=0.01)


def test_series_are_the_powers_of_their_polynomials() -> None:
    for alpha in (0.3, 0.9, 1.0):
        half = binomial_series(-alpha, 40)
        thirds = binomial_series(-alpha, 40) * (1 / 3) ** np.arange(40)
        assert np.allclose(bdf2_series(alpha, 40), 1.5**-alpha * np.convolve(half, thirds)[:40], rtol=0, atol=1e-14)
        signs = (-1.0) ** np.arange(40)
        other = np.convolve(half, binomial_series(alpha, 40) * signs)[:40]
        assert np.allclose(trapezoidal_series(alpha, 40), 2**-alpha * other, rtol=0, atol=1e-14)


def test_weights_of_intervals_keep_their_digits() -> None:
    far, near = trapezoid_weights(0.5, 20_000)
    assert np.all(far < near)
    assert np.all(np.diff(far + near) < 0)
    assert far[-1] / near[-1] == pytest.approx(1.0, abs=1e-4)


def test_starting_weights_are_exact_for_their_powers() -> None:
    """I^a of t^g at t = m is Gamma(g+1)/Gamma(g+a+1) m^(g+a)."""
    a, n = 0.5, 60
    m = np.arange(n + 1.0)
    for rule, series in (("bdf2", bdf2_series), ("trapezoidal", trapezoidal_series)):
        omega, starts = series(a, n + 1), starting_weights(a, n, rule)
        for g in (0.0, 0.5, 1.0):
            f = m**g
            sums = np.convolve(omega, f)[1 : n + 1] + starts[1:] @ f[: starts.shape[1]]
            assert np.abs(sums - gamma(g + 1) / gamma(g + a + 1) * m[1:] ** (g + a)).max() < 1e-10


@pytest.mark.parametrize("steps", [1, 7, 64, 65, 300])
def test_online_convolution_is_the_direct_sum(steps: int) -> None:
    rng = np.random.default_rng(steps)
    weights, values = rng.normal(size=(steps, 3)), rng.normal(size=(steps, 2, 3))
    online = OnlineConvolution(weights, (2, 3), block=8)
    found = np.stack([online.push(v) for v in values])
    direct = np.stack([sum(weights[n - j] * values[j] for j in range(n + 1)) for n in range(steps)])
    assert np.abs(found - direct).max() < 1e-11
