"""Fractional layers beside loops written by hand: gradients, and the error of a sum of exponentials."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

import neuroode as no
from neuroode.bench import fractional_cost_torch as cost
from neuroode.bench.fractional_picture import Errors, picture
from neuroode.solvers.on_numpy import fractional as methods

F64 = torch.float64
METHODS = ("soe", "mittag_leffler", "gl", "l1", "abm", "flmm2")
TOLERANCES = (1e-2, 1e-3, 1e-4, 1e-6, 1e-8)
MODE_ALPHAS = (0.3, 0.5, 0.8, 1.0)
MODE_STEPS = 4_000


def sections(quick: bool, plot: Path | None) -> Iterator[str]:
    """Error against modes, times, memory; with a picture of the first two if wanted."""
    tolerances = TOLERANCES[1:2] if quick else TOLERANCES
    errors = {key: found for t in tolerances for key, found in errors_of_modes(t).items()}
    yield agreement()
    yield modes(errors)
    lengths = cost.QUICK_LENGTHS if quick else cost.LENGTHS
    yield cost.times("Forward", cost.measured(cost.FORWARD, lengths))
    training = cost.measured(cost.TRAINING, lengths)
    yield cost.times("A training step, forward and backward", training)
    yield cost.memory((lengths[0], lengths[-1]))
    if plot:
        picture(errors, training, plot)


def linear(lam: float) -> no.Neuron:
    """D^alpha v = -lam*v + I."""
    order = no.Parameter(0.5, domain="interval(0.05, 1)", trainable=True)
    leak = f"-{lam}*v + " if lam else ""
    text = f"D^alpha v = {leak}I"
    return no.Neuron("leaky", dt=1.0, equations=text, parameters={"alpha": order}, outputs={"v": "v"})


def of_constant(alpha: float, h: float, steps: int) -> Iterator[tuple[str, float]]:
    """dL/db of v at the last step, D^alpha v = b: by autograd of loops, and by our layers."""
    for name, loop in PLAIN.items():
        b = torch.tensor(1.0, dtype=F64, requires_grad=True)
        end = loop(b.expand(steps, 1), torch.tensor(alpha, dtype=F64), 0.0, h)[-1].sum()
        yield f"autograd of a plain loop, {name}", torch.autograd.grad(end, b)[0].item()
    for method in METHODS:
        yield f"neuroode, {method}", _of_layer(method, alpha, h, steps)


def _of_layer(method: str, alpha: float, h: float, steps: int) -> float:
    layer = linear(0.0).torch(1, dt=h, method=method, dtype=F64).set(alpha=alpha)
    b = torch.tensor(1.0, dtype=F64, requires_grad=True)
    return torch.autograd.grad(layer(b.expand(steps, 1, 1))[0][-1].sum(), b)[0].item()


def agreement() -> str:
    """Gradients of random inputs and of alpha: layers beside autograd of loops and beside one another."""
    lines = ["| gradient of | beside | inputs, off | alpha, off |", "|---|---|---|---|"]
    loop, kernel = _of_loop(plain_gl), _of_random("soe", schedule="sequential")
    pairs = {
        ("method gl", "autograd of a plain loop"): (_of_random("gl"), loop),
        ("method soe, kernel", "autograd of its steps"): (kernel, _of_random("soe", schedule="eager")),
        ("method soe, kernel", "method mittag_leffler"): (kernel, _of_random("mittag_leffler")),
    }
    for (name, beside), (found, wanted) in pairs.items():
        off = (float(np.abs(a - b).max() / np.abs(b).max()) for a, b in zip(found, wanted, strict=True))
        lines.append(f"| {name} | {beside} | " + " | ".join(f"{x:.0e}" for x in off) + " |")
    about = (f"D^a v = -{LEAK} v + input, a = 0.5, {RANDOM} random inputs, a random weight for each v, float64; "
             "relative to the largest. soe keeps its tolerance of 1e-6 for each v; alpha has one gradient, a sum "
             "over all v that nearly cancels.")  # fmt: skip
    return f"## Gradients against autograd\n\n{about}\n\n" + "\n".join(lines)


LEAK, RANDOM = 0.5, 100


def _drawn() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(RANDOM, 1, 1, dtype=F64, generator=generator).requires_grad_()
    return x, torch.randn(RANDOM, 1, 1, dtype=F64, generator=generator)


def _of_random(method: str, **options: str) -> tuple[np.ndarray, np.ndarray]:
    layer = linear(LEAK).torch(1, dt=0.1, method=method, dtype=F64, **options)
    x, g = _drawn()
    stored = next(layer.parameters())
    by_x, by_raw = torch.autograd.grad((layer(x)[0] * g).sum(), [x, stored])
    slope = torch.autograd.grad(layer.values["alpha"].sum(), stored)[0]
    return by_x.numpy(), (by_raw / slope).numpy()


def _of_loop(loop: Callable[..., torch.Tensor]) -> tuple[np.ndarray, np.ndarray]:
    x, g = _drawn()
    alpha = torch.tensor([0.5], dtype=F64, requires_grad=True)
    by_x, by_alpha = torch.autograd.grad((loop(x[:, 0], alpha, LEAK, 0.1)[:, None] * g).sum(), [x, alpha])
    return by_x.numpy(), by_alpha.numpy()


def plain_rectangle(x: torch.Tensor, alpha: torch.Tensor, lam: float, h: float) -> torch.Tensor:
    """D^alpha v = -lam*v + x by rectangles, explicit, v (T, lanes): the sums as they stand."""
    k = torch.arange(len(x) + 1, dtype=F64) ** alpha
    weights = (k[1:] - k[:-1]) * h**alpha * torch.exp(-torch.lgamma(alpha + 1))
    return _summed(x, weights, lam)


def plain_gl(x: torch.Tensor, alpha: torch.Tensor, lam: float, h: float) -> torch.Tensor:
    """The same by Grünwald-Letnikov: weights are the coefficients of (1 - z)^(-alpha)."""
    ratios = 1 - (1 - alpha) / torch.arange(1, len(x), dtype=F64)
    weights = torch.cat([torch.ones(1, dtype=F64), torch.cumprod(ratios, 0)]) * h**alpha
    return _summed(x, weights, lam)


def _summed(x: torch.Tensor, weights: torch.Tensor, lam: float) -> torch.Tensor:
    v, past, found = torch.zeros_like(x[0]), [], []
    for n, now in enumerate(x.unbind(0)):
        past.append(now - lam * v)
        v = weights[: n + 1].flip(0) @ torch.stack(past)
        found.append(v)
    return torch.stack(found)


PLAIN = {"rectangles": plain_rectangle, "gl": plain_gl}


def modes(errors: Errors) -> str:
    """Error of the leak's response against the number of modes."""
    lines = ["| tolerance | " + " | ".join(f"a = {a:g}: modes, error" for a in MODE_ALPHAS) + " |"]
    lines.append("|---" * (len(MODE_ALPHAS) + 1) + "|")
    for tolerance in dict.fromkeys(t for _, t in errors):
        cells = (f"{k}, {off:.1e}" for k, off in (errors[a, tolerance] for a in MODE_ALPHAS))
        lines.append(f"| {tolerance:g} | " + " | ".join(cells) + " |")
    return f"## Error against modes\n\n{ABOUT_MODES}\n\n" + "\n".join(lines)


