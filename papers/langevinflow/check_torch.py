"""Our declared Langevin neuron beside the released recursion, matrix exponentials and Lyapunov equations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import process_time
from typing import Any

import numpy as np
import torch
from scipy.linalg import expm, solve_discrete_lyapunov

from neuroode.neuron import load
from neuroode.nn.carry import Carry
from neuroode.nn.gaussian_torch import gaussian
from neuroode.papers.langevinflow import theirs
from neuroode.train.latent.declared_torch import Own, one_each

F64 = torch.float64
LANES = 200_000  # pairs of paths
GAMMA, T, K = 0.5, 1.0, 1.0  # of the stationary laws


def _released(size: int, gamma: float, values: np.ndarray, dtype: torch.dtype = F64, **options: Any) -> Any:
    """The zoo's recursion of `size` coordinates of which none acts on another: in the eigenbasis of the Hessian."""
    neuron = one_each(load("langevin", compat="langevinflow_ccn").with_axes({"k": 1}))
    layer = neuron.torch(size, dtype=dtype, init={"gamma": str(gamma)}, **options)
    return layer.set(H=torch.tensor(values, dtype=dtype)[:, None, None])


def _start(layer: Any, q: np.ndarray, p: np.ndarray) -> Carry:
    fresh = layer.init_carry(len(q))
    states = {n: torch.tensor(v, dtype=layer._like.dtype)[..., None] for n, v in (("q", q), ("p", p))}
    return Carry({**fresh, **states}, fresh.digest)


def _rolled(layer: Any, z: np.ndarray, v: np.ndarray, eps: np.ndarray) -> np.ndarray:
    """(T, B, d, 2)."""
    noise = {"xi": torch.tensor(eps, dtype=layer._like.dtype)[..., None]}
    out, _ = layer(None, _start(layer, z, v), noise=noise, steps=len(eps), batch=len(z))
    return torch.cat([out["q"], out["p"]], -1).detach().numpy()


def recursion() -> Mapping[str, float]:
    """The coded update and the declared one, rotated into the eigenbasis of the Hessian, step by step and as one scan;
    200 steps of 3 samples, d = 16 and 64."""
    found: dict[str, float] = {}
    for d in (16, 64):
        rng = np.random.default_rng(d)
        kernel, (z, v), eps = rng.normal(size=(4, 4, 3)), rng.normal(size=(2, 3, d)), rng.normal(size=(200, 3, d))
        values, Q = np.linalg.eigh(theirs.hessian(kernel, d))
        wanted = np.stack(theirs.run(kernel, 0.55, z, v, eps), -1)
        rows = {
            s: _rolled(_released(d, 0.55, values, schedule=s), z @ Q, v @ Q, eps @ Q) for s in ("sequential", "scan")
        }
        ours = {s: np.einsum("tbdn,ed->tben", row, Q) for s, row in rows.items()}
        found[f"d = {d}: loop off the coded update"] = float(np.abs(ours["sequential"] - wanted).max())
        found[f"d = {d}: scan off the loop"] = float(np.abs(ours["scan"] - ours["sequential"]).max())
    return found


def velocity() -> Mapping[str, float]:
    """Variance of v without force after 60 steps, 100,000 samples, against 2/(2 - gamma), in per cent; temperature is 1
    if it is 1."""
    found = {}
    for gamma in (0.55, 0.70):
        layer = _released(100, gamma, np.zeros(100))
        zeros, eps = np.zeros((1000, 100)), np.random.default_rng(0).normal(size=(60, 1000, 100))
        v = _rolled(layer, zeros, zeros, eps)[-1, ..., 1]
        found[f"variance, gamma = {gamma}"] = float(v.var())
        found[f"off by per cent, gamma = {gamma}"] = abs(100 * (float(v.var()) * (2 - gamma) / 2 - 1))
    return found


def _oscillator(gamma: float, k: float, dt: float, method: str) -> Any:
    neuron = load("langevin", compat="harmonic").with_axes({"k": 1})
    return neuron.torch(1, dt=dt, method=method, dtype=F64, init={"gamma": str(gamma), "a": str(k), "T": str(T)})


def _step(gamma: float, k: float, dt: float, method: str) -> tuple[np.ndarray, np.ndarray]:
    """A and S of a step over (q, p)."""
    found = gaussian(_oscillator(gamma, k, dt, method))
    order = [found.states.index(n) for n in ("q__0", "p__0")]
    A, S = found.A[0].detach().numpy(), found.S[0].detach().numpy()
    return A[np.ix_(order, order)], S[np.ix_(order, order)]


