"""Linear recurrences over a whole sequence at once: scans of a monoid on one device or on several, and FFT.

A monoid is two functions on tuples of arrays: `compose(later, earlier)` gives the element that does first one, then
the other; `apply(element, state)` gives the state after it. Its `identity` is a tuple of numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec

Array = jax.Array
Row = tuple[Array, ...]
Compose = Callable[[Row, Row], Row]
Apply = Callable[[Row, Row], Row]
SMALL = 4  # entries of an element of which a tree still compiles quickly


def scan(
    compose: Compose, apply: Apply, identity: tuple[float, ...], elements: Row, start: Row, *,
    reverse: bool = False, steps: int | None = None, mesh: Mesh | None = None, axis: str = "time",
    tree: bool | None = None,
) -> Row:  # fmt: skip
    """States after each step, (T, ...) each: state_t = apply(element_t, state_{t-1}).

    Args:
        elements: arrays of one rank that broadcast against each other, (T, ...) or, where they do not change, (1, ...).
        start: the state before the first step, (...) each.
        reverse: from the last step to the first; `start` is then the state after the last one.
        steps: T, needed where no element changes.
        mesh, axis: cut time along this axis of the mesh: each device scans its slice, the devices exchange what their
            slices do as a whole. T need not be divisible by their number.
        tree: True takes `lax.associative_scan`, about 2 log2 T rounds of `compose`; False takes chunks of about sqrt T
            steps, all of them at once: one `compose` in a loop, which compiles quickly whatever T is. None decides: the
            tree for up to 4 entries where jax does not run on a CPU, whose caches and compiler chunks suit better.

    Between chunks everything is float64, whatever the arrays are, so the rounding of a state is that of the steps since
    its chunk began; a tree rounds its products, and many multipliers close to 1 cost it digits (docs/parallel.md).
    The products of elements are formed as they stand: where those overflow, states do that a loop would not have.
    """
    length = max(e.shape[0] for e in elements) if steps is None else steps
    elements = _settled(compose, tuple(jnp.broadcast_to(e, (length, *e.shape[1:])) for e in elements))
    if length == 0:
        return tuple(jnp.zeros((0, *s.shape), s.dtype) for s in _shapes(apply, elements, start))
    if tree is None:
        tree = len(elements) <= SMALL and jax.default_backend() != "cpu"
    kind = _Kind(compose, apply, identity, reverse, tree)
    if mesh is None:
        return kind.parts(elements).states(start)
    return _over_devices(kind, elements, start, mesh, axis)


@dataclass(frozen=True, slots=True)
class _Kind:
    """A scan besides its arrays."""

    compose: Compose
    apply: Apply
    identity: tuple[float, ...]
    reverse: bool
    tree: bool

    def parts(self, elements: Row) -> _Tree | _Chunks:
        if self.tree:
            return _Tree(self, _products(self, elements))
        return _chunks(self, elements)

    def neutral(self, like: Row, shape: tuple[int, ...] | None = None) -> Row:
        """The identity in the place of elements; `shape` replaces their first axis."""
        pairs = zip(like, self.identity, strict=True)
        return tuple(jnp.full(e.shape if shape is None else (*shape, *e.shape[1:]), one, e.dtype) for e, one in pairs)


@dataclass(frozen=True, slots=True)
class _Tree:
    """Products of all elements up to each step."""

    kind: _Kind
    products: Row

    def total(self) -> Row:
        return tuple(p[0 if self.kind.reverse else -1] for p in self.products)

    def states(self, start: Row) -> Row:
        return tuple(self.kind.apply(self.products, tuple(s[None] for s in start)))


@dataclass(frozen=True, slots=True)
class _Chunks:
    """Elements as (steps of a chunk, chunks, ...), and what whole chunks do, in float64; `steps` without padding."""

    kind: _Kind
    rows: Row
    totals: Row
    steps: int

    def total(self) -> Row:
        def join(before: Row, now: Row) -> tuple[Row, None]:
            return self.kind.compose(now, before), None

        with _wide():
            one = self.kind.neutral(self.totals, ())
            return _narrow(jax.lax.scan(join, one, self.totals, reverse=self.kind.reverse)[0], self.rows[0])

    def states(self, start: Row) -> Row:
        def move(state: Row, now: Row) -> tuple[Row, Row]:
            return tuple(self.kind.apply(now, state)), state

        def step(state: Row, now: Row) -> tuple[Row, Row]:
            after = tuple(self.kind.apply(now, state))
            return after, after

        with _wide():
            wide = jax.lax.scan(move, _as_wide(start), self.totals, reverse=self.kind.reverse)[1]
            begins = _narrow(wide, start[0])
        rows = jax.lax.scan(step, begins, self.rows, reverse=self.kind.reverse)[1]
        return tuple(jnp.swapaxes(r, 0, 1).reshape(-1, *r.shape[2:])[: self.steps] for r in rows)


def _chunks(kind: _Kind, elements: Row) -> _Chunks:
    steps = elements[0].shape[0]
    size = math.isqrt(steps - 1) + 1
    count = -(-steps // size)
    padded = _padded(kind, elements, size * count)
    rows = tuple(jnp.swapaxes(e.reshape(count, size, *e.shape[1:]), 0, 1) for e in padded)

    def join(before: Row, now: Row) -> tuple[Row, None]:
        return tuple(kind.compose(_as_wide(now), before)), None

    with _wide():
        one = kind.neutral(_as_wide(tuple(r[0] for r in rows)))
        totals = jax.lax.scan(join, one, rows, reverse=kind.reverse)[0]
    return _Chunks(kind, rows, totals, steps)


def _wide() -> AbstractContextManager[None]:
    """Here float64 exists, whatever jax is told elsewhere."""
    return jax.enable_x64(True)


def _as_wide(rows: Row) -> Row:
    return tuple(r.astype(jnp.float64) for r in rows)


def _narrow(rows: Row, like: Array) -> Row:
    return tuple(r.astype(like.dtype) for r in rows)


def _padded(kind: _Kind, elements: Row, steps: int) -> Row:
    """With identities behind them: they change nothing, at either end of a scan."""
    more = kind.neutral(elements, (steps - elements[0].shape[0],))
    return tuple(jnp.concatenate(pair) for pair in zip(elements, more, strict=True))


def _products(kind: _Kind, elements: Row) -> Row:
    """Of all elements up to each step."""
    return tuple(
        jax.lax.associative_scan(lambda first, then: kind.compose(then, first), elements, reverse=kind.reverse)
    )


def _settled(compose: Compose, elements: Row) -> Row:
    """Elements in the shapes that their products have, so that every round of a scan has the same."""
    while True:
        found = jax.eval_shape(compose, elements, elements)
        if all(f.shape == e.shape for f, e in zip(found, elements, strict=True)):
            return elements
        elements = tuple(jnp.broadcast_to(e, f.shape) for f, e in zip(found, elements, strict=True))


def _shapes(apply: Apply, elements: Row, start: Row) -> Row:
    """Of one state."""
    one = tuple(jax.ShapeDtypeStruct(e.shape[1:], e.dtype) for e in elements)
    return jax.eval_shape(apply, one, start)


def _over_devices(kind: _Kind, elements: Row, start: Row, mesh: Mesh, axis: str) -> Row:
    """The scan of each device's slice, from the state that the slices before it leave."""
    count, steps = mesh.shape[axis], elements[0].shape[0]
    rows = _padded(kind, elements, steps + -steps % count)
    time, body = PartitionSpec(axis), partial(_slice, kind, axis, count)
    cut = jax.shard_map(
        body, mesh=mesh, in_specs=(time, PartitionSpec()), out_specs=time, axis_names={axis}, check_vma=False
    )
    states: Row = cut(rows, start)
    return tuple(s[:steps] for s in states)


def _slice(kind: _Kind, axis: str, count: int, elements: Row, start: Row) -> Row:
    parts = kind.parts(elements)
    totals = tuple(jax.lax.all_gather(p, axis) for p in parts.total())
    ends = _Tree(kind, _products(kind, totals)).states(start)
    here = jax.lax.axis_index(axis)
    before, first = (here + 1, count - 1) if kind.reverse else (here - 1, 0)
    at = jnp.clip(before, 0, count - 1)
    return parts.states(tuple(jnp.where(here == first, s, e[at]) for s, e in zip(start, ends, strict=True)))
