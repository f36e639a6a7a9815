"""Stochastic zoo: recursions written by hand, frozen runs, laws at equilibrium, gradients by replay, targets."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

import neuroode as no
from neuroode.solvers.on_numpy.random import draw

F64 = torch.float64
Array = np.ndarray
T, B, N = 200, 2, 3


def numbers(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=shape)


def test_ou_is_its_exact_recursion() -> None:
    x, dW = numbers(T, B, N), numbers(T, B, N, seed=1)
    rows = no.load("ou").simulate(x, noise={"dW": dW}, parameters={"tau": 5.0, "sigma": 0.3})["x"]
    decay, v = np.exp(-1 / 5), np.zeros((B, N))
    for t in range(T):
        v = decay * v + (1 - decay) * x[t] + 0.3 * np.sqrt(1 - decay**2) * dW[t]
        np.testing.assert_allclose(rows[t], v, atol=1e-13)


def test_noisy_lif_is_ou_with_a_reset() -> None:
    x, dW = numbers(T, B, N) + 1, numbers(T, B, N, seed=1)
    rows = no.load("noisy_lif").simulate(x, noise={"dW": dW})
    decay, v = np.exp(-1 / 20), np.zeros((B, N))
    for t in range(T):
        v = decay * v + (1 - decay) * x[t] + 0.2 * np.sqrt(1 - decay**2) * dW[t]
        np.testing.assert_array_equal(rows["s"][t], v > 1)
        v = np.where(v > 1, 0, v)
        np.testing.assert_allclose(rows["v"][t], v, atol=1e-12)
    assert 3 < rows["s"].sum() < 100


def test_noisy_fitzhugh_nagumo_is_euler_maruyama() -> None:
    x, dW = numbers(T, B, N), numbers(T, B, N, seed=1) * 0.05**0.5
    rows = no.load("noisy_fitzhugh_nagumo").simulate(x, noise={"dW": dW})
    v, w = np.full((B, N), -1.19940804), np.full((B, N), -0.62426004)
    for t in range(T):
        v, w = v + 0.05 * (v - v**3 / 3 - w + x[t]) + 0.2 * dW[t], w + 0.05 * 0.08 * (v + 0.7 - 0.8 * w)
        np.testing.assert_allclose(rows["v"][t], v, atol=1e-12)


def test_noise_excites_spikes_from_rest() -> None:
    x = np.zeros((8_000, 1, 20))
    found = [no.load("noisy_fitzhugh_nagumo").simulate(x, parameters={"sigma": s})["s"].sum() for s in (0.0, 0.2)]
    assert found[0] == 0 < 5 < found[1]


def baoab(
    force: Callable[[Array], Array], x: Array, dW: Array, h: float, gamma: float, T: float, *start: Array
) -> Array:
    """Positions; a step by the splitting as Leimkuhler and Matthews write it."""
    q, p = start or (np.zeros(x.shape[1:]), np.zeros(x.shape[1:]))
    rows = []
    c = np.exp(-gamma * h)
    for I, w in zip(x, dW, strict=True):
        p = p + h / 2 * (force(q) + I)
        q = q + h / 2 * p
        p = c * p + np.sqrt(T * (1 - c**2)) * w / np.sqrt(h)
        q = q + h / 2 * p
        p = p + h / 2 * (force(q) + I)
        rows.append(q)
    return np.stack(rows)


def test_langevin_is_baoab_of_its_potential() -> None:
    x, dW = numbers(T, B, N, 4), numbers(T, B, N, 4, seed=1) * 0.1**0.5
    W, four = np.abs(numbers(4, 4)) * 0.1, {"k": 4}
    J = (W + W.T) / 2

    def force(q: Array) -> Array:
        return -(q + 0.1 * q**3) - (J.sum(0) * q - q @ J)

    rows = no.load("langevin").simulate(x, axes=four, noise={"dW": dW}, parameters={"W": W}, seed=5)["q"]
    start = [np.stack([draw("normal", f"init.{s}__{i}", np.full(B, 5), np.zeros(B, int), (1, B, N))[0]
                       for i in range(4)], -1) for s in "qp"]  # fmt: skip
    np.testing.assert_allclose(rows, baoab(force, x, dW, 0.1, 1.0, 1.0, *start), atol=1e-11)
    well = no.load("langevin", compat="double_well").simulate(x, axes=four, noise={"dW": dW})["q"]
    np.testing.assert_allclose(well, baoab(lambda q: q - q**3, x, dW, 0.1, 1.0, 1.0), atol=1e-11)


def released(H: Array, q: Array, p: Array, eps: Array, gamma: float = 0.55, s: float = 0.01) -> tuple[Array, Array]:
    """The affine recursion of the fact sheet: A = [[1, s], [-(1 - gamma) s Hs, 1 - gamma]], noise sqrt(2 gamma)."""
    n, Hs = len(H), (H + H.T) / 2
    A = np.block([[np.eye(n), s * np.eye(n)], [-(1 - gamma) * s * Hs, (1 - gamma) * np.eye(n)]])
    z, rows = np.concatenate([q, p], -1), []
    for e in eps:
        z = z @ A.T + np.sqrt(2 * gamma) * np.concatenate([0 * e, e], -1)
        rows.append(z)
    return np.stack(rows)[..., :n], np.stack(rows)[..., n:]


def test_the_released_langevinflow_is_an_affine_recursion() -> None:
    """Claim 1 of the sheet: at most 1e-12 over 200 steps; claim 3: the velocity's variance is 2/(2 - gamma)."""
    H, eps = numbers(4, 4), numbers(T, B, N, 4, seed=1)
    neuron = no.load("langevin", compat="langevinflow_ccn").with_axes({"k": 4})
    rows = neuron.simulate(steps=T, batch=B, size=N, noise={"xi": eps}, parameters={"H": H})
    wanted = released(H, np.zeros((B, N, 4)), np.zeros((B, N, 4)), eps)
    np.testing.assert_allclose(rows["q"], wanted[0], atol=1e-12)
    np.testing.assert_allclose(rows["p"], wanted[1], atol=1e-12)
    free = neuron.simulate(steps=60, batch=1, size=500, parameters={"H": np.zeros((4, 4))})["p"][10:]
    assert free.var() == pytest.approx(2 / (2 - 0.55), rel=0.02)