TOLERANCES = (1e-2, 1e-3, 1e-4, 1e-6, 1e-8)
MODE_ALPHAS = (0.3, 0.5, 0.8, 1.0)
MODE_STEPS = 4_000
ABOUT_MODES = f"""\
D^a v = -v from v = 1 to t = 1 in {MODE_STEPS:,} steps, float64: leaks in the sum, and the largest difference to
E_a(-t^a)."""


def errors_of_modes(tolerance: float) -> Errors:
    """Leaks that the step has, and how far their sum is off the Mittag-Leffler function; orders side by side."""
    neuron, method = linear(1.0).add(states={"v": 1}), f"soe(tolerance={tolerance:g}, steps={MODE_STEPS})"
    neuron = neuron.replace(parameters={"alpha": no.Parameter(0.5, domain="interval(0.05, 1)", per="neuron")})
    silent, dt = np.zeros((MODE_STEPS, 1, len(MODE_ALPHAS))), 1 / MODE_STEPS
    v = neuron.simulate(silent, dt, method=method, parameters={"alpha": np.array(MODE_ALPHAS)})["v"][:, 0]
    count = len(neuron.discretize(dt, method).updates[0].states)
    exact = [methods.leak(silent[:, 0, 0], 1.0, a, 1.0, dt)[1:] for a in MODE_ALPHAS]
    return {(a, tolerance): (count, float(np.abs(v[:, k] - exact[k]).max())) for k, a in enumerate(MODE_ALPHAS)}
