"""Formulas for dv/dt = A v^2 + B v + C: Moebius maps, times to a level and to infinity, moments of the Euler map.

The paper's eq. 11 is known to us from secondary sources only; `euler_map` is our reading of it.
"""

from __future__ import annotations

from math import atan, atanh, cos, cosh, inf, pi, sin, sinh, sqrt

import numpy as np

Array = np.ndarray


def matrix(A: float, B: float, C: float, h: float) -> Array:
    """The flow over h as (2, 2), v -> (m_00 v + m_01)/(m_10 v + m_11); determinant 1."""
    d = A * C - B * B / 4
    w = sqrt(abs(d))
    if d > 0:
        c, s = cos(w * h), sin(w * h) / w
    elif d < 0:
        c, s = cosh(w * h), sinh(w * h) / w
    else:
        c, s = 1.0, h
    return np.array([[c + B * s / 2, C * s], [-A * s, c - B * s / 2]])


def blow_up(A: float, B: float, C: float, v: float) -> float:
    """When v reaches infinity; inf where it never does."""
    d, x = A * C - B * B / 4, A * v + B / 2
    w = sqrt(abs(d))
    if d > 0:
        return (pi / 2 - atan(x / w)) / w
    if d < 0:
        return inf if x <= w else atanh(w / x) / w
    return inf if x <= 0 else 1 / x


def time_to(level: float, A: float, B: float, C: float, v: float) -> float:
    """When v first reaches a level above it; inf where it never does."""
    d = A * C - B * B / 4
    w, slope = sqrt(abs(d)), A * v * level + B * (level + v) / 2 + C
    if d > 0:
        return (atan(w * (level - v) / slope) % pi) / w
    q = (level - v) / slope
    if d < 0:
        return atanh(w * q) / w if 0 < w * q < 1 else inf
    return q if q > 0 else inf


def euler_map(u: Array, x: Array | float, a: float = 0.25, u_1: float = 0.0, u_2: float = 0.5) -> Array:
    """u + a (u - u_1)(u - u_2) + x; a, u_1, u_2 of the paper's figure."""
    return u + a * (u - u_1) * (u - u_2) + x


def moments(
    mean: float, deviation: float, x: float, a: float = 0.25, u_1: float = 0.0, u_2: float = 0.5
) -> tuple[float, float]:
    """Mean and variance of the next potential, for a Gaussian potential and an independent input N(0, x^2).

    Our own derivation under the assumptions of the paper's Theorem 4.1, whose text we have not read.
    """
    b, c = 1 - a * (u_1 + u_2), a * u_1 * u_2
    variance = 2 * a**2 * deviation**4 + (2 * a * mean + b) ** 2 * deviation**2 + x**2
    return a * (mean**2 + deviation**2) + b * mean + c, variance


def window(
    x: float = 1.0, steps: int = 1, k: float = 1.0, a: float = 0.25, u_1: float = 0.0, u_2: float = 0.5
) -> float:
    """Half width of a rectangular surrogate, k standard deviations of the potential after some steps from rest at 0.

    After one step it is k x. The closure ignores resets and grows with each step; with a hard reset the potential's
    own deviation stays near 1.1 x. In a declaration: `surrogate: {kind: rectangle, width: g, height: 1/(2*g)}`.
    """
    mean, variance = 0.0, 0.0
    for _ in range(steps):
        mean, variance = moments(mean, sqrt(variance), x, a, u_1, u_2)
    return k * sqrt(variance)


def angle_spikes(I: Array, h: float, substeps: int) -> Array:
    """Spikes of theta neurons by Runge-Kutta steps of d phi/dt = 1 - cos phi + (1 + cos phi) I, v = tan(phi/2), from
    v = 0; I (steps, lanes) held over h each; passages through pi, by lane."""

    def slope(phi: Array, I: Array) -> Array:
        return 1 - np.cos(phi) + (1 + np.cos(phi)) * I

    phi, dt = np.zeros(I.shape[1]), h / substeps
    for each in I:
        for _ in range(substeps):
            k1 = slope(phi, each)
            k2 = slope(phi + dt / 2 * k1, each)
            k3 = slope(phi + dt / 2 * k2, each)
            k4 = slope(phi + dt * k3, each)
            phi = phi + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return np.floor((phi + np.pi) / (2 * np.pi)).astype(int)


def sign_flips(I: Array, h: float) -> Array:
    """Spikes of v' = v^2 + I from v = 0 by prefix products alone: sign changes of the denominator, by lane."""
    counts = []
    for lane in I.T:
        vector, flips = np.array([0.0, 1.0]), 0
        for i in lane:
            after = matrix(1, 0, i, h) @ vector
            flips += bool((after[1] > 0) != (vector[1] > 0))
            vector = after / np.abs(after).max()
        counts.append(flips)
    return np.array(counts)
