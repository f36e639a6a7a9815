"""Scans of composable steps on torch tensors, in chunks: any length, device and float type, time-varying or not.

The steps are cut into chunks of `RADIX`. All chunks are composed at once, step by step; the composed chunks are a scan
of their own, RADIX times shorter; from the states between chunks all chunks are run at once, step by step. No power is
formed by squaring, no sum over time is divided by another. What passes between chunks is computed in float64, so the
rounding of a state is that of the RADIX steps since its chunk began, whatever the length (docs/parallel.md).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from neuroode._errors import RunError, Unsupported

Tensor = torch.Tensor
Entries = tuple[Any, ...]  # tensors; None: zero everywhere
Compose = Callable[[Entries, Entries], Entries]
Apply = Callable[[Entries, tuple[Tensor, ...]], tuple[Tensor, ...]]

RADIX = 16
LOOPED = 48  # so many steps are looped over: chunks would take as many operations


def scan(
    compose: Compose,
    apply: Apply,
    elements: Sequence[Tensor | None],
    start: Sequence[Tensor],
    *,
    steps: int | None = None,
    reverse: bool = False,
    radix: int = RADIX,
) -> tuple[Tensor, ...]:
    """The states after each step.

    Args:
        compose: (later, earlier) -> the element of both steps; tuples of tensors that broadcast.
        apply: (element, state) -> state.
        elements: entries of the steps' elements, (T, *lanes*) each, or (*lanes*) without T where an entry is the same
            in every step (it stays so: nothing is repeated over T); lanes broadcast. None: an entry that is zero, where
            `compose` and `apply` know what to do with it (those of `affine` do).
        start: parts of the state before the first step, (*lanes*) each; they say how many axes lanes have.
        steps: T, needed where no entry has it.
        reverse: run from the last step to the first: the state at t is that after the steps T-1, ..., t.
        radix: steps per chunk.

    Returns:
        Parts of the state, (T, *lanes*) each. Gradients are not meant to flow through (nn/parallel_torch.py).

    Raises:
        RunError: axes that do not fit, or T unknown.
    """
    found = tuple(start)
    entries, length = _with_time(tuple(elements), found[0].dim(), steps)
    return _levels(compose, apply, entries, found, length, reverse, max(2, radix))


def _with_time(elements: Entries, lanes: int, steps: int | None) -> tuple[Entries, int]:
    """Entries with a leading axis of T or 1, and T."""
    for e in elements:
        if e is not None and e.dim() > lanes + 1:
            raise RunError(f"an entry of shape {tuple(e.shape)} for states of {lanes} axes", hint="(T, *lanes*)")
    timed = [e is not None and e.dim() == lanes + 1 for e in elements]
    lengths = {e.shape[0] for e, t in zip(elements, timed, strict=True) if t and e is not None}
    lengths = (lengths | ({steps} if steps is not None else set())) or {-1}
    if len(lengths - {1}) > 1 or -1 in lengths:
        raise RunError(f"steps of entries: {sorted(lengths)}", hint="entries (T, *lanes*) of one T, or steps=T")
    length = steps if steps is not None else next(iter(lengths - {1}), 1)
    rows = (_row(e, t, lanes) for e, t in zip(elements, timed, strict=True))
    return tuple(rows), length


def _row(e: Tensor | None, timed: bool, lanes: int) -> Tensor | None:
    return e if e is None or timed else e.reshape(1, *(1,) * (lanes - e.dim()), *e.shape)


def _levels(compose, apply, elements: Entries, start, steps: int, reverse: bool, radix: int) -> tuple[Tensor, ...]:
    """One level of chunks; the scan of the chunks is the next."""
    if steps <= max(LOOPED, radix):
        return _run(apply, elements, tuple(s[None] for s in start), steps, steps, reverse)
    chunks = steps // radix
    wide = tuple(_wide(_each(e, 0, radix, steps, reverse, chunks)) for e in elements)
    for j in range(1, radix):
        wide = compose(tuple(_each(e, j, radix, steps, reverse, chunks) for e in elements), wide)
    ends = _levels(compose, apply, wide, tuple(map(_wide, start)), chunks, reverse, radix)
    count = -(-steps // radix)  # the last chunk may be shorter: its starts count, its element does not
    starts = tuple(_between(s, e, count, reverse) for s, e in zip(start, ends, strict=True))
    return _run(apply, elements, starts, radix, steps, reverse)


def _wide(x):
    """What passes between chunks, in float64 where the device has it."""
    if x is None or x.device.type == "mps" or not x.is_floating_point():
        return x
    return x.double()


def _each(e: Tensor | None, j: int, radix: int, steps: int, reverse: bool, chunks: int | None = None) -> Tensor | None:
    """Step j of every chunk; with `chunks`, of that many full ones. Chunks in reverse begin at the last step."""
    if e is None or e.shape[0] == 1:
        return e
    if not reverse:
        return e[j : None if chunks is None else chunks * radix : radix]
    first = 0 if chunks is None else steps - chunks * radix
    return e[first + (steps - 1 - j - first) % radix :: radix]


def _between(start: Tensor, ends: Tensor, count: int, reverse: bool) -> Tensor:
    """The states in which `count` chunks begin, from the states in which they end."""
    first = start[None].expand(1, *ends.shape[1:])
    rows = (ends[ends.shape[0] - count + 1 :], first) if reverse else (first, ends[: count - 1])
    return torch.cat([r.to(start.dtype) for r in rows])


def _run(apply: Apply, elements: Entries, state, radix: int, steps: int, reverse: bool) -> tuple[Tensor, ...]:
    """All chunks at once from their starts; `steps` of them in all."""
    out: tuple[Tensor, ...] = ()
    for j in range(min(radix, steps)):
        element = tuple(_each(e, j, radix, steps, reverse) for e in elements)
        count = -(-(steps - j) // radix)  # a shorter last chunk has ended before: it is the first of a reverse run
        state = apply(element, tuple(s[-count:] if reverse else s[:count] for s in state))
        out = out or tuple(s.new_empty((steps, *s.shape[1:])) for s in state)
        for whole, s in zip(out, state, strict=True):
            whole[_places(j, radix, steps, reverse)] = s
    return out or tuple(s.new_empty((0, *_lanes(elements, state))) for s in state)


def _lanes(elements: Entries, state: tuple[Tensor, ...]) -> torch.Size:
    return torch.broadcast_shapes(*(e.shape[1:] for e in (*elements, *state) if e is not None))


def _places(j: int, radix: int, steps: int, reverse: bool) -> slice:
    return slice((steps - 1 - j) % radix if reverse else j, None, radix)


def affine(form: str) -> tuple[Compose, Apply]:
    """`compose` and `apply` of s' = A s + b, as program/monoid.py defines them, in few operations; zeros may be None.

    Args:
        form: `diagonal`: entries (a, b); `complex`: (a_re, a_im, b_re, b_im); `dense`: A row by row, then b.
    """
    forms = {"diagonal": (_compose_diagonal, _apply_diagonal), "complex": (_compose_complex, _apply_complex)}
    forms["dense"] = (_compose_dense, _apply_dense)
    if form not in forms:
        raise Unsupported(f"steps of form {form!r}", hint=f"forms of affine steps: {', '.join(forms)}")
    return forms[form]


def _compose_diagonal(later, earlier):
    return later[0] * earlier[0], *_apply_diagonal(later, earlier[1:])


def _apply_diagonal(element, state):
    a, b = element
    return (a * state[0] if b is None else torch.addcmul(b, a, state[0]),)


def _compose_complex(later, earlier):
    a, b = later[:2], earlier[:2]
    return *_times(a, b), *_apply_complex(later, earlier[2:])


def _apply_complex(element, state):
    re, im = _times(element[:2], state)
    return _plus(re, element[2]), _plus(im, element[3])


def _times(a, z):
    return torch.addcmul(a[0] * z[0], a[1], z[1], value=-1), torch.addcmul(a[0] * z[1], a[1], z[0])


def _plus(x, b):
    return x if b is None else x + b


def _compose_dense(later, earlier):
    n = states_of(len(later))
    columns = [earlier[j : n * n : n] for j in range(n)]
    matrix = [_dot(later[i * n : i * n + n], columns[j], None) for i in range(n) for j in range(n)]
    return *matrix, *_apply_dense(later, earlier[n * n :])


def _apply_dense(element, state):
    n = len(state)
    return tuple(_dot(element[i * n : i * n + n], state, element[n * n + i]) for i in range(n))


def _dot(row, column, more):
    """The sum of products of what is there, plus `more`; None where nothing is."""
    for a, x in zip(row, column, strict=True):
        if a is not None and x is not None:
            more = a * x if more is None else torch.addcmul(more, a, x)
    return more


def moebius() -> tuple[Compose, Apply]:
    """`compose` and `apply_line` of x' = (a x + b)/(c x + d), as program/monoid.py defines them: entries (a, b, c, d),
    the state x : y of the projective line; both are scaled to a largest entry of 1."""
    return _compose_moebius, _apply_moebius


def _compose_moebius(later, earlier):
    (a, b, c, d), (e, f, g, h) = later, earlier
    return _scaled(a * e + b * g, a * f + b * h, c * e + d * g, c * f + d * h)


def _apply_moebius(element, state):
    (a, b, c, d), (x, y) = element, state
    return _scaled(a * x + b * y, c * x + d * y)


def _scaled(*entries):
    largest = torch.stack(torch.broadcast_tensors(*entries)).abs().amax(0)
    scale = torch.where(largest > 0, largest, torch.ones_like(largest))
    return tuple(e / scale for e in entries)


def states_of(entries: int) -> int:
    """n of a dense element with n*n + n entries."""
    n = round(entries**0.5 - 0.5)
    if n * n + n != entries:
        raise RunError(f"a dense element of {entries} entries", hint="n*n entries of the matrix, then n of the drive")
    return n


def transposed(form: str, matrix: Sequence[Tensor | None]) -> Entries:
    """Entries of A' from those of A."""
    if form == "diagonal":
        return tuple(matrix)
    if form == "complex":
        re, im = matrix
        return re, None if im is None else -im
    n = round(len(matrix) ** 0.5)
    return tuple(matrix[j * n + i] for i in range(n) for j in range(n))


