"""The published discretizations, resets and adjoint, written down from the released code by what it computes.

torchfde (explicit_solver.py, fdeadjoint.py) and spikeDE (solver.py, neuron.py); nothing here shares a line with
neuroode. D^alpha y = f(t, y), Caputo, on the grid t_k = k h; every scheme takes f at the start of the step. Arrays have
the grid first, (steps + 1, ...).
"""

from __future__ import annotations

from collections.abc import Callable
from math import gamma

import numpy as np

Array = np.ndarray
#: (number of the step, y at its start) -> right side
Field = Callable[[int, Array], Array]


def predictor(f: Field, y0: Array | float, alpha: float, h: float, steps: int) -> Array:
    """Adams-Bashforth with rectangles: y_{k+1} = y0 + h^a/Gamma(a+1) sum_j ((k+1-j)^a - (k-j)^a) f_j."""
    weights = h**alpha / gamma(alpha + 1) * np.diff(np.arange(steps + 1.0) ** alpha)
    y = _grid(y0, steps)
    values = np.empty_like(y[1:])
    for k in range(steps):
        values[k] = f(k, y[k])
        y[k + 1] = y[0] + _product(weights[k::-1], values[: k + 1])
    return y


def gl(f: Field, y0: Array | float, alpha: float, h: float, steps: int) -> Array:
    """Grünwald and Letnikov on y itself: y_{k+1} = h^a f_k - sum_{j>=1} c_j y_{k+1-j}."""
    c, y = gl_weights(alpha, steps), _grid(y0, steps)
    for k in range(steps):
        y[k + 1] = h**alpha * f(k, y[k]) - _product(c[k + 1 : 0 : -1], y[: k + 1])
    return y


def gl_shifted(f: Field, y0: Array | float, alpha: float, h: float, steps: int) -> Array:
    """What is right: the same scheme on y - y0, whose Riemann-Liouville derivative is the Caputo derivative of y."""
    return gl(lambda k, w: f(k, w + y0), 0 * np.asarray(y0, float), alpha, h, steps) + y0


def gl_short(f: Field, y0: Array | float, alpha: float, h: float, steps: int, memory: int) -> Array:
    """`gl` with memory=M: M - 1 terms of the sum are kept."""
    c, y = gl_weights(alpha, steps), _grid(y0, steps)
    for k in range(steps):
        kept = min(memory - 1, k + 1)
        y[k + 1] = h**alpha * f(k, y[k]) - _product(c[1 : kept + 1], y[k + 1 - kept : k + 1][::-1])
    return y


def l1(f: Field, y0: Array | float, alpha: float, h: float, steps: int) -> Array:
    """y_{k+1} = h^a Gamma(2-a) f_k - sum_j c_j y_j with the weights of L1."""
    return _by_differences(f, y0, alpha, h, steps, lambda k: k ** (1 - alpha) - (k + 1) ** (1 - alpha))


def trap(f: Field, y0: Array | float, alpha: float, h: float, steps: int) -> Array:
    """The same but for the weight of y0, which makes it the Riemann-Liouville derivative."""
    return _by_differences(f, y0, alpha, h, steps, lambda k: k ** (1 - alpha) - (k + alpha) * (k + 1) ** -alpha)


def _by_differences(
    f: Field, y0: Array | float, alpha: float, h: float, steps: int, first: Callable[[float], float]
) -> Array:
    powers = np.arange(steps + 2.0) ** (1 - alpha)  # 0^0 is 1 here, as in torch.pow
    second = powers[2:] - 2 * powers[1:-1] + powers[:-2]  # at index k - j: the weight of y_j
    y = _grid(y0, steps)
    for k in range(steps):
        past = first(float(k)) * y[0] + _product(second[:k][::-1], y[1 : k + 1]) if k else first(0.0) * y[0]
        y[k + 1] = h**alpha * gamma(2 - alpha) * f(k, y[k]) - past
    return y


