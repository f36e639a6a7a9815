"""Transitions of linear-Gaussian layers: against Van Loan, scipy's densities, quadrature, sequential recursions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from transitions import van_loan

import neuroode as no
from neuroode.nn.gaussian_torch import gaussian, kl, kl_of_paths, log_density, moments

F64 = torch.float64


def harmonic(size: int = 3, **values: object) -> torch.nn.Module:
    """Underdamped, critically damped and overdamped neurons side by side."""
    n = no.load("langevin", compat="harmonic").with_axes({"k": 1})
    layer = n.torch(size, dtype=F64, schedule="eager")
    return layer.set(**values) if values else layer


def test_the_step_of_a_layer_is_the_transition() -> None:
    layer = no.load("ou").torch(2, dtype=F64).set(tau=torch.tensor([5.0, 20.0]), sigma=torch.tensor([0.5, 2.0]))
    step = gaussian(layer)
    decay = torch.exp(-1 / torch.tensor([5.0, 20.0], dtype=F64))
    torch.testing.assert_close(step.A[:, 0, 0], decay, atol=1e-14, rtol=0)
    torch.testing.assert_close(step.B[:, 0, 0], 1 - decay, atol=1e-14, rtol=0)
    torch.testing.assert_close(step.S[:, 0, 0], torch.tensor([0.25, 4.0]) * (1 - decay**2), atol=1e-14, rtol=0)
    step = gaussian(harmonic(gamma=0.7, T=1.3))
    P, S = van_loan(np.array([[0, 1], [-1, -0.7]]), np.diag([0, 2 * 0.7 * 1.3]), 0.1)
    order = [step.states.index(n) for n in ("q__0", "p__0")]
    np.testing.assert_allclose(step.A[0][order][:, order].detach(), P, atol=1e-14)
    np.testing.assert_allclose(step.S[2][order][:, order].detach(), S, atol=1e-15)
    assert step.noisy == (0, 1)


@pytest.mark.parametrize("steps", [1, 7, 40])
def test_moments_by_scan_are_those_step_by_step_with_gradients(steps: int) -> None:
    layer = harmonic()
    x = torch.randn(steps, 4, 3, 1, dtype=F64)
    mean, covariance = torch.randn(4, 3, 2, dtype=F64), torch.eye(2, dtype=F64).expand(3, 2, 2)
    found = {}
    for schedule in ("scan", "sequential"):
        rows = moments(gaussian(layer), mean, covariance, steps, x, schedule)
        loss = (rows[0] ** 2).sum() + (rows[1] * torch.arange(4.0).reshape(2, 2)).sum()
        found[schedule] = *rows, *torch.autograd.grad(loss, list(layer.parameters()))
    for ours, wanted in zip(found["scan"], found["sequential"], strict=True):
        torch.testing.assert_close(ours, wanted, atol=1e-10, rtol=1e-10)


def test_moments_are_those_of_many_paths() -> None:
    layer, x = harmonic(1), torch.ones(25, 5_000, 1, 1, dtype=F64)
    step = gaussian(layer)
    start = torch.zeros(1, 2, dtype=F64)
    mean, covariance = moments(step, start, torch.zeros(1, 2, 2, dtype=F64), 25, x[:, 0])
    with torch.no_grad():
        last = step.stacked(layer.trace(x, seed=1))[-1, :, 0]
    error = (last.mean(0) - mean[-1, 0]).abs() / (covariance[-1, 0].diagonal() / 5_000).sqrt()
    assert error.max() < 4
    np.testing.assert_allclose(np.cov(last.T), covariance[-1, 0].detach(), atol=0.03)


def test_a_log_density_is_that_of_scipy_and_of_replayed_noise() -> None:
    layer, steps = harmonic(2), 6
    x, start = torch.randn(steps, 1, 2, 1, dtype=F64), torch.zeros(1, 2, 2, dtype=F64)
    step = gaussian(layer)
    path = step.stacked(layer.trace(x, seed=3))
    found = log_density(step, path, start, x)
    before, total = np.zeros((2, 2)), 0.0
    A, S, drive = step.A.detach().numpy(), step.S.detach().numpy(), step.drive(x).detach().numpy()[:, 0]
    for t in range(steps):
        for i in range(2):
            total += multivariate_normal(A[i] @ before[i] + drive[t, i], S[i]).logpdf(path[t, 0, i].detach().numpy())
        before = path[t, 0].detach().numpy()
    assert found.item() == pytest.approx(total, abs=1e-9)
    log_density(gaussian(layer), path.detach(), start, x).sum().backward()
    for p in layer.parameters():
        rows = []
        for h in (-1e-5, 1e-5):
            with torch.no_grad():
                p.flatten()[0] += h
                rows.append(log_density(gaussian(layer), path.detach(), start, x).item())
                p.flatten()[0] -= h
        assert p.grad.flatten()[0].item() == pytest.approx((rows[1] - rows[0]) / 2e-5, rel=1e-6, abs=1e-8)


def test_kl_divergences() -> None:
    mean, other = torch.tensor([0.3, -0.2], dtype=F64), torch.tensor([0.0, 0.5], dtype=F64)
    C, D = torch.tensor([[0.5, 0.1], [0.1, 0.3]], dtype=F64), torch.tensor([[0.8, -0.2], [-0.2, 0.9]], dtype=F64)
    gap = other - mean
    wanted = 0.5 * (torch.trace(D.inverse() @ C) + gap @ D.inverse() @ gap - 2 + torch.log(D.det() / C.det()))
    assert kl(mean, C, other, D).item() == pytest.approx(wanted.item(), abs=1e-14)
    assert kl(mean, C, mean, C).abs().item() < 1e-14


def test_the_kl_of_paths_is_the_mean_of_log_ratios() -> None:
    ours, theirs = harmonic(1, gamma=0.8), harmonic(1, gamma=1.1, T=1.2)
    steps, samples = 10, 10_000
    x = torch.zeros(steps, samples, 1, 1, dtype=F64)
    step, other = gaussian(ours), gaussian(theirs)
    with torch.no_grad():
        path = step.stacked(ours.trace(x, seed=0))
        start = torch.zeros(samples, 1, 2, dtype=F64)
        ratio = log_density(step, path, start, x) - log_density(other, path, start, x)
        zero = torch.zeros(1, 2, dtype=F64), torch.zeros(1, 2, 2, dtype=F64)
        found = kl_of_paths(step, other, *zero, steps, x[:, 0], x[:, 0])
    assert found.shape == (1,)
    assert abs(found.item() - ratio.mean().item()) < 4 * ratio.std().item() / samples**0.5


def joint(step: object, mean: torch.Tensor, P: torch.Tensor, drive: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Law of x(0), ..., x(T) as one vector, by writing every x as a linear map of x(0) and all noise."""
    A, L, n = step.A[0], step.L[0], len(mean)
    T, m = len(drive), step.L.shape[-1]
    maps, means = [torch.cat([torch.linalg.cholesky(P), torch.zeros(n, T * m, dtype=F64)], 1)], [mean]
    for t in range(T):
        new = A @ maps[-1]
        new[:, n + t * m : n + (t + 1) * m] += L
        maps.append(new)
        means.append(A @ means[-1] + drive[t])
    full = torch.cat(maps)
    return torch.cat(means), full @ full.T


