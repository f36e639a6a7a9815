"""Neurons that draw: escape noise against the hazard and by hand, P-SpikeSSM against the sheet of its paper."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
import torch
from jax_oracles import KEY
from scipy.linalg import expm

import neuroode as no
from neuroode.solvers.on_numpy import random

F64 = torch.float64
DT, RATE = 0.1, 0.04  # ms, 1/ms


def hazard(lanes: int, steps: int, refractory: str | None) -> np.ndarray:
    """Spikes (steps, lanes) of a gif that rests where its hazard is RATE, and whose spikes change nothing."""
    event = {"when": "p > U"} | ({"refractory": refractory} if refractory else {})
    neuron = no.load("gif").replace(events={"s": event})
    threshold = -70 + 2 * np.log(1 / RATE)
    layer = neuron.torch(lanes, dtype=F64)
    layer.set(v_T=threshold)
    with torch.no_grad():
        return layer(torch.zeros(steps, 1, lanes, dtype=F64), seed=3)[0][:, 0].numpy()


def test_spikes_at_a_constant_potential_are_a_poisson_process() -> None:
    spikes = hazard(60, 20_000, None)
    p = 1 - np.exp(-RATE * DT)
    n = spikes.size
    assert abs(spikes.mean() - p) < 4 * np.sqrt(p * (1 - p) / n)
    times = [np.flatnonzero(s) for s in spikes.T]
    intervals = np.concatenate([np.diff(t) for t in times])
    jitter = np.random.default_rng(0).random(len(intervals))  # within the step of each spike
    assert scipy.stats.kstest((intervals - jitter) * DT, scipy.stats.expon(scale=1 / RATE).cdf).pvalue > 0.01
    counts = spikes.reshape(20, 1000, 60).sum(1).ravel()
    assert counts.var() / counts.mean() == pytest.approx(1, abs=4 * np.sqrt(2 / len(counts)))
    first, second = (np.concatenate([np.diff(t)[k : len(t) - 2 + k] for t in times]) for k in (0, 1))
    assert abs(np.corrcoef(first, second)[0, 1]) < 4 / np.sqrt(len(first))


def test_a_refractory_time_shifts_the_intervals() -> None:
    """Rate 1/(t_r + 1/rho), intervals of t_r and an exponential time."""
    spikes = hazard(60, 20_000, "2 ms")
    intervals = np.concatenate([np.diff(np.flatnonzero(s)) for s in spikes.T])
    assert intervals.min() > 20
    free = (intervals - 20 - np.random.default_rng(1).random(len(intervals))) * DT
    assert scipy.stats.kstest(free, scipy.stats.expon(scale=1 / RATE).cdf).pvalue > 0.01
    wanted = 1 / (2 + DT / (1 - np.exp(-RATE * DT)))
    assert spikes.mean() / DT == pytest.approx(wanted, rel=4 / np.sqrt(spikes.sum()))


def by_hand(x: float, steps: int, lanes: int, seed: int) -> dict[str, np.ndarray]:
    """The step of gif with one matrix exponential, and its uniforms from the generator."""
    C, g, E = 100.0, 5.0, -70.0
    A = np.zeros((5, 5))
    A[0, :3], A[0, 4] = [-g / C, -1 / C, -1 / C], (g * E + x) / C
    A[1, 1], A[2, 2], A[3, 3] = -1 / 10, -1 / 100, -1 / 50
    step, z = expm(DT * A), np.tile(np.array([E, 0, 0, 0, 1.0])[:, None], lanes)
    u = random.draw("uniform", "U", np.array([seed]), np.zeros(1, int), (steps, 1, lanes))[:, 0]
    left, rows = np.zeros(lanes), {"s": [], "v": []}
    for t in range(steps):
        z = step @ z
        p = 1 - np.exp(-DT * np.exp((z[0] + 50 - z[3]) / 2))
        s = (p > u[t]) & (left == 0)
        left = np.where(s, 20, np.maximum(left - 1, 0))
        z[0] = np.where(s, -60, z[0])
        z[1:4] += np.array([[50], [10], [2]]) * s
        rows["s"].append(s.astype(float))
        rows["v"].append(z[0].copy())
    return {n: np.array(r)[:, None] for n, r in rows.items()}


def test_gif_by_hand() -> None:
    found, wanted = no.load("gif").simulate(np.full((1500, 1, 5), 200.0), seed=11), by_hand(200.0, 1500, 5, 11)
    assert wanted["s"].sum() > 20
    np.testing.assert_array_equal(found["s"], wanted["s"])
    np.testing.assert_allclose(found["v"], wanted["v"], rtol=0, atol=1e-9)


def test_golden_spikes_of_gif() -> None:
    """Seed 0 and 150 pA: the generator, the order of its counters and the step stay what they are."""
    with torch.no_grad():
        x = torch.full((10_000, 1, 4), 150.0, dtype=F64)
        spikes = no.load("gif").torch(4, dtype=F64)(x, seed=0)[0][:, 0].numpy()
    assert spikes.sum(0).tolist() == [37, 35, 36, 35]
    assert np.flatnonzero(spikes[:, 0])[:8].tolist() == [179, 325, 493, 793, 1044, 1286, 1355, 1510]


@pytest.mark.parametrize(("name", "size", "scale"), [("gif", 4, 800.0), ("p_spikessm", 3, 1.0)])
def test_every_backend_and_schedule_draws_the_same(name: str, size: int, scale: float) -> None:
    neuron = no.load(name) if name == "gif" else no.load(name).with_axes({"k": 2})
    x = torch.as_tensor(np.random.default_rng(2).normal(scale / 2, scale, (200, 2, size)))
    layer = neuron.torch(size, dtype=F64, schedule="sequential")
    values = {n: v.detach().numpy() for n, v in layer.values.items()}
    rows = neuron.simulate(x.numpy(), parameters=values, seed=5)
    out, _ = layer(x, seed=5)
    assert 0.005 < rows["s"].mean() < 0.9
    np.testing.assert_array_equal(out.detach(), rows["s"])
    slopes = torch.autograd.grad(out.sum(), list(layer.parameters()), allow_unused=True)
    for schedule in ("eager", "newton") if name == "gif" else ("eager", "scan", "fft"):
        other = neuron.torch(size, dtype=F64, schedule=schedule)
        other.load_state_dict(layer.state_dict())
        again, _ = other(x, seed=5)
        assert torch.equal(again, out)
        found = torch.autograd.grad(again.sum(), list(other.parameters()), allow_unused=True)
        for a, b in zip(found, slopes, strict=True):
            assert (a is None and b is None) or torch.allclose(a, b, rtol=1e-8, atol=1e-9)
    in_jax = neuron.jax(size, dtype=jnp.float64, key=KEY).set(**values)
    np.testing.assert_array_equal(in_jax(x.numpy(), seed=5)[0], rows["s"])
    single, _ = neuron.torch(size)(x.float(), seed=5)
    assert single.shape == out.shape


def spike_probability(p: Any) -> torch.Tensor:
    """Spikes of P-SpikeSSM whose affine map alone sets p."""
    layer = no.load("p_spikessm").torch(p.numel(), dtype=F64)
    layer.set(gain=torch.zeros(p.numel(), dtype=F64), bias=p)
    return layer


def test_q2_spikes_have_the_clamped_probability_on_average() -> None:
    p = torch.tensor([-0.5, 0.2, 0.7, 1.3], dtype=F64)
    spikes, _ = spike_probability(p)(torch.zeros(20_000, 1, 4, dtype=F64), seed=0)
    expected = p.clamp(0, 1)
    error = (spikes.mean((0, 1)) - expected).abs()
    assert (error <= 4 * (expected * (1 - expected) / 20_000).sqrt()).all()


def test_q3_the_gradient_is_that_of_the_clamp() -> None:
    layer = spike_probability(torch.tensor([-0.5, 0.2, 0.7, 1.3], dtype=F64))
    layer(torch.zeros(1, 1, 4, dtype=F64))[0].sum().backward()
    assert layer.parameters_of_neuron.raw_bias.grad.tolist() == [0, 1, 1, 0]


def test_q6_a_linear_readout_has_the_mean_of_the_clamp() -> None:
    p, w = torch.linspace(-0.2, 1.2, 40, dtype=F64), torch.cos(torch.arange(40, dtype=F64))
    spikes, _ = spike_probability(p)(torch.zeros(5000, 1, 40, dtype=F64), seed=1)
    q = p.clamp(0, 1)
    deviation = (w**2 * q * (1 - q)).sum().sqrt() / 5000**0.5
    assert abs((spikes.detach().mean((0, 1)) * w).sum() - (q * w).sum()) < 4 * deviation
