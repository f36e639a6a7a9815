"""What the parallel solvers compute, step by step in float64: the definitions they are compared with.

Arrays have the axes (T, *lanes*); entries of matrices may lack T, then they are the same in all steps. Lanes broadcast.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from neuroode._errors import RunError, Unsupported

Array = np.ndarray
Entries = tuple[Any, ...]  # arrays, or numbers that broadcast; None: zero everywhere
Apply = Callable[[Entries, tuple[Any, ...]], tuple[Any, ...]]


def scan(
    compose: object,  # noqa: ARG001  (the other solvers need it: one signature)
    apply: Apply,
    elements: Sequence[Array | None],
    start: Sequence[Array],
    *,
    steps: int | None = None,
    reverse: bool = False,
) -> tuple[Array, ...]:
    """The states after each step, (T, *lanes*); see solvers/on_torch/scan_torch.py."""
    state = tuple(np.asarray(s, float) for s in start)
    axes = state[0].ndim
    entries = [None if e is None else np.asarray(e, float) for e in elements]
    length = _length(entries, axes, steps)
    shapes = [e.shape[1:] if e.ndim > axes else e.shape for e in entries if e is not None]
    lanes = np.broadcast_shapes(*shapes, *(s.shape for s in state))
    out = tuple(np.zeros((length, *lanes)) for _ in state)
    for t in reversed(range(length)) if reverse else range(length):
        state = apply(tuple(at(e, t, axes) for e in entries), state)
        for whole, s in zip(out, state, strict=True):
            whole[t] = s
    return out


def _length(entries: Sequence[Array | None], axes: int, steps: int | None) -> int:
    found = {e.shape[0] for e in entries if e is not None and e.ndim > axes} - {1}
    found |= set() if steps is None else {steps}
    if len(found) > 1:
        raise RunError(f"steps of entries: {sorted(found)}")
    return found.pop() if found else 1


def at(entry: Array | None, t: int, axes: int) -> Array | None:
    """An entry in step t."""
    if entry is None or entry.ndim <= axes:
        return entry
    return entry[t if entry.shape[0] > 1 else 0]


def matrix(form: str, entries: Sequence[Array | None]) -> list[list[Any]]:
    """The matrix of a form as rows of entries: `diagonal` (a), `complex` (a_re, a_im), `dense` row by row."""
    found = [0.0 if e is None else np.asarray(e, float) for e in entries]
    if form == "diagonal":
        return [found]
    if form == "complex":
        re, im = found
        return [[re, -im], [im, re]]
    if form != "dense":
        raise Unsupported(f"steps of form {form!r}", hint="forms of affine steps: diagonal, complex, dense")
    n = round(len(found) ** 0.5)
    return [found[i * n : i * n + n] for i in range(n)]


def affine(form: str) -> tuple[Callable[[Entries, Entries], Entries], Apply]:
    """`compose` and `apply` of s' = A s + b, entries as for solvers/on_torch/scan_torch.py."""

    def parts(element: Entries, n: int) -> tuple[list[list[Any]], list[Any]]:
        return matrix(form, element[:-n]), [0.0 if b is None else b for b in element[-n:]]

    def apply(element: Entries, state: Entries) -> Entries:
        rows, drive = parts(element, len(state))
        return tuple(sum(a * s for a, s in zip(r, state, strict=True)) + b for r, b in zip(rows, drive, strict=True))

    def compose(later: Entries, earlier: Entries) -> Entries:
        n = {"diagonal": 1, "complex": 2}.get(form) or round((len(later) + 0.25) ** 0.5 - 0.5)
        (rows, _), (columns, drive) = parts(later, n), parts(earlier, n)
        product = [[sum(r[k] * columns[k][j] for k in range(n)) for j in range(n)] for r in rows]
        flat = [x for r in product for x in r]
        return *{"diagonal": flat, "complex": flat[::2]}.get(form, flat), *apply(later, tuple(drive))

    return compose, apply


def affine_steps(form: str, entries: Sequence[Array | None], drive: Sequence[Array | None], start: Sequence[Array]):
    """States of s' = A_t s + b_t after each step."""
    _, apply = affine(form)
    return scan(None, apply, (*entries, *drive), start)


def adjoint(form: str, jacobian: Sequence[Array | None], cotangents: Sequence[Array]) -> tuple[Array, ...]:
    """lambda_t = g_t + J_{t+1}' lambda_{t+1}, lambda_T = 0; entries of J_t and g_t as (T, *lanes*)."""
    found = tuple(np.array(g, float) for g in cotangents)
    axes = found[0].ndim - 1
    entries = [None if e is None else np.asarray(e, float) for e in jacobian]
    for t in reversed(range(len(found[0]) - 1)):
        rows = matrix(form, [at(e, t + 1, axes) for e in entries])
        for i, g in enumerate(found):
            g[t] += sum(rows[j][i] * found[j][t + 1] for j in range(len(found)))
    return found


def affine_invariant(form: str, entries: Sequence[Array], drive: Sequence[Array | None], start: Sequence[Array]):
    """States of s' = A s + b_t after each step; entries of A (*lanes*), b (T, *lanes*), start (*lanes*)."""
    return affine_steps(form, entries, drive, start)


def adjoint_invariant(form: str, entries: Sequence[Array], cotangents: Sequence[Array]) -> tuple[Array, ...]:
    """`adjoint` of a matrix that is the same in all steps."""
    return adjoint(form, entries, cotangents)


def collapsed(
    reading: Array, gain: Array, factor: Array, drive: Array, start: Array | None = None
) -> tuple[Array, Array]:
    """h_t = Re sum_i C_i z_i, z_i' = A_i z_i + Gamma_i u_t; see solvers/on_torch/convolution_torch.py."""
    z = np.zeros((*np.shape(drive)[1:], np.shape(factor)[-1]), complex) if start is None else np.asarray(start)
    out = np.zeros(np.shape(drive))
    for t, u in enumerate(np.asarray(drive)):
        z = factor * z + gain * u[..., None]
        out[t] = (reading * z).real.sum(-1)
    return out, z