def test_the_kl_of_paths_is_that_of_their_joint_laws() -> None:
    ours, theirs = (gaussian(harmonic(1, **v)) for v in ({"gamma": 0.8}, {"gamma": 2.5, "T": 1.6, "a": 3.0}))
    mean, P = torch.tensor([0.5, -1.0], dtype=F64), torch.tensor([[2.0, 0.5], [0.5, 1.0]], dtype=F64)
    x, other_x = torch.linspace(-1, 1, 5, dtype=F64).reshape(5, 1, 1), torch.ones(5, 1, 1, dtype=F64)
    with torch.no_grad():
        found = kl_of_paths(ours, theirs, mean[None], P[None], 5, x, other_x)
        laws = (joint(s, mean, P, s.drive(v)[:, 0]) for s, v in ((ours, x), (theirs, other_x)))
        wanted = kl(*(part for law in laws for part in law))
    assert found.item() == pytest.approx(wanted.item(), rel=1e-8)


def test_noise_in_other_states_diverges() -> None:
    start, none = torch.zeros(1, 2, dtype=F64), torch.zeros(1, 2, 2, dtype=F64)
    one, both = (
        gaussian(line(f"dq = p*dt{more}\ndp = (-q - p)*dt + dW").torch(1, dtype=F64, method="euler_maruyama"))
        for more in ("", " + dW_q")
    )
    with pytest.raises(no.RunError, match="reaches different states"):
        kl_of_paths(one, both, start, none, 4)


