"""Parameters over a row or a matrix, stored and constrained, for numpy and jax.numpy (`xp`); torch has its own file."""

from __future__ import annotations

from typing import Any

from neuroode.program.domains import kind_over_axes, positions
from neuroode.spec.types import ParameterDecl


def forward(xp: Any, p: ParameterDecl, raw: Any) -> Any:
    """Stored -> constrained: softmax; the symmetric part; A A' (psd). `project` and `none` store the value."""
    if p.transform in ("project", "none"):
        return raw
    if kind_over_axes(p) == "simplex":
        (at,) = positions(p)
        e = xp.exp(raw - raw.max(axis=at, keepdims=True))
        return e / e.sum(axis=at, keepdims=True)
    m = xp.moveaxis(raw, positions(p), (-2, -1))
    m = (m + m.swapaxes(-2, -1)) / 2 if kind_over_axes(p) == "symmetric" else m @ m.swapaxes(-2, -1)
    return xp.moveaxis(m, (-2, -1), positions(p))


def inverse(xp: Any, p: ParameterDecl, value: Any) -> Any:
    """Constrained -> stored; of psd the symmetric root."""
    if p.transform in ("project", "none") or kind_over_axes(p) == "symmetric":
        return value
    if kind_over_axes(p) == "simplex":
        return xp.log(value)
    return _with_eigenvalues(xp, p, value, xp.sqrt)


def project(xp: Any, p: ParameterDecl, raw: Any) -> Any:
    """A stored value that an update pushed out of the domain: the nearest member; other transforms never leave it.

    Simplex: Duchi et al., ICML 2008, figure 1. Psd: Higham, Linear Algebra Appl. 103 (1988), theorem 2.1.
    """
    if p.transform not in ("project", "none"):
        return raw
    if kind_over_axes(p) == "simplex":
        (at,) = positions(p)
        rows = xp.moveaxis(raw, at, -1)
        excess = (xp.cumsum(-xp.sort(-rows, axis=-1), axis=-1) - 1) / xp.arange(1, rows.shape[-1] + 1)
        count = (-xp.sort(-rows, axis=-1) > excess).sum(axis=-1, keepdims=True)
        last = xp.take_along_axis(excess, count - 1, axis=-1)
        return xp.moveaxis(xp.clip(rows - last, 0.0, None), -1, at)
    m = xp.moveaxis(raw, positions(p), (-2, -1))
    m = xp.moveaxis((m + m.swapaxes(-2, -1)) / 2, (-2, -1), positions(p))
    return _with_eigenvalues(xp, p, m, lambda w: w) if kind_over_axes(p) == "psd" else m


def _with_eigenvalues(xp: Any, p: ParameterDecl, value: Any, f: Any) -> Any:
    """The same eigenvectors, f of the eigenvalues that are not negative, 0 of the others."""
    w, v = xp.linalg.eigh(xp.moveaxis(value, positions(p), (-2, -1)))
    made = (v * f(xp.clip(w, 0.0, None))[..., None, :]) @ v.swapaxes(-2, -1)
    return xp.moveaxis(made, (-2, -1), positions(p))
