"""Exact steps against exponentials in many digits, at and near every coincidence: values, float32, gradients, dt."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from references import distance, exact_slope, exact_step, interpreted_step, neuron, torch_step

NEAR = [0.0, 1e-12, 1e-9, 1e-6, 1e-3]

CASES: dict[str, tuple[list, float]] = {
    "decay": ([[-0.05]], 1.0),
    "growth": ([[2.0]], 1.0),
    "stiff": ([[-1e4]], 1.0),
    "tiny": ([[-1e-13]], 1.0),
    "tiny product": ([[-1e-3]], 1e-9),
    "phi series edge": ([[-0.9999999]], 1.0),
    "lower, far": ([[-0.2, 0], [0.7, -0.1]], 1.0),
    "lower, one stiff": ([[-1e4, 0], [3.0, -0.1]], 1.0),
    "lower, fast reads slow": ([[-0.1, 0], [3.0, -1e4]], 1.0),
    "lower, both stiff": ([[-1e4, 0], [3.0, -1.1e4]], 1.0),
    "lower, growth and decay": ([[3.0, 0], [1.0, -40.0]], 1.0),
    "lower 3, equal": ([[-0.1, 0, 0], [1, -0.1, 0], [0.5, 2, -0.1]], 1.0),
    "lower 3, two equal": ([[-0.1, 0, 0], [1, -3.0, 0], [0.5, 2, -0.1]], 1.0),
    "lower 3, chain stiff": ([[-500.0, 0, 0], [1, -500.0, 0], [0, 2, -0.1]], 1.0),
    "lower 3, spread 2": ([[-2.0000001, 0, 0], [1, -1e-7, 0], [0.5, 2, -1.0]], 1.0),
    "oscillator": ([[0.05, -10.0], [10.0, 0.05]], 0.01),
    "oscillator, many turns": ([[-1.0, -100.0], [100.0, -1.0]], 1.0),
    "oscillator, undamped": ([[1e-300, -3.0], [3.0, 1e-300]], 2.0),
    "critical": ([[-2.0, 1.0], [-1.0, 1e-300]], 0.3),
    "real pair": ([[-1.0, 2.0], [3.0, -0.5]], 1.0),
    "real pair, stiff": ([[-1e4, 20.0], [3.0, -0.5]], 1.0),
    "nilpotent, full": ([[1.0, 1.0], [-1.0, -1.0]], 1.0),
    "tiny full": ([[1e-9, 1e-9], [-2e-9, 1e-9]], 1.0),
    "full 3": ([[-1.0, 0.5, 0.2], [0.3, -2.0, 0.7], [1.0, 0.1, -0.5]], 1.0),
    "full 3, stiff": ([[-1e4, 0.5, 0.2], [0.3, -2.0, 0.7], [1.0, 0.1, -0.5]], 1.0),
    "full 3, singular": ([[-1.0, 1.0, 0.5], [1.0, -1.0, 0.5], [1e-300, 1e-300, -1.0]], 1.0),
    "upper": ([[-0.2, 0.7], [0, -0.2]], 1.0),
    "scrambled chain": ([[-0.3, 0, 2.0], [1.5, -0.3, 0.1], [0, 0, -0.3]], 1.0),
    "full 4": ((0.7 * np.random.default_rng(1).normal(size=(4, 4))).tolist(), 1.5),
}  # fmt: skip
CASES |= {f"tau_m near tau_s, {e:g}": ([[-0.1, 0], [0.1, -0.1 - e]], 1.0) for e in NEAR}
CASES |= {f"lower 3 near, {e:g}": ([[-1.0, 0, 0], [1, -1.0 - e, 0], [1, 1, -1.0 + 2 * e]], 1.0) for e in NEAR}
CASES |= {
    f"full 2 near defective, {e:g}": ([[-1.0, 1.0], [-0.25 + e, -2.0]], 1.0)
    for e in (*NEAR, -1e-12, -1e-9, -1e-6, -1e-3)
}
CASES |= {f"zero eigenvalue in full 2, {e:g}": ([[-1.0, 2.0], [1.0, -2.0 - e]], 1.0) for e in NEAR}


def bound(A: np.ndarray, dt: float) -> float:
    return 1e-12 * max(1.0, np.abs(A * dt).sum(axis=0).max())


def reference(A: np.ndarray, dt: float) -> np.ndarray:
    return np.concatenate(exact_step(A, dt), axis=1)


def parts(both: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return both[:, : len(both)], both[:, len(both) :]


def assert_exact(found: np.ndarray, A: np.ndarray, dt: float) -> None:
    """Phi and Gamma, each relative to its own largest entry."""
    for ours, wanted in zip(parts(found), parts(reference(A, dt)), strict=True):
        assert distance(ours, wanted) <= bound(A, dt) or np.abs(ours - wanted).max() < 1e-290


@pytest.mark.parametrize("name", CASES)
def test_the_interpreter_has_the_exact_step(name: str) -> None:
    A, dt = np.array(CASES[name][0]), CASES[name][1]
    assert_exact(interpreted_step(A != 0, A, dt), A, dt)


@pytest.mark.parametrize("name", CASES)
def test_the_emitted_text_has_the_exact_step(name: str) -> None:
    A, dt = np.array(CASES[name][0]), CASES[name][1]
    assert_exact(torch_step(A != 0, A, dt)[0].detach().numpy(), A, dt)


@pytest.mark.parametrize("name", CASES)
def test_float32(name: str) -> None:
    A, dt = np.array(CASES[name][0], np.float32).astype(float), float(np.float32(CASES[name][1]))
    found = torch_step(A != 0, A, dt, torch.float32)[0].detach().double().numpy()
    for ours, wanted in zip(parts(found), parts(reference(A, dt)), strict=True):
        allowed = 1e-5 * max(1.0, np.abs(A * dt).sum(axis=0).max() / 10)
        assert distance(ours, wanted) <= allowed or np.abs(ours - wanted).max() < 1e-37


@pytest.mark.parametrize("name", ["lower 3, equal", "oscillator", "real pair", "full 3", "full 4"])
def test_the_reference_itself_agrees_with_scipy(name: str) -> None:
    A, dt = np.array(CASES[name][0]), CASES[name][1]
    n = len(A)
    augmented = np.block([[A, np.eye(n)], [np.zeros((n, 2 * n))]]) * dt
    assert distance(reference(A, dt), scipy.linalg.expm(augmented)[:n]) <= 1e-13


@pytest.mark.parametrize("name", [n for n in CASES if "many turns" not in n])
def test_gradients_in_every_entry_and_in_dt(name: str) -> None:
    A, dt = np.array(CASES[name][0]), CASES[name][1]
    weights = np.random.default_rng(0).normal(size=(len(A), 2 * len(A)))
    found, leaves = torch_step(A != 0, A, dt)
    (found * torch.tensor(weights)).sum().backward()
    entries = list(zip(*np.nonzero(A), strict=True))
    wanted = [exact_slope(A, dt, weights, e) for e in entries] + [exact_slope(A, dt, weights, None)]
    ours = [leaves[f"a{i}{j}"].grad.sum().item() for i, j in entries] + [leaves["dt"].grad.item()]
    assert distance(ours, wanted) <= 10 * bound(A, dt)


POLES = [-1 + 10j, 1e-9 + 0j, 1e-300 + 1e-300j, -1e4 + 3j, 0.3 + 1e-12j, -0.5 + 2j * np.pi, 400j * np.pi, 0.7 + 0.7j]
COMPLEX = """
parameters: {b: 0, w: 0}
method: exact
equations: "du/dt = (b + i*w)*u + I : complex"
states: {u: 1}
outputs: real(u)
"""


@pytest.mark.parametrize("pole", POLES)
@pytest.mark.parametrize("dt", [1.0, 0.01])
def test_one_complex_state(pole: complex, dt: float) -> None:
    phi, gamma = (m[0, 0] for m in exact_step(np.array([[pole]]), dt))
    x = np.array([0.0, 1.0]).reshape(1, 1, 2)
    held, driven = neuron(COMPLEX).simulate(x, dt, parameters={"b": pole.real, "w": pole.imag})["u"][0, 0]
    allowed = 1e-12 * max(1, abs(pole * dt)) * max(1, abs(phi))
    assert abs(held - phi) <= allowed
    assert abs(driven - held - gamma) <= allowed


def test_a_constant_drive_and_a_held_input() -> None:
    """dv/dt = (E - v + R I)/tau for 50 steps against the formula of textbooks."""
    n = neuron("parameters: {tau: 20, E: -65, R: 3}\nstates: {v: E}\nequations: dv/dt = (E - v + R*I)/tau\n")
    x = np.random.default_rng(0).normal(size=(50, 1, 1))
    v, wanted, a = -65.0, [], np.exp(-0.5 / 20)
    for i in x.ravel():
        v = -65 + (v + 65) * a + 3 * i * (1 - a)
        wanted.append(v)
    assert distance(n.simulate(x, 0.5)["v"].ravel(), wanted) <= 1e-13


def _planted(draw, n: int, triangular: bool) -> np.ndarray:
    """A random matrix whose eigenvalues coincide now and then: exactly, nearly, or at 0."""
    numbers = st.floats(-5, 5, allow_subnormal=False).map(lambda v: 0.0 if abs(v) < 1e-8 else v)
    A = np.array(draw(st.lists(numbers, min_size=n * n, max_size=n * n))).reshape(n, n)
    A[np.arange(n), np.arange(n)] *= draw(st.sampled_from([1.0, 1e-6, 100.0]))
    if draw(st.booleans()):
        near = draw(st.sampled_from(NEAR))
        A[np.arange(n), np.arange(n)] = A[0, 0] * (1 + near * np.arange(n))
    return np.tril(A) if triangular else A


@st.composite
def systems(draw) -> tuple[np.ndarray, float, bool]:
    triangular = draw(st.booleans())
    A = _planted(draw, draw(st.sampled_from([1, 2, 3])), triangular)
    return A, draw(st.sampled_from([1.0, 1e-4])), triangular


@settings(max_examples=40, deadline=None, derandomize=True)
@given(systems())
def test_random_systems_with_planted_coincidences(system: tuple[np.ndarray, float, bool]) -> None:
    """The pattern is the same for every matrix of one shape, so that the parameters decide where it degenerates."""
    A, dt, triangular = system
    pattern = np.tril(np.ones_like(A)) if triangular else np.ones_like(A)
    assert_exact(interpreted_step(pattern, A, dt), A, dt)
    assert_exact(torch_step(pattern, A, dt)[0].detach().numpy(), A, dt)
