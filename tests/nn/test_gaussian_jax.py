"""Linear-Gaussian layers in JAX: the numbers and gradients of torch, inside of jit, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

import neuroode as no
from neuroode.nn import gaussian, kl, kl_of_paths, log_density, moments

jax = pytest.importorskip("jax")
eqx = pytest.importorskip("equinox")
import jax.numpy as jnp  # noqa: E402

F64 = torch.float64
T, B, N = 5, 4, 3


@pytest.fixture(autouse=True)
def _float64() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


def pair(method: str = "obabo", **values: float) -> tuple[Any, Any]:
    """One oscillator a neuron, in torch and in jax."""
    n = no.load("langevin", compat="harmonic").with_axes({"k": 1})
    ours = n.torch(N, dtype=F64, method=method, schedule="eager").set(**values)
    return ours, n.jax(N, dtype=np.float64, method=method, key=jax.random.key(0)).set(**values)


def figures(step: Any, other: Any, x: Any, path: Any, start: Any, C: Any) -> list[Any]:
    """All that there is, of a transition, another, inputs, a path, its start, and covariances."""
    mean, covariance = moments(step, start, C, T, x)
    slow = moments(step, start, C, T, x, schedule="sequential")
    divergence = kl(mean, covariance[:, None] + 0 * mean[..., None], 0 * mean, C + 0 * mean[..., None])
    paths = kl_of_paths(step, other, start, C, T, x, 0.9 * x)
    return [step.A, step.B, step.b, step.S, mean, covariance, *slow, log_density(step, path, start, x),
            divergence, paths]  # fmt: skip


def numbers(step: Any) -> tuple[np.ndarray, ...]:
    """Inputs, a path of a torch transition from its start, covariances."""
    random = np.random.default_rng(0)
    root = random.normal(size=(N, 2, 2))
    x, start = random.normal(size=(T, B, N, 1)), random.normal(size=(B, N, 2))
    A, L, drive = (a.detach().numpy() for a in (step.A, step.L, step.drive(torch.tensor(x))))
    now, path = start, np.zeros((T, B, N, 2))
    for t in range(T):
        noise = random.normal(size=(B, N, L.shape[-1], 1))
        now = path[t] = (A @ now[..., None] + L @ noise)[..., 0] + drive[t]
    return x, path, start, root @ root.swapaxes(-1, -2) + 0.5 * np.eye(2)


@pytest.mark.parametrize("method", ["obabo", pytest.param("exact", marks=pytest.mark.slow)])
def test_everything_is_as_in_torch_also_inside_of_jit(method: str) -> None:
    ours, theirs = pair(method, gamma=0.7, T=1.3), pair(method, gamma=1.1)
    given = numbers(gaussian(ours[0]))
    wanted = figures(gaussian(ours[0]), gaussian(theirs[0]), *map(torch.tensor, given))

    def run(a: Any, b: Any, given: Any) -> list[Any]:
        return figures(gaussian(a), gaussian(b), *given)

    found = eqx.filter_jit(run)(ours[1], theirs[1], tuple(map(jnp.asarray, given)))
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other.detach(), rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(gaussian(ours[1]).S, found[3], rtol=1e-13)


def test_gradients_are_those_of_torch() -> None:
    ours, theirs = pair(gamma=0.7, T=1.3)
    x, path, start, C = numbers(gaussian(ours))

    def loss(layer: Any, x: Any, path: Any, start: Any, C: Any) -> Any:
        step = gaussian(layer)
        mean, covariance = moments(step, start, C, T, x)
        return log_density(step, path, start, x).sum() + (mean**2).sum() + (covariance**2).sum()

    loss(ours, *map(torch.tensor, (x, path, start, C))).backward()
    slopes = eqx.filter_jit(eqx.filter_grad(loss))(theirs, *map(jnp.asarray, (x, path, start, C)))
    found = slopes.parameters_of_neuron.raw
    wanted = {n.rpartition(".raw_")[2]: p.grad for n, p in ours.named_parameters()}
    assert len(found) == len(wanted) >= 2
    for name, slope in found.items():
        np.testing.assert_allclose(slope, wanted[name], rtol=1e-9, atol=1e-10)
    assert any(np.abs(s).max() > 1 for s in found.values())


def test_a_transition_is_a_pytree_with_names() -> None:
    step = gaussian(pair()[1])
    assert sorted(step.states) == ["p__0", "q__0"]
    assert step.noisy == (0, 1)
    many = jax.jit(jax.vmap(lambda s: moments(step, s, jnp.zeros((N, 2, 2)), 4)[0]))(jnp.ones((5, N, 2)))
    assert many.shape == (5, 4, N, 2)
    doubled = jax.tree.map(lambda a: 2 * a, step)
    assert doubled.states == step.states
    np.testing.assert_array_equal(doubled.A, 2 * step.A)


def line(equations: str, method: str) -> Any:
    names = [row[1] for row in equations.splitlines()]
    n = no.Neuron("line", dt=0.1, equations=equations, outputs={n: n for n in names})
    return n.jax(1, dtype=np.float64, method=method, key=jax.random.key(0))


def test_what_has_no_gaussian_step_is_refused() -> None:
    with pytest.raises(no.Unsupported, match="not affine in states"):
        gaussian(line("dv = -v^3*dt + dW", "euler_maruyama"))
    with pytest.raises(no.Unsupported, match="recurrent weights mix the neurons"):
        gaussian(no.load("ou").jax(2, dtype=np.float64, recurrent=True, key=jax.random.key(0)))
    with pytest.raises(no.Unsupported, match="a solver moves 'ou'"):
        gaussian(no.load("ou").jax(1, dtype=np.float64, solver="diffrax", key=jax.random.key(0)))
    with pytest.raises(no.RunError, match="a covariance is not positive definite"):
        kl(jnp.zeros(2), -jnp.eye(2), jnp.zeros(2), jnp.eye(2))


@pytest.mark.slow
def test_what_has_no_density_is_refused() -> None:
    path, start = jnp.zeros((3, 1, 2)), jnp.zeros((1, 2))
    one = gaussian(line("dq = p*dt\ndp = (-q - p)*dt + dW", "baoab"))
    with pytest.raises(no.RunError, match="fewer dimensions than the states that it reaches"):
        log_density(one, path, start)
    with pytest.raises(RuntimeError, match="fewer dimensions"):
        eqx.filter_jit(log_density)(one, path, start).block_until_ready()
    slow, fast = (gaussian(line(f"dq = {f}*dt\ndp = (-q - p)*dt + dW", "euler_maruyama")) for f in ("p", "2*p"))
    assert [slow.states[i] for i in slow.noisy] == ["p"]
    with pytest.raises(no.RunError, match="differ in q, which no noise reaches"):
        kl_of_paths(slow, fast, start, jnp.zeros((1, 2, 2)), 4)
    quiet = gaussian(no.load("ou").jax(1, dtype=np.float64, key=jax.random.key(0)).set(sigma=0.0))
    with pytest.raises(no.RunError, match="no noise reaches a state"):
        log_density(quiet, jnp.zeros((3, 1, 1)), jnp.zeros((1, 1)))