def test_its_transition_is_the_matrix_of_the_sheet() -> None:
    layer = no.load("langevin", compat="langevinflow_ccn").torch(1, dtype=F64, axes={"k": 4})
    step, H = no.nn.gaussian(layer), layer.values["H"].detach().numpy()
    at = [step.states.index(f"{s}__{i}") for s in "qp" for i in range(4)]
    A = step.A[0].detach().numpy()[np.ix_(at, at)]
    q, p = released(H, np.eye(8)[:, :4], np.eye(8)[:, 4:], np.zeros((1, 8, 4)))
    np.testing.assert_allclose(A.T, np.concatenate([q[0], p[0]], -1), atol=1e-14)
    np.testing.assert_allclose(step.S[0].detach().numpy()[np.ix_(at, at)], np.diag([0] * 4 + [1.1] * 4), atol=1e-14)


def test_a_double_well_rests_in_its_boltzmann_law() -> None:
    """E[q^2] under exp(-U/T), U = (q^2 - 1)^2/4, T = 1/2, by quadrature."""
    neuron = no.load("langevin", compat="double_well").with_axes({"k": 1})
    rows = neuron.simulate(np.zeros((400, 10, 400, 1)), dt=0.25, parameters={"T": 0.5})["q"][100:]
    q = np.linspace(-5, 5, 20001)
    weight = np.exp(-((q**2 - 1) ** 2) / 2)
    assert (rows**2).mean() == pytest.approx((q**2 * weight).sum() / weight.sum(), rel=0.02)


FROZEN = {
    ("ou", None): [1.698381582021, -0.1439713889121],
    ("noisy_lif", None): [0.6255347460055, 0.5599865788531],
    ("noisy_fitzhugh_nagumo", None): [2.102841996168, 2.159147234388],
    ("langevin", "harmonic"): [1.189212725461, 2.023002270028],
    ("langevin", "double_well"): [1.060620124573, 1.227360804915],
    ("langevin", "langevinflow_ccn"): [0.1950428416834, 0.01057263491804],
}