def adjoint(form: str, jacobian: Sequence[Tensor | None], cotangents: Sequence[Tensor]) -> tuple[Tensor, ...]:
    r"""Cotangents of the states of all steps: lambda_t = g_t + J_{t+1}' lambda_{t+1}, lambda_T = 0.

    Args:
        form: of the Jacobian, as for `affine`.
        jacobian: entries of J_t = ds_t/ds_{t-1}, (T, *lanes*) each, or (*lanes*) where J is the same in all steps.
        cotangents: g_t of each part of the state, (T, *lanes*); the cotangent of the last state belongs to g_{T-1}.

    Returns:
        lambda, (T, *lanes*) for each part. References: the adjoint of a recurrence; Bryson & Ho 1975, section 2.2.
    """
    steps = cotangents[0].shape[0]
    if steps <= 1:
        return tuple(cotangents)
    lanes = cotangents[0].dim() - 1
    compose, apply = affine(form)
    later = tuple(j if j is None or j.dim() <= lanes or j.shape[0] == 1 else j[1:] for j in transposed(form, jacobian))
    last = tuple(g[-1] for g in cotangents)
    found = scan(compose, apply, (*later, *(g[:-1] for g in cotangents)), last, steps=steps - 1, reverse=True)
    return tuple(torch.cat([f, g[-1:].expand(1, *f.shape[1:])]) for f, g in zip(found, cotangents, strict=True))