def test_what_has_no_gaussian_step_is_refused() -> None:
    with pytest.raises(no.Unsupported, match="not affine in states"):
        gaussian(no.load("langevin").torch(1, dtype=F64))
    with pytest.raises(no.Unsupported, match="events that reset states"):
        gaussian(no.load("noisy_lif").torch(1, dtype=F64))
    with pytest.raises(no.Unsupported, match="a solver moves 'ou'"):
        gaussian(no.load("ou").torch(1, dtype=F64, solver="torchsde"))
    quadratic = no.load("langevin", compat="harmonic").torch(1, dtype=F64, method="baoab", axes={"k": 4})
    assert gaussian(quadratic).A.shape == (1, 8, 8)


def line(equations: str, **more: object) -> no.Neuron:
    names = [row[1] for row in equations.splitlines()]
    return no.Neuron("line", dt=0.1, equations=equations, outputs={n: n for n in names}, **more)


def test_affine_is_what_the_step_is_everywhere() -> None:
    """Both are affine near 0."""
    for drift in ("-max(v - 5, -7)", "where(v > 30, -v, -2*v)", "-min(v, 1e6)"):
        with pytest.raises(no.Unsupported, match="not affine in states"):
            gaussian(line(f"dv = {drift}*dt + 0.3*dW").torch(1, dtype=F64))


def test_noise_of_fewer_dimensions_than_states_has_no_density() -> None:
    start, path = torch.zeros(1, 2, dtype=F64), torch.zeros(3, 1, 2, dtype=F64)
    pair = line("dq = p*dt\ndp = (-q - p)*dt + dW")
    one = gaussian(pair.torch(1, dtype=F64, method="baoab"))
    same = gaussian(line("da = -a*dt + dW\ndb = -b*dt + dW").torch(1, dtype=F64, method="exact"))
    for step in (one, same):
        with pytest.raises(no.RunError, match="fewer dimensions than the states that it reaches"):
            log_density(step, path, start)
        with pytest.raises(no.RunError, match="fewer dimensions"):
            kl_of_paths(step, step, start, torch.eye(2, dtype=F64)[None], 3)
    assert log_density(gaussian(pair.torch(1, dtype=F64, method="obabo")), path, start).isfinite()


def test_transitions_that_differ_where_nothing_is_random_diverge() -> None:
    start, none = torch.zeros(1, 2, dtype=F64), torch.zeros(1, 2, 2, dtype=F64)
    slow, fast, pushed = (
        gaussian(line(f"dq = {flow}*dt\ndp = (-q - p)*dt + dW").torch(1, dtype=F64, method="euler_maruyama"))
        for flow in ("p", "2*p", "(p + 1)")
    )
    assert kl_of_paths(slow, slow, start, none, 4).item() == 0
    for other in (fast, pushed):
        with pytest.raises(no.RunError, match="differ in q, which no noise reaches"):
            kl_of_paths(slow, other, start, none, 4)
