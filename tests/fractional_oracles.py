"""Closed forms of fractional relaxation, from scipy and mpmath alone; kernels of method soe as plain numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import mpmath as mp
import numpy as np
import sympy as sp
from scipy.special import erfcx

from neuroode.discretize.soe_kernels import Kernel

Array = np.ndarray


def relaxation_half(t: Array, lam: float) -> Array:
    """E_(1/2)(-lam sqrt(t))."""
    return erfcx(lam * np.sqrt(np.maximum(t, 0.0)))


def response_half(t: Array, lam: float) -> Array:
    """t^(-1/2) E_(1/2, 1/2)(-lam sqrt(t)), what a unit impulse on the right side leaves; t > 0."""
    return 1 / np.sqrt(np.pi * t) - lam * erfcx(lam * np.sqrt(t))


def relaxation(a: float, lam: float, t: float) -> float:
    """E_a(-lam t^a) by the inverse of its Laplace transform."""
    return float(mp.invertlaplace(lambda s: s ** (a - 1) / (s**a + lam), t, method="talbot"))


def relaxation_slope(a: float, lam: float, t: float) -> float:
    """d/da of E_a(-lam t^a): a central difference of the inverse transform with 30 digits; one-sided at a = 1."""
    with mp.workdps(30):
        order, h = mp.mpf(a), mp.mpf(10) ** -9
        ahead = order + (h if a < 1 else 0)

        def value(b: mp.mpf) -> mp.mpf:
            return mp.invertlaplace(lambda s: s ** (b - 1) / (s**b + lam), mp.mpf(t), method="talbot")

        return float((value(ahead) - value(order - h)) / (ahead - order + h))


def _phi(k: int, z: Array) -> Array:
    z = np.asarray(z)
    with np.errstate(invalid="ignore", divide="ignore"):
        whole = np.where(abs(z) < 1e-9, 1.0, np.expm1(z) / np.where(z == 0, 1, z))
    assert int(k) == 1
    return whole


@dataclass
class Numbers:
    """Weights and decays of a kernel at numbers for its parameters and dt."""

    kernel: Kernel

    def __post_init__(self) -> None:
        names = sorted({s.name for _, e in self.kernel.stages for s in e.free_symbols} | {"dt"})
        self.places = {n: sp.Symbol(f"_{i}") for i, n in enumerate(names)}
        self.stages = [(s.name, self._compiled(e)) for s, e in self.kernel.stages]
        self.ends = [[self._compiled(getattr(m, what)) for m in self.kernel.modes] for what in ("weight", "decay")]

    def _compiled(self, e: sp.Expr) -> tuple[list[str], Callable]:
        own = {"phi": _phi, "minimum": np.minimum, "maximum": np.maximum, "sigmoid": lambda y: 1 / (1 + np.exp(-y))}
        for s in e.free_symbols:
            self.places.setdefault(s.name, sp.Symbol(f"_{len(self.places)}"))
        names = sorted(s.name for s in e.free_symbols)
        body = e.xreplace({s: self.places[s.name] for s in e.free_symbols})
        return names, sp.lambdify([self.places[n] for n in names], body, [own, "numpy"])

    def __call__(self, **values: float) -> tuple[Array, Array]:
        known = dict(values)
        for name, (names, f) in self.stages:
            known[name] = float(np.real(f(*[known[n] for n in names])))
        weights, decays = ([float(np.real(f(*[known[n] for n in names]))) for names, f in row] for row in self.ends)
        return np.array(weights), np.array(decays)
