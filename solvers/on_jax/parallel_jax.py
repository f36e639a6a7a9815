"""Linear recurrences over a whole sequence at once: scans of a monoid on one device or on several, and FFT.

A monoid is two functions on tuples of arrays: `compose(later, earlier)` gives the element that does first one, then
the other; `apply(element, state)` gives the state after it. Its `identity` is a tuple of numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec

Array = jax.Array
Row = tuple[Array, ...]
Compose = Callable[[Row, Row], Row]
Apply = Callable[[Row, Row], Row]


def scan(
    compose: Compose, apply: Apply, identity: tuple[float, ...], elements: Row, start: Row, *,
    reverse: bool = False, steps: int | None = None, mesh: Mesh | None = None, axis: str = "time",
) -> Row:  # fmt: skip
    """States after each step, (T, ...) each: state_t = apply(element_t, state_{t-1}), in about log2 T rounds.

    Args:
        elements: arrays of one rank that broadcast against each other, (T, ...) or, where they do not change, (1, ...).
        start: the state before the first step, (...) each.
        reverse: from the last step to the first; `start` is then the state after the last one.
        steps: T, needed where no element changes.
        mesh, axis: cut time along this axis of the mesh: each device scans its slice, the devices exchange what their
            slices do as a whole. T need not be divisible by their number.

    The products of elements are formed as they stand: where those overflow, states do that a loop would not have.
    """
    length = max(e.shape[0] for e in elements) if steps is None else steps
    elements = _settled(compose, tuple(jnp.broadcast_to(e, (length, *e.shape[1:])) for e in elements))
    if length == 0:
        return tuple(jnp.zeros((0, *s.shape), s.dtype) for s in _shapes(apply, elements, start))
    if mesh is None:
        return _applied(apply, _products(compose, elements, reverse), start)
    return _over_devices(compose, apply, identity, elements, start, reverse, mesh, axis)


def _products(compose: Compose, elements: Row, reverse: bool) -> Row:
    """Of all elements up to each step."""
    return tuple(jax.lax.associative_scan(lambda first, then: compose(then, first), elements, reverse=reverse))


def _applied(apply: Apply, products: Row, start: Row) -> Row:
    return tuple(apply(products, tuple(s[None] for s in start)))


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


def _over_devices(
    compose: Compose, apply: Apply, identity: tuple[float, ...], elements: Row, start: Row, reverse: bool,
    mesh: Mesh, axis: str,
) -> Row:  # fmt: skip
    """The scan of each device's slice, from the state that the slices before it leave."""
    count, steps = mesh.shape[axis], elements[0].shape[0]
    padding = -steps % count  # identities change nothing, at either end of the scan
    rows = [(e, jnp.full((padding, *e.shape[1:]), one, e.dtype)) for e, one in zip(elements, identity, strict=True)]
    time = PartitionSpec(axis)
    body = partial(_slice, compose, apply, reverse, axis, count)
    cut = jax.shard_map(
        body, mesh=mesh, in_specs=(time, PartitionSpec()), out_specs=time, axis_names={axis}, check_vma=False
    )
    states = cut(tuple(jnp.concatenate(pair) for pair in rows), start)
    return tuple(s[:steps] for s in states)


def _slice(compose: Compose, apply: Apply, reverse: bool, axis: str, count: int, elements: Row, start: Row) -> Row:
    products = _products(compose, elements, reverse)
    totals = tuple(jax.lax.all_gather(p[0 if reverse else -1], axis) for p in products)
    ends = _applied(apply, _products(compose, totals, reverse), start)
    here = jax.lax.axis_index(axis)
    before, first = (here + 1, count - 1) if reverse else (here - 1, 0)
    begin = tuple(
        jnp.where(here == first, s, jnp.take(e, jnp.clip(before, 0, count - 1), axis=0))
        for s, e in zip(start, ends, strict=True)
    )
    return _applied(apply, products, begin)