def transition() -> Mapping[str, float]:
    """Our exact step against Van Loan's exponential of a 4 x 4 matrix, and the last against 200,000 samples of ours."""
    off, gap = 0.0, 0.0
    for gamma, k in ((0.4, 1.0), (2.0, 1.0), (3.0, 1.0), (2.0, 1.0 + 1e-9)):
        for h in (0.1, 0.7):
            A, S = _step(gamma, k, h, "exact")
            B, noise = np.array([[0, 1], [-k, -gamma]]), np.diag([0, 2 * gamma * T])
            block = expm(h * np.block([[-B, noise], [np.zeros((2, 2)), B.T]]))
            F = block[2:, 2:].T
            off = max(off, float(np.abs(A - F).max()), float(np.abs(S - F @ block[:2, 2:]).max()))
    layer = _oscillator(2.0, 1.0 + 1e-9, 0.7, "exact")
    carry, many = layer.init_carry(200_000), torch.zeros(1, 200_000, 1, 1, dtype=F64)
    out, _ = layer(many, carry, seed=0)
    x = torch.cat([out["q"], out["p"]], -1)[0, :, 0].detach().numpy()
    scale = np.sqrt((np.outer(np.diag(S), np.diag(S)) + S**2) / len(x))
    gap = float(np.abs((x.T @ x / len(x) - S) / scale).max())
    return {"off Van Loan, three regimes": off, "covariance of samples, standard errors": gap}


def _stationary(method: str, h: float) -> np.ndarray:
    A, S = _step(GAMMA, K, h, method)
    return solve_discrete_lyapunov(A, S)


def splittings() -> Mapping[str, float]:
    """Stationary variances of q and p by the discrete Lyapunov equation, T = k = 1, gamma = 0.5."""
    baoab = {h: _stationary("baoab", h) for h in (0.5, 0.25, 0.125, 0.0625)}
    obabo = {h: _stationary("obabo", h) for h in baoab}
    radius = np.abs(np.linalg.eigvals(_step(GAMMA, K, 0.5, "euler_maruyama")[0])).max()
    return {
        "baoab, q": max(abs(P[0, 0] - T / K) for P in baoab.values()),
        "baoab, p, less -k h^2 T/4": max(abs(P[1, 1] - T + K * h**2 * T / 4) for h, P in baoab.items()),
        "obabo, p": max(abs(P[1, 1] - T) for P in obabo.values()),
        "obabo, q, h = 0.5": float(obabo[0.5][0, 0] - T / K),
        "euler, largest eigenvalue, h = 0.5": float(radius),
        "euler, q, h = 0.125": float(_stationary("euler_maruyama", 0.125)[0, 0] - T / K),
    }


def weak_order() -> Mapping[str, float]:
    """E[p^2] after 2 units of time in U = q^4/4 from (1, 0), gamma = T = 1: differences of a step and of its halves on
    the same noise (of BAOAB: the same Ornstein-Uhlenbeck increments), 200,000 pairs, and slopes of their logarithms."""
    found = {}
    for method, steps in (("baoab", (4, 8, 16)), ("euler_maruyama", (16, 32, 64))):
        rows = [_difference(method, n) for n in steps]
        means = np.array([abs(m) for m, _ in rows])
        found[f"{method}, slope"] = float(np.log2(means[0] / means[-1]) / (len(steps) - 1))
        found[f"{method}, standard error of it"] = float(
            np.hypot(rows[0][1] / means[0], rows[-1][1] / means[-1]) / np.log(2) / (len(steps) - 1)
        )
    return found


def _difference(method: str, n: int, lanes: int = LANES) -> tuple[float, float]:
    """Mean and its standard error of p^2 in n steps less p^2 in 2n."""
    rng, h = np.random.default_rng(n), 2.0 / n
    fine = rng.normal(size=(2 * n, lanes))
    c = np.exp(-h / 2) if method == "baoab" else 1.0
    coarse = (c * fine[0::2] + fine[1::2]) / np.sqrt(c**2 + 1)
    squares = []
    for steps, noise in ((n, coarse), (2 * n, fine)):
        layer = _quartic(method, 2.0 / steps)
        fresh = layer.init_carry(1)
        start = Carry({**fresh, "q": torch.ones_like(fresh["q"])}, fresh.digest)
        dW = torch.tensor(noise * np.sqrt(2.0 / steps))[:, None, :, None]
        out, _ = layer(torch.zeros_like(dW), start, noise={"dW": dW})
        squares.append(out["p"][-1].detach().numpy().ravel() ** 2)
    gap = squares[0] - squares[1]
    return float(gap.mean()), float(gap.std() / np.sqrt(lanes))


def _quartic(method: str, dt: float) -> Any:
    neuron = load("langevin", compat="harmonic").with_axes({"k": 1}).replace(equations="U = sum_k(a[k]*q[k]^4/4)")
    return neuron.torch(LANES, dt=dt, method=method, dtype=F64)


