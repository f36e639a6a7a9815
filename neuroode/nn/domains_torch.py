"""Parameters over a row or a matrix between their stored and their constrained form: simplex, symmetric, psd."""

from __future__ import annotations

import torch

from neuroode.program.domains import kind_over_axes, positions
from neuroode.spec.types import ParameterDecl

Tensor = torch.Tensor


def forward(p: ParameterDecl, raw: Tensor) -> Tensor:
    """Stored -> constrained: softmax; the symmetric part; A A' (psd). `project` and `none` store the value."""
    kind, transform = kind_over_axes(p), p.transform
    if transform in ("project", "none"):
        return raw
    if kind == "simplex":
        return torch.softmax(raw, dim=positions(p)[0])
    m = raw.movedim(positions(p), (-2, -1))
    m = (m + m.mT) / 2 if kind == "symmetric" else m @ m.mT
    return m.movedim((-2, -1), positions(p))


def inverse(p: ParameterDecl, value: Tensor) -> Tensor:
    """Constrained -> stored; of psd the symmetric root."""
    kind, transform = kind_over_axes(p), p.transform
    if transform in ("project", "none") or kind == "symmetric":
        return value
    if kind == "simplex":
        return value.log()
    m = value.movedim(positions(p), (-2, -1))
    values, vectors = torch.linalg.eigh(m)
    root = (vectors * values.clamp(min=0).sqrt()[..., None, :]) @ vectors.mT
    return root.movedim((-2, -1), positions(p))


def project(p: ParameterDecl, raw: Tensor) -> Tensor:
    """A stored value that an update pushed out of the domain: the nearest member; other transforms never leave it.

    Simplex: Duchi et al., ICML 2008, figure 1. Psd: Higham, Linear Algebra Appl. 103 (1988), theorem 2.1.
    """
    if p.transform not in ("project", "none"):
        return raw
    if kind_over_axes(p) == "simplex":
        return _onto_simplex(raw, positions(p)[0])
    m = raw.movedim(positions(p), (-2, -1))
    m = (m + m.mT) / 2
    if kind_over_axes(p) == "psd":
        values, vectors = torch.linalg.eigh(m)
        m = (vectors * values.clamp(min=0)[..., None, :]) @ vectors.mT
    return m.movedim((-2, -1), positions(p))


def _onto_simplex(x: Tensor, at: int) -> Tensor:
    rows = x.movedim(at, -1)
    ordered = rows.sort(dim=-1, descending=True).values
    count = torch.arange(1, rows.shape[-1] + 1, dtype=x.dtype, device=x.device)
    excess = (ordered.cumsum(-1) - 1) / count
    last = (ordered > excess).sum(-1, keepdim=True) - 1
    return (rows - excess.gather(-1, last)).clamp(min=0).movedim(-1, at)
