"""The released update of LangevinFlow by itself, written down after a description of its code; none of it is copied.

z and v are (..., H), H = 4 groups of H/4 channels. The potential is U(z) = sum over both group indices of y z', with
y = the convolution of z along a group by a kernel (4, 4, 3) whose three taps have length 1, padded with zeros.
"""

from __future__ import annotations

import numpy as np

Array = np.ndarray
GROUPS, TAPS = 4, 3
STEP = 0.01


def normalised(kernel: Array) -> Array:
    """Three taps of length 1, as torch's `normalize` with its eps of 1e-12."""
    return kernel / np.maximum(np.linalg.norm(kernel, axis=-1, keepdims=True), 1e-12)


def convolved(kernel: Array, z: Array) -> Array:
    """y[o, i] = sum over c and the taps of K[o, c, j] z[c, i + j - 1], (..., 4, H/4)."""
    grouped = z.reshape(*z.shape[:-1], GROUPS, -1)
    width = grouped.shape[-1]
    padded = np.pad(grouped, [(0, 0)] * (grouped.ndim - 1) + [(1, 1)])
    return sum(np.einsum("oc,...ci->...oi", kernel[..., j], padded[..., j : j + width]) for j in range(TAPS))


def potential(kernel: Array, z: Array) -> Array:
    """U (...,) of z (..., H): both group indices are summed, so it is a product of two vectors of length H/4."""
    y = convolved(normalised(kernel), z).sum(-2)
    return (y * z.reshape(*z.shape[:-1], GROUPS, -1).sum(-2)).sum(-1)


def force(kernel: Array, z: Array) -> Array:
    """dU/dz, by hand: through y, the transposed convolution of the sum over groups; and y itself, in every group."""
    K = normalised(kernel)
    y = convolved(K, z).sum(-2)
    total = z.reshape(*z.shape[:-1], GROUPS, -1).sum(-2)
    width = total.shape[-1]
    padded = np.pad(total, [(0, 0)] * (total.ndim - 1) + [(1, 1)])
    back = sum(np.einsum("c,...i->...ci", K.sum(0)[:, j], padded[..., 2 - j : 2 - j + width]) for j in range(TAPS))
    return (back + y[..., None, :]).reshape(z.shape)


def hessian(kernel: Array, H: int) -> Array:
    """(H, H): the force of each unit vector."""
    return force(kernel, np.eye(H)).T


def run(kernel: Array, gamma: float, z: Array, v: Array, noise: Array) -> tuple[Array, Array]:
    """Latents after each step, (T, ..., H) both, with the noise eps (T, ..., H) of each."""
    rows = []
    for eps in noise:
        slope = force(kernel, z)
        z, v = z + STEP * v, (1 - gamma) * (v - STEP * slope) + np.sqrt(2 * gamma) * eps
        rows.append((z, v))
    return np.array([r[0] for r in rows]), np.array([r[1] for r in rows])


def affine(kernel: Array, gamma: float, H: int) -> Array:
    """A (2H, 2H) of [z', v'] = A [z, v] + [0, sqrt(2 gamma) eps]."""
    one, hess = np.eye(H), hessian(kernel, H)
    return np.block([[one, STEP * one], [-(1 - gamma) * STEP * hess, (1 - gamma) * one]])


def coded_divergence(mean: Array, gamma: float) -> Array:
    """What the code adds to its loss for v: KL(N(mean, s) || N(0, 0.1)), where the log-variance of the first is given
    2 gamma, which is its variance; summed over the last axis."""
    log_variance = 2 * gamma
    return 0.5 * (np.exp(log_variance) / 0.1 + mean**2 / 0.1 - 1 - log_variance + np.log(0.1)).sum(-1)
