"""Domains over axes: simplex(k), symmetric(k, l), psd(k, l); they concern a row or a matrix. numpy only."""

from __future__ import annotations

import numpy as np

from neuroode.spec.types import ParameterDecl
from neuroode.system.indices import axes_of

Array = np.ndarray
KINDS = ("simplex", "symmetric", "psd")
NEAR = 1e-6  # of float32 values, relative to the largest


def kind_over_axes(p: ParameterDecl) -> str | None:
    """simplex, symmetric or psd; None for a domain of single numbers, and for one element of an array."""
    kind = p.domain.partition("(")[0]
    return kind if kind in KINDS and axes_of(p) else None


def positions(p: ParameterDecl) -> tuple[int, ...]:
    """Where the axes of the domain lie in a value (*level*, *axes*, time), counted from the end."""
    order = [*axes_of(p), *(["time"] if "time" in p.per else [])]
    return tuple(order.index(str(b.name)) - len(order) for b in p.bounds)  # type: ignore[union-attr]


def lies_inside(p: ParameterDecl, value: Array) -> Array:
    """Whether each row (simplex) or matrix lies in the domain, in the shape of the value."""
    kind = kind_over_axes(p)
    if kind == "simplex":
        (at,) = positions(p)
        total = value.sum(axis=at, keepdims=True)
        return np.broadcast_to((value >= 0) & (np.abs(total - 1) <= NEAR), value.shape)
    m = np.moveaxis(value, positions(p), (-2, -1))
    size = np.maximum(np.abs(m).max(axis=(-2, -1), keepdims=True), 1e-300)
    fine = np.abs(m - m.swapaxes(-2, -1)) <= NEAR * size
    if kind == "psd":
        least = np.linalg.eigvalsh((m + m.swapaxes(-2, -1)) / 2)[..., :1, None]
        fine &= least >= -NEAR * size
    return np.moveaxis(fine, (-2, -1), positions(p))


def settled(p: ParameterDecl, drawn: Array) -> Array:
    """Independent draws as a member of the domain: rows over their sum, the upper triangle mirrored.

    A mirrored draw need not be positive semidefinite; its negative eigenvalues become 0.
    """
    kind = kind_over_axes(p)
    if kind is None:
        return drawn
    if kind == "simplex":
        (at,) = positions(p)
        return np.abs(drawn) / np.abs(drawn).sum(axis=at, keepdims=True)
    m = np.moveaxis(drawn, positions(p), (-2, -1))
    m = np.triu(m) + np.triu(m, 1).swapaxes(-2, -1)
    if kind == "psd":
        values, vectors = np.linalg.eigh(m)
        m = (vectors * np.maximum(values, 0)[..., None, :]) @ vectors.swapaxes(-2, -1)
    return np.moveaxis(m, (-2, -1), positions(p))