def frozen(name: str, compat: str | None) -> Array:
    neuron = no.load(name, compat=compat)
    neuron = neuron.with_axes({"k": 4}) if name == "langevin" else neuron
    call: dict = {"x": np.full((50, 1, 2, *([4] if name == "langevin" else [])), 1.2)}
    if not neuron.spec.inputs:
        call = {"steps": 50, "batch": 1, "size": 2}
    rows = neuron.simulate(**call, seed=7, parameters={"H": np.eye(4)} if compat == "langevinflow_ccn" else {})
    first = rows[neuron.system().states[0].name.partition("__")[0]]
    return first[-1].ravel()[:2]


@pytest.mark.parametrize(("name", "compat"), FROZEN)
def test_runs_of_a_seed_are_what_they_were(name: str, compat: str | None) -> None:
    np.testing.assert_allclose(frozen(name, compat), FROZEN[name, compat], rtol=1e-10)


@pytest.mark.parametrize(
    ("name", "compat"),
    [("ou", None), ("noisy_fitzhugh_nagumo", None), ("langevin", None), ("langevin", "harmonic")],
)
def test_gradients_by_replayed_noise(name: str, compat: str | None) -> None:
    """Against central differences, every trained parameter and the noise itself."""
    neuron = no.load(name, compat=compat)
    neuron = neuron.with_axes({"k": 2}) if name == "langevin" else neuron
    axes = [2] if name == "langevin" else []
    x = torch.tensor(numbers(12, 1, 2, *axes))
    layer = neuron.torch(2, dtype=F64, schedule="eager")
    streams = {n.name.partition("__")[0] for n in layer.program.noise}
    noise = {n: torch.tensor(numbers(12, 1, 2, *axes, seed=3)).requires_grad_() for n in streams}

    def loss() -> torch.Tensor:
        out = layer.trace(x, noise=noise, seed=4)
        return sum((out[s].cos() * torch.arange(1, 13.0).reshape(-1, 1, 1, *[1] * len(axes))).sum() for s in states)

    states = {s.name.partition("__")[0] for s in neuron.system().states}
    loss().backward()
    for p in (*layer.parameters(), *noise.values()):
        values = []
        for h in (1e-6, -1e-6):
            with torch.no_grad():
                p.view(-1)[0] += h
                values.append(loss().item())
                p.view(-1)[0] -= h
        assert p.grad.reshape(-1)[0].item() == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "compat"), [pytest.param("noisy_lif", None, marks=pytest.mark.slow), ("langevin", "harmonic")]
)
def test_kernels_and_jax_are_the_interpreter(name: str, compat: str | None) -> None:
    jax = pytest.importorskip("jax")
    neuron = no.load(name, compat=compat)
    neuron = neuron.with_axes({"k": 1}) if name == "langevin" else neuron
    x = numbers(40, 2, 3, *([1] if name == "langevin" else [])) + 0.7
    rows = neuron.simulate(x, seed=9)
    layers = [neuron.torch(3, dtype=F64, schedule=s) for s in ("eager", "sequential")]
    layers += [neuron.torch(3, dtype=F64, schedule="scan")] if compat else []
    slopes = []
    for layer in layers:
        out = layer(torch.tensor(x), seed=9)[0]
        out = out if isinstance(out, dict) else {"s": out}
        for key, value in out.items():
            np.testing.assert_allclose(value.detach(), rows[key], atol=1e-12)
        slopes.append(torch.autograd.grad(sum(o.sum() for o in out.values()), list(layer.parameters())))
    for other in slopes[1:]:
        for ours, wanted in zip(other, slopes[0], strict=True):
            torch.testing.assert_close(ours, wanted, atol=1e-10, rtol=1e-10)
    with jax.enable_x64(True):
        out = neuron.jax(3, dtype=np.float64, key=jax.random.key(0))(jax.numpy.asarray(x), seed=9)[0]
        for key, value in (out if isinstance(out, dict) else {"s": out}).items():
            np.testing.assert_allclose(value, rows[key], atol=1e-12)
