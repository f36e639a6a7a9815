"""The paper's formulas, written down from its text in numpy; they share nothing with neuroode.

Arrays are (T, lanes); parameters of branches (lanes, n); lambda = -1/tau + i omega.
"""

from __future__ import annotations

import numpy as np

Array = np.ndarray


def exact_gain(delta: Array, pole: Array) -> Array:
    """Of an input that is held over the step: (exp(delta lambda) - 1)/lambda."""
    return np.expm1(delta * pole) / pole


def branches(x: Array, delta: Array, pole: Array, gain: Array) -> Array:
    """Eq. 7: Z[t] = exp(delta lambda) Z[t-1] + gain I[t], as (T, lanes, n)."""
    steps = len(x)
    kernel = gain * np.exp(np.arange(steps)[:, None, None] * delta * pole)
    return convolved(x[:, :, None], kernel)


def kernel(steps: int, C: Array, delta: Array, pole: Array, gain: Array) -> Array:
    """The readout of all branches as one real kernel (T, lanes): Re sum_i C_i gain_i exp(k delta lambda_i)."""
    powers = np.exp(np.arange(steps)[:, None, None] * delta * pole)
    return (C * gain * powers).real.sum(axis=-1)


def convolved(x: Array, kernel: Array) -> Array:
    """Causal convolution over time by FFT; real where both are."""
    steps, is_real = len(x), np.isrealobj(kernel)
    product = np.fft.fft(x, 2 * steps, axis=0) * np.fft.fft(kernel, 2 * steps, axis=0)
    found = np.fft.ifft(product, 2 * steps, axis=0)[:steps]
    return found.real if is_real else found


def raised(p: Array, alpha: Array, v_pre: float = 1.0) -> Array:
    """Eq. 11-12: V_th[t] = V_pre + sum_k alpha_k p[t-k], k = 1..m, over the whole sequence at once."""
    total = np.full_like(p, v_pre)
    for k, weight in enumerate(alpha, start=1):
        total[k:] += weight * p[:-k]
    return total


def own_spikes(h: Array, alpha: Array, v_pre: float = 1.0) -> Array:
    """Spikes where the emitted spikes raise the threshold: step by step, since each needs those before."""
    spikes = np.zeros_like(h)
    for t, now in enumerate(h):
        past = [weight * spikes[t - k] for k, weight in enumerate(alpha, start=1) if t >= k]
        spikes[t] = now > v_pre + sum(past, np.zeros_like(now))
    return spikes


def gain_of_eq_9(frequency: Array, delta: float, pole: complex) -> Array:
    """|H| at `frequency` in rad a sample."""
    return np.abs(delta / (1 - np.exp(delta * pole - 1j * frequency)))
