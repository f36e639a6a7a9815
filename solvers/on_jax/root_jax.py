"""The first time at which a guard passes along a flow, for each lane: march, bracket, then Newton inside the bracket.

Marching looks at evenly spaced times, so a guard that passes and falls back between two of them is not seen. Inside a
bracket a Newton step that would leave it, and every fourth step, is a bisection: the bracket always shrinks.
Source: Press et al., Numerical Recipes (2007), section 9.4, for the safeguarded iteration.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

Array = jax.Array
ROOT_STEPS = 60  # of an iteration inside a bracket


class Look(NamedTuple):
    """Guards at a time, (events, lanes...) each: whether they pass, their margins, and these per time."""

    passes: Array
    margins: Array
    slopes: Array


class Crossing(NamedTuple):
    """Of each lane: is there one; did it pass at the start already; its time; which events (events, lanes...)."""

    fires: Array
    at_once: Array
    time: Array
    which: Array


class _State(NamedTuple):
    count: Array
    low: Array  # the latest time known to be before
    y: Array  # there
    high: Array  # the earliest time known to be behind; infinite while there is none
    passed: Array  # the guards that pass there
    trial: Array
    done: Array
    found: Crossing


def first_crossing(
    move: Callable[[Array, Array, Array], Array], look: Callable[[Array, Array], Look], y: Array, start: Array,
    end: Array, samples: int,
) -> Crossing:  # fmt: skip
    """The first event between `start` and `end`. No gradient passes.

    Args:
        move: (y, time, length) -> y. look: (y, time) -> guards there.
        y: (states, lanes...) at `start`. start, end: (lanes...); a lane with end <= start has no crossing.
        samples: how many times are looked at while no guard passes.
    """
    passes = look(y, start).passes
    at_once, empty = passes.any(0) & (end >= start), end <= start
    tolerance = jnp.sqrt(jnp.finfo(start.dtype).eps) * jnp.abs(end - start)
    stride = (end - start) / samples
    limit = jnp.full_like(start, jnp.inf)
    state = _State(
        jnp.zeros((), int), start, y, limit, passes, jnp.where(stride > 0, start + stride, start), at_once | empty,
        Crossing(at_once, at_once, start, passes),
    )  # fmt: skip

    def body(s: _State) -> _State:
        tried = move(s.y, s.low, jnp.where(s.done, 0, s.trial - s.low))
        return _next(s, tried, look(tried, s.trial), end, stride, tolerance)

    def more(s: _State) -> Array:
        return (s.count < samples + ROOT_STEPS) & ~s.done.all()

    return jax.lax.while_loop(more, body, state).found


def _next(s: _State, tried: Array, seen: Look, end: Array, stride: Array, tolerance: Array) -> _State:
    hit = seen.passes.any(0)
    low, high = jnp.where(hit, s.low, s.trial), jnp.where(hit, s.trial, s.high)
    y, passed = jnp.where(hit, s.y, tried), jnp.where(hit, seen.passes, s.passed)
    rises = seen.slopes > 0
    roots = jnp.where(rises, s.trial - seen.margins / jnp.where(rises, seen.slopes, 1), jnp.inf)
    newton = roots.min(0)
    inside, bracketed = (newton > low) & (newton < high), jnp.isfinite(high)
    middle = jnp.where(bracketed, (low + jnp.where(bracketed, high, low)) / 2, low)
    root = jnp.where(inside & (s.count % 4 != 3), newton, middle)
    met = inside & (jnp.abs(newton - s.trial) <= tolerance)
    ends = bracketed & (met | (high - low <= tolerance))
    march = jnp.where(low + 1.5 * stride >= end, end, low + stride)
    which = jnp.where(met, roots <= newton + tolerance * 1e-3, passed)
    time = jnp.where(met, newton, jnp.where(bracketed, high, end))
    now = ends & ~s.done
    old = s.found
    found = Crossing(
        old.fires | now, old.at_once, jnp.where(now, time, old.time), jnp.where(now, which, old.which)
    )  # fmt: skip
    done = s.done | ends | (~bracketed & (low >= end))
    return _State(s.count + 1, low, y, high, passed, jnp.where(bracketed, root, march), done, found)