def divergence() -> Mapping[str, float]:
    """The divergence of a controlled path of six steps, exact and at 4,000 samples of it, and gradients with respect to
    the control: the mean of those at samples against the exact one."""
    torch.manual_seed(0)
    neuron = one_each(load("langevin", compat="harmonic").with_axes({"k": 1}))
    latent = Own(neuron, 2, 3, {"dt": 1.0, "init": {"T": "0.5"}}, {"gamma": "2"}, True)
    latent.drive.weight.data *= 20
    h, summary, many = torch.randn(6, 1, 3), torch.randn(1, 3), 4000
    wanted, slope = _kl_and_slope(latent, h, summary)
    latent.exact = False
    found, slopes = _kl_and_slope(latent, h.expand(-1, many, -1), summary.expand(many, -1))
    gap = (slopes.mean(1) - slope[:, 0]) / (slopes.std(1) / many**0.5)
    return {
        "exact": float(wanted),
        "mean of samples off, standard errors": abs(float((found.mean() - wanted) / (found.std() / many**0.5))),
        "standard deviation of a sample": float(found.std()),
        "standard deviation of the exact one": 0.0 if _twice_alike(latent, h, summary) else 1.0,
        "gradient off, standard errors, root mean square": float(gap.square().mean().sqrt()),
        "noise of a gradient over its size": float(slopes.std(1).norm() / slope.norm()),
    }


def _kl_and_slope(latent: Own, h: torch.Tensor, summary: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The divergence (B,), and its derivative with respect to what the encoder says at each step, (6, B, 3)."""
    h = h.clone().requires_grad_()
    found = latent(h, summary).kl
    (slope,) = torch.autograd.grad(found.sum(), h)
    return found.detach(), slope


def _twice_alike(latent: Own, h: torch.Tensor, summary: torch.Tensor) -> bool:
    latent.exact = True
    with torch.no_grad():
        return bool((latent(h, summary).kl == latent(h, summary).kl).all())


def speed(d: int = 280, steps: int = 140, batch: int = 16) -> Mapping[str, float]:
    """A roll-out of d = 280 over 140 bins, 16 trials: the coded update step by step in torch, and ours in the
    eigenbasis of the Hessian. Of the same path, products with the basis included; and with start, noise and path in
    that basis throughout: rotated white noise is white noise, and a linear readout takes the rotation back.
    float32, one thread, CPU time, least of nine rounds in turns."""
    rng = np.random.default_rng(0)
    kernel, (z, v), eps = rng.normal(size=(4, 4, 3)), rng.normal(size=(2, batch, d)), rng.normal(size=(steps, batch, d))
    values, Q = (torch.tensor(a, dtype=torch.float32) for a in np.linalg.eigh(theirs.hessian(kernel, d)))
    layer = _released(d, 0.55, values.numpy(), torch.float32)
    given = [torch.tensor(a, dtype=torch.float32) for a in (z, v, eps)]
    K = torch.tensor(theirs.normalised(kernel), dtype=torch.float32)

    def ours(q: torch.Tensor, p: torch.Tensor, xi: torch.Tensor) -> torch.Tensor:
        fresh = layer.init_carry(batch)
        start = Carry({**fresh, "q": q[..., None], "p": p[..., None]}, fresh.digest)
        return layer(None, start, noise={"xi": xi[..., None]}, steps=steps, batch=batch)[0]["q"][..., 0]

    turned = [a @ Q for a in given]
    with torch.no_grad():
        off = float((_coded(K, given) - ours(*turned) @ Q.T).abs().max() / given[0].abs().max())
        loop, same, within = _cpu_seconds(
            lambda: _coded(K, given), lambda: ours(*(a @ Q for a in given)) @ Q.T, lambda: ours(*turned)
        )
    return {
        "same path, times faster": loop / same,
        "within the basis, times faster": loop / within,
        "off, relative": off,
        "loop (ms)": 1e3 * loop,
        "same path (ms)": 1e3 * same,
        "within the basis (ms)": 1e3 * within,
    }


def _coded(K: torch.Tensor, given: list[torch.Tensor], gamma: float = 0.55) -> torch.Tensor:
    """The released step with torch's convolution and the gradient of U by autograd, as its code has it."""
    (z, v, noise), rows = given, []
    for eps in noise:
        with torch.enable_grad():
            x = z.detach().requires_grad_()
            grouped = x.unflatten(-1, (theirs.GROUPS, -1))
            y = torch.nn.functional.conv1d(grouped, K, padding=1)
            (slope,) = torch.autograd.grad((y.sum(1) * grouped.sum(1)).sum(), x)
        z, v = z + theirs.STEP * v, (1 - gamma) * (v - theirs.STEP * slope) + (2 * gamma) ** 0.5 * eps
        rows.append(z)
    return torch.stack(rows)


def _cpu_seconds(*calls: Callable[[], Any], rounds: int = 9) -> list[float]:
    """The least CPU time of each call, on one thread; the calls take turns, so that a busy machine meets all alike."""
    threads, rows = torch.get_num_threads(), []
    torch.set_num_threads(1)
    try:
        for _ in range(rounds):
            rows.append([_cpu_time(call) for call in calls])
    finally:
        torch.set_num_threads(threads)
    return np.min(rows, 0).tolist()


def _cpu_time(call: Callable[[], Any]) -> float:
    began = process_time()
    call()
    return process_time() - began
