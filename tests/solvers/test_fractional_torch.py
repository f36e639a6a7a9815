"""Fractional weights in torch against numpy, their gradients, and the online convolution with its transpose."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from neuroode.solvers.on_numpy import fractional
from neuroode.solvers.on_numpy import fractional_weights as reference
from neuroode.solvers.on_numpy.mittag_leffler import mittag_leffler
from neuroode.solvers.on_torch import fractional_torch as weights
from neuroode.solvers.on_torch.online_torch import OnlineConvolution, convolved

DOUBLE = torch.float64
ORDERS = (0.3, 0.5, 0.8, 0.97, 1.0)


@pytest.mark.parametrize("alpha", ORDERS)
def test_weights_are_those_of_numpy(alpha: float) -> None:
    a, z = torch.tensor(alpha, dtype=DOUBLE), np.geomspace(1e-3, 1e4, 40)
    for beta in (1.0, alpha, 1 + alpha):
        found = weights.mittag_leffler(torch.tensor(z), a, torch.tensor(beta, dtype=DOUBLE))
        assert np.abs(found.numpy() - mittag_leffler(z, alpha, beta)).max() < 1e-13
    assert np.abs(weights.rectangle_weights(a, 400).numpy() - reference.rectangle_weights(alpha, 400)).max() < 1e-14
    pairs = zip(weights.trapezoid_weights(a, 400), reference.trapezoid_weights(alpha, 400), strict=True)
    assert max(np.abs(x.numpy() - y).max() for x, y in pairs) < 1e-12
    for rule, series in reference.SERIES.items():
        assert np.abs(weights.flmm2_series(a, 400, rule).numpy() - series(alpha, 400)).max() < 1e-13
        own = weights.starting_weights(a, 400, rule).numpy()
        assert np.abs(own - reference.starting_weights(alpha, 400, rule, causal=True)).max() < 1e-7  # see the module
    leak = weights.unit_response(a, torch.tensor(0.7, dtype=DOUBLE), 0.1, 400).numpy()
    assert np.abs(leak - fractional.unit_response(alpha, 0.7, 0.1, 400)).max() < 1e-12


@pytest.mark.parametrize("alpha", ORDERS)
def test_l1_and_gl_are_convolutions(alpha: float) -> None:
    n, rng = 200, np.random.default_rng(1)
    f, a = rng.normal(size=n + 1), torch.tensor(alpha, dtype=DOUBLE)
    late = np.where(np.arange(n + 1) > 0, f, 0.0)  # implicit: the first value is not read
    found = np.convolve(weights.l1_weights(a, 0.5, n + 1).numpy(), late)[: n + 1]
    assert np.abs(found - fractional.l1(lambda t, y: f[round(t / 0.5)] + 0 * y, 0.0, alpha, 0.5, n)).max() < 1e-11
    found = np.convolve(weights.gl_weights([(torch.ones_like(a), a)], 0.5, n + 1).numpy(), f)[:n]
    assert np.abs(found - fractional.gl(lambda t, y: f[round(t / 0.5)] + 0 * y, 0.0, alpha, 0.5, n)[1:]).max() < 1e-11


def test_several_orders_solve_their_equation() -> None:
    """2 D^0.4 w + D^0.9 w = f: put w back into the left side."""
    orders = [(2.0, 0.4), (1.0, 0.9)]
    terms = [(torch.tensor(c, dtype=DOUBLE), torch.tensor(a, dtype=DOUBLE)) for c, a in orders]
    w = weights.gl_weights(terms, 0.1, 100).numpy()  # of a unit impulse
    left = sum(c * 0.1**-a * np.convolve(reference.binomial_series(a, 100), w)[:100] for c, a in orders)
    assert np.abs(left - np.eye(100)[0]).max() < 1e-12


FUNCTIONS: dict[str, Callable[[torch.Tensor], object]] = {
    "rectangle": lambda a: weights.rectangle_weights(a, 6),
    "trapezoid": lambda a: weights.trapezoid_weights(a, 6),
    "gl": lambda a: weights.gl_weights([(1 + a, a)], 0.1, 6),
    "orders": lambda a: weights.gl_weights([(1 + a, a), (torch.ones_like(a), a / 2)], 0.1, 6),
    "l1": lambda a: weights.l1_weights(a, 0.1, 6),
    "flmm2": lambda a: weights.flmm2_series(a, 9, "bdf2"),
    "starts": lambda a: weights.starting_weights(a, 9, "trapezoidal"),
    "leak": lambda a: weights.unit_response(a, 2 * a, 0.1, 6),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradients_with_respect_to_the_order(name: str) -> None:
    a = torch.tensor([0.3, 0.8], dtype=DOUBLE, requires_grad=True)
    assert torch.autograd.gradcheck(FUNCTIONS[name], (a,), atol=1e-6)


@pytest.mark.parametrize("steps", [1, 9, 40, 61])
@pytest.mark.parametrize("level", [(1, 1), (3, 4)])
@pytest.mark.parametrize("forgets", [False, True])
def test_online_convolution_and_its_transpose_are_those_of_autograd(
    steps: int, level: tuple[int, int], forgets: bool
) -> None:
    lanes, make = (3, 4), torch.Generator().manual_seed(steps)
    draw = lambda *shape: torch.randn(*shape, dtype=DOUBLE, generator=make)  # noqa: E731
    kernel = [[draw(steps, *level).requires_grad_(), None], [draw(steps, *level).requires_grad_() for _ in range(2)]]
    values, g = draw(steps, 2, *lanes).requires_grad_(), draw(steps, 2, *lanes)
    gone = torch.rand(steps, *lanes, generator=make) < (0.05 if forgets else 0.0)
    sums = _direct(kernel, values, gone)
    leaves = [values, *(w for row in kernel for w in row if w is not None)]
    wanted = torch.autograd.grad((sums * g).sum(), leaves)

    online = OnlineConvolution([[w if w is None else w.detach() for w in r] for r in kernel], steps, lanes, block=8)
    rows = []
    for n in range(steps):
        if forgets:
            online.forget(n, gone[n])
        rows.append(online.push(n, values[n].detach()))
    online.turn()
    grads = [online.pull(n, g[n]).clone() for n in reversed(range(steps))][::-1]
    found = [torch.stack(grads), *(w for row in online.kernel_gradients() for w in row if w is not None)]
    assert (torch.stack(rows) - sums).abs().max() < 1e-11
    assert max((x - y).abs().max() for x, y in zip(found, wanted, strict=True)) < 1e-10


def _direct(kernel: list[list[torch.Tensor | None]], values: torch.Tensor, gone: torch.Tensor) -> torch.Tensor:
    origin, rows = torch.zeros(gone.shape[1:]), []
    for n in range(len(values)):
        origin = torch.where(gone[n], float(n), origin)
        known = [torch.where(j >= origin, values[j], 0.0) for j in range(n + 1)]
        rows.append([sum(w[n - j] * known[j][i] for i, w in enumerate(r) if w is not None for j in range(n + 1))
                     for r in kernel])  # fmt: skip
    return torch.stack([torch.stack(r) for r in rows])


def test_convolution_of_known_values() -> None:
    w, v = torch.randn(12, 1, dtype=DOUBLE), torch.randn(5, 3, dtype=DOUBLE)
    direct = torch.stack([sum(w[n - j] * v[j] for j in range(min(n, 4) + 1)) for n in range(12)])
    assert (convolved(w, v, 5) - direct[5:]).abs().max() < 1e-13