def corrector(f: Field, y0: Array | float, alpha: float, h: float, steps: int) -> Array:
    """Adams predictor and one corrector step, after Diethelm, Ford and Freed."""
    scale = h**alpha / gamma(alpha + 2)
    k = np.arange(steps + 2.0)
    inner = k[2:] ** (alpha + 1) - 2 * k[1:-1] ** (alpha + 1) + k[:-2] ** (alpha + 1)  # at k - j, 1 <= j <= k
    weights = h**alpha / gamma(alpha + 1) * np.diff(k[:-1] ** alpha)
    y = _grid(y0, steps)
    values = np.empty_like(y[1:])
    for n in range(steps):
        values[n] = f(n, y[n])
        guess = y[0] + _product(weights[n::-1], values[: n + 1])
        at_start = n ** (alpha + 1) - (n - alpha) * (n + 1) ** alpha
        past = at_start * values[0] + _product(inner[:n][::-1], values[1 : n + 1])
        y[n + 1] = y[0] + scale * (past + f(n + 1, guess))
    return y


SCHEMES = {"predictor": predictor, "gl": gl, "l1": l1, "trap": trap}


def gl_weights(alpha: float, steps: int) -> Array:
    """c_0 = 1, c_j = (1 - (1 + a)/j) c_{j-1}: the coefficients of (1 - z)^a."""
    return np.cumprod([1.0, *(1 - (1 + alpha) / np.arange(1, steps + 1))])


def _grid(y0: Array | float, steps: int) -> Array:
    y = np.empty((steps + 1, *np.shape(y0)))
    y[0] = y0
    return y


def _product(weights: Array, values: Array) -> Array:
    return np.tensordot(weights, values, 1)


def adjoint(scheme: str, alpha: float, leak: float, h: float, steps: int) -> Array:
    """dL/d(input of step k) of L = y_steps for D^a y = -leak y + input, as released under the scheme's name with "-f".

    The cotangent is taken as a Caputo problem backward from the end, where it is 1, by the same scheme; parameters get
    h times the sum of (df/dparameter) (cotangent).
    """
    return h * SCHEMES[scheme](lambda _, y: -leak * y, 1.0, alpha, h, steps)[:-1][::-1]


def exact_adjoint(alpha: float, leak: float, h: float, steps: int) -> Array:
    """The same derivatives of what `predictor` computes: its transposed sum, from the end to the start."""
    weights = h**alpha / gamma(alpha + 1) * np.diff(np.arange(steps + 1.0) ** alpha)
    g = np.empty(steps)
    for back in range(steps):  # steps from the end
        g[back] = weights[back] - leak * _product(weights[:back][::-1], g[:back])
    return g[::-1]


def reset_in_history(alpha: float, h: float, at: float, end: float, theta: float = 1.0) -> float:
    """LIFNeuronFDE: the potential of `at` is stored with theta taken off. What that changes at `end`, without leak."""
    between = round((end - at) / h)
    change = gl(lambda _, y: 0 * y, -theta, alpha, h, between)
    return float(change[-1])


def reset_current(alpha: float, h: float, at: float, end: float, theta: float = 1.0, tau: float = 2.0) -> float:
    """LIFNeuron by gl: -theta/tau is added to the right side of one step, whatever its length."""
    steps = round((end - at) / h)
    return float(gl(lambda k, _: np.asarray(-theta / tau * (k == 0)), 0.0, alpha, h, steps)[-1])


def mittag_leffler(alpha: float, t: Array | float, lam: float = 1.0) -> Array:
    """E_a(-lam t^a), 0 < a < 1, t > 0: the Laplace transform of its spectral density, by trapezoids in log(rate t)."""
    s = lam ** (1 / alpha) * np.asarray(t, float)
    x = np.linspace(-36 / alpha, 4, 4000)
    power = (np.exp(x) / s[..., None]) ** alpha
    density = np.sin(np.pi * alpha) / np.pi * power / (power**2 + 2 * power * np.cos(np.pi * alpha) + 1)
    step = (x[1] - x[0]) * np.concatenate([[0.5], np.ones(len(x) - 1)])
    return (density * np.exp(-np.exp(x)) * step).sum(-1) + density[..., 0] / alpha  # the last: rates below the grid
