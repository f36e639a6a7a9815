"""The Lorenz population and its baseline without a network, against scipy and scikit-learn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.stats import poisson

from neuroode.train.latent import scores, smoothing
from neuroode.train.tasks import lorenz as source


@pytest.fixture(scope="module")
def population() -> source.Population:
    return source.lorenz_population(0)


def test_the_integrator_is_scipy_s() -> None:
    """Over three units of time from the attractor, where the system stretches errors by about exp(0.9*3)."""
    rng, times = np.random.default_rng(0), np.linspace(0.1, 3, 30)
    start = source.trajectory(rng.normal(size=(3, 3)) + np.array([0, 0, 25]), np.array([10.0]))[0]
    ours = source.trajectory(start, times)
    for lane, each in enumerate(start):
        wanted = solve_ivp(lambda _, x: source.field(x), (0, 3), each, "DOP853", times, rtol=1e-12, atol=1e-12).y.T
        assert np.abs(ours[:, lane] - wanted).max() < 2e-6


def test_the_field_is_lorenz_s() -> None:
    assert source.field(np.array([1.0, 2.0, 3.0])) == pytest.approx([10.0, 23.0, -6.0])
    fixed = np.sqrt(8 / 3 * 27)
    assert source.field(np.array([fixed, fixed, 27.0])) == pytest.approx([0, 0, 0], abs=1e-12)


def test_sizes_and_splits(population: source.Population) -> None:
    assert (len(population.train), len(population.val), len(population.test)) == (910, 130, 260)
    assert population.train.spikes.shape == (910, 50, 30)
    for part, each in ((population.train, 14), (population.val, 2), (population.test, 4)):
        assert (np.bincount(part.condition) == each).all()
    z = np.concatenate([part.latents for part in (population.train, population.val, population.test)])
    assert np.abs(z.mean((0, 1), dtype=float)).max() < 1e-6
    assert z.std((0, 1), dtype=float) == pytest.approx(1, abs=1e-5)


def test_the_rates_are_those_of_the_latents_and_of_the_spikes(population: source.Population) -> None:
    part = population.train
    logs = np.log(part.rates.reshape(-1, 30) / population.bin)
    design = np.c_[part.latents.reshape(-1, 3), np.ones(logs.shape[0])]
    found, *_ = np.linalg.lstsq(design, logs, rcond=None)
    assert np.abs(design @ found - logs).max() < 1e-4
    assert found[3] == pytest.approx(np.log(5), abs=1e-4)
    assert np.linalg.norm(found[:3], axis=0) == pytest.approx(1, abs=1e-4)
    off = (part.spikes.sum((0, 1)) - part.rates.sum((0, 1))) / np.sqrt(part.rates.sum((0, 1)))
    assert np.abs(off).max() < 4


def test_the_seed_draws_the_validation_trials_only(population: source.Population) -> None:
    other = source.lorenz_population(1)
    assert (other.test.spikes == population.test.spikes).all()
    assert (other.val.spikes != population.val.spikes).any()
    assert source.lorenz_population(0).digest() == population.digest() != other.digest()


def test_scores_against_other_libraries(population: source.Population) -> None:
    r2_score = pytest.importorskip("sklearn.metrics").r2_score
    rng = np.random.default_rng(0)
    true, spikes = population.test.rates[:20], population.test.spikes[:20]
    found = true * np.exp(0.3 * rng.normal(size=true.shape))
    wanted = r2_score(true.reshape(-1, 30), found.reshape(-1, 30))
    assert scores.r_squared(found, true) == pytest.approx(wanted, rel=1e-5)
    assert scores.r_squared(true, true) == 1
    mean = np.full(30, 0.2)
    gain = poisson.logpmf(spikes, found).sum() - poisson.logpmf(spikes, mean).sum()
    assert scores.bits_per_spike(found, spikes, mean) == pytest.approx(gain / spikes.sum() / np.log(2), rel=1e-5)


def test_the_smoother_is_a_gaussian_process() -> None:
    process = pytest.importorskip("sklearn.gaussian_process")
    kernel = process.kernels.ConstantKernel(0.7**2) * process.kernels.RBF(2.5)
    time, y = np.arange(30.0)[:, None], np.random.default_rng(1).normal(size=30)
    model = process.GaussianProcessRegressor(kernel, alpha=1 / 0.3, optimizer=None).fit(time, y)
    assert np.abs(smoothing.smoother(30, 2.5, 0.7, 0.3) @ y - model.predict(time)).max() < 1e-10
    spikes = np.abs(y)[None, :, None]
    wanted = model.fit(time, spikes[0, :, 0] / 0.3 - 1).predict(time)
    assert np.abs(smoothing.smooth(spikes, np.array([0.3]), 2.5, 0.7)[0, :, 0] - wanted).max() < 1e-10


def test_the_regression_is_scikit_learn_s() -> None:
    linear = pytest.importorskip("sklearn.linear_model")
    rng = np.random.default_rng(2)
    x = np.c_[rng.normal(size=(400, 4)), np.ones(400)]
    y = rng.poisson(np.exp(x @ rng.normal(size=(5, 3)) * 0.5)).astype(float)
    found = smoothing.poisson_regression(x, y, 3.0)
    for n in range(3):
        model = linear.PoissonRegressor(alpha=3.0 / 400, solver="newton-cholesky", tol=1e-10).fit(x[:, :4], y[:, n])
        assert found[:4, n] == pytest.approx(model.coef_, abs=1e-6)
        assert found[4, n] == pytest.approx(model.intercept_, abs=1e-6)


def test_a_seen_neuron_is_told_by_the_others() -> None:
    rng = np.random.default_rng(3)
    x = np.c_[rng.normal(size=(300, 3)), np.ones(300)]
    y = rng.poisson(np.exp(x[:, :3])).astype(float)
    found = smoothing.poisson_regression(x, y, 1.0, own=True)
    assert np.abs(np.diag(found[:3])).max() < 1e-8
    assert np.diag(smoothing.poisson_regression(x, y, 1.0)[:3]).min() > 0.5


def test_the_baseline_beats_the_mean_rate(population: source.Population, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LENGTHS", "SIGNALS", "RIDGES"):
        monkeypatch.setattr(smoothing, name, (getattr(smoothing, name)[1],))
    small = replace(population, train=_first(population.train, 200), val=_first(population.val, 20))
    rates = smoothing.fit(small).rates(population.test.spikes[..., : population.seen])
    mean = small.train.spikes.mean((0, 1))
    held = slice(population.seen, None)
    assert scores.r_squared(rates, population.test.rates) > 0.5
    assert 0.3 < scores.bits_per_spike(rates[..., held], population.test.spikes[..., held], mean[held]) < 0.52


def _first(part: source.Part, n: int) -> source.Part:
    return source.Part(part.spikes[::4][:n], part.rates[::4][:n], part.latents[::4][:n], part.condition[::4][:n])
