"""The paper's formulas, written down from its text and code in numpy; they share nothing with neuroode.

Arrays are (T, lanes); beta and the like are one number a lane. Spikes are 0 and 1, equality fires.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Array = np.ndarray
#: (bias before, spike, beta) -> bias after the step
Bias = Callable[[Array, Array, Array], Array]


def sequential(c: Array, beta: Array, v_th: float = 1.0) -> tuple[Array, Array]:
    """Eq. 2-3: u_t = beta*(u_{t-1} - V s_{t-1}) + c_t. Spikes, and u before the reset."""
    u, s = np.zeros_like(c[0]), np.zeros_like(c[0])
    spikes, potentials = np.empty_like(c), np.empty_like(c)
    for t, now in enumerate(c):
        u = beta * (u - v_th * s) + now
        s = (u >= v_th).astype(c.dtype)
        spikes[t], potentials[t] = s, u
    return spikes, potentials


def leaky_sum(c: Array, beta: Array) -> Array:
    """u'_t = sum_k beta^k c_{t-k}, step by step."""
    u, rows = np.zeros(c.shape[1:], np.result_type(c, beta)), []
    for now in c:
        u = beta * u + now
        rows.append(u)
    return np.stack(rows)


def convolved(c: Array, beta: Array) -> Array:
    """The same by FFT (eq. 12)."""
    steps = len(c)
    kernel = (beta ** np.arange(steps)[:, None]).astype(c.dtype)
    product = np.fft.rfft(c, 2 * steps, axis=0) * np.fft.rfft(kernel, 2 * steps, axis=0)
    return np.fft.irfft(product, 2 * steps, axis=0)[:steps].astype(c.dtype)


def algorithm_2(bias: Array, spike: Array, beta: Array) -> Array:
    """Lines of Algorithm 2: the bias grows by a spike, then decays."""
    return (bias + spike) * beta


def main_text(total: Array, spike: Array, _beta: Array) -> Array:
    """A_t of eq. 7-11: a count of spikes that does not decay; the threshold is V (beta A_t + 1)."""
    return total + spike


def decoupled(u: Array, beta: Array, rule: Bias, gain: float | Array = 1.0, v_th: float = 1.0) -> tuple[Array, Array]:
    """Spikes and thresholds d_t = V (1 + gain*A_t) over a potential u' that is never reset."""
    bias = np.zeros_like(u[0])
    spikes, thresholds = np.empty_like(u), np.empty_like(u)
    for t, now in enumerate(u):
        thresholds[t] = v_th * (1 + gain * bias)
        spikes[t] = now >= thresholds[t]
        bias = rule(bias, spikes[t], beta)
    return spikes, thresholds


def prf(c: Array, delta: Array, theta: Array, tau: float) -> Array:
    """Eq. 19 by FFT: the complex potential, transition exp(delta*(-1/tau + i theta)), input gain delta."""
    steps = len(c)
    kernel = delta * np.exp(np.arange(steps)[:, None] * delta * (-1 / tau + 1j * theta))
    product = np.fft.fft(c, 2 * steps, axis=0) * np.fft.fft(kernel, 2 * steps, axis=0)
    return np.fft.ifft(product, 2 * steps, axis=0)[:steps]


def prf_with_reset(c: Array, delta: Array, theta: Array, tau: float, decay: Array) -> Array:
    """Spikes of the class PRFNeuronReset: a threshold 1 + Re(bias) whose bias decays with `decay`.

    The released code takes Re(A) for the decay; a complex one follows the subtraction through the rotation.
    """
    u = prf(c, delta, theta, tau).real
    bias, spikes = np.zeros(c.shape[1:], complex), np.empty_like(c)
    for t, now in enumerate(u):
        spikes[t] = now >= 1 + bias.real
        bias = decay * (bias + spikes[t])
    return spikes
