"""The first time at which a guard passes along a flow, for each lane: march, bracket, then Newton inside the bracket.

Marching looks at evenly spaced times. Where a margin rises at one and falls at the next, the top of the cubic through
both is looked at too, if that comes near the threshold; only a guard that passes and falls back within a finer wiggle
is not seen. Inside a bracket a Newton step that would leave it, and every fourth step, is a bisection: the bracket
always shrinks.
Source: Press et al., Numerical Recipes (2007), section 9.4, for the safeguarded iteration.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

Array = jax.Array
ROOT_STEPS = 60  # of an iteration inside a bracket
NEAR = 0.25  # of a margin: a top above -NEAR times the margins beside it is looked at


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
    turn: Array
    low: Array  # the latest time known to be before
    y: Array  # there
    high: Array  # the earliest time known to be behind; infinite while there is none
    passed: Array  # the guards that pass there
    margins: Array  # at `low`, and how fast they rise
    slopes: Array
    probing: Array  # the trial is the top of a hump
    trial: Array
    done: Array
    found: Crossing


def first_crossing(
    move: Callable[[Array, Array, Array], Array], look: Callable[[Array, Array], Look], y: Array, start: Array,
    end: Array, samples: int,
) -> Crossing:  # fmt: skip
    """The first event between `start` and `end`. No gradient passes.

    Args:
        move: (y, time, length) -> y, nan where there is none. look: (y, time) -> guards there.
        y: (states, lanes...) at `start`. start, end: (lanes...); a lane with end <= start has no crossing.
        samples: how many times are looked at while no guard passes.
    """
    passes, margins, slopes = look(y, start)
    at_once, empty = passes.any(0) & (end >= start), end <= start
    tolerance = jnp.sqrt(jnp.finfo(start.dtype).eps) * jnp.abs(end - start)
    stride = (end - start) / samples
    limit = jnp.full_like(start, jnp.inf)
    state = _State(
        jnp.zeros((), int), start, y, limit, passes, margins, slopes, empty & ~empty,
        jnp.where(stride > 0, start + stride, start), at_once | empty,
        Crossing(at_once, at_once, start, passes),
    )  # fmt: skip

    def body(s: _State) -> _State:
        tried = move(s.y, s.low, jnp.where(s.done, 0, s.trial - s.low))
        return _next(s, tried, look(tried, s.trial), end, stride, tolerance)

    def more(s: _State) -> Array:
        return (s.turn < 2 * samples + ROOT_STEPS) & ~s.done.all()

    return jax.lax.while_loop(more, body, state).found


def _next(s: _State, tried: Array, seen: Look, end: Array, stride: Array, tolerance: Array) -> _State:
    lost = ~jnp.isfinite(tried).all(0)  # the flow has no such time, as behind the pole of a quadratic one
    hit = lost | seen.passes.any(0)
    hump, top = _hump(s, seen)
    hump &= ~hit & ~s.probing & ~jnp.isfinite(s.high)
    stay = hit | hump
    low, high = jnp.where(stay, s.low, s.trial), jnp.where(hit, s.trial, s.high)
    y, passed = jnp.where(stay, s.y, tried), jnp.where(hit, seen.passes & ~lost, s.passed)
    margins, slopes = jnp.where(stay, s.margins, seen.margins), jnp.where(stay, s.slopes, seen.slopes)
    rises = (seen.slopes > 0) & jnp.isfinite(seen.margins / seen.slopes)
    roots = jnp.where(rises, s.trial - seen.margins / jnp.where(rises, seen.slopes, 1), jnp.inf)
    newton = roots.min(0)
    inside, bracketed = (newton > low) & (newton < high), jnp.isfinite(high)
    middle = jnp.where(bracketed, (low + jnp.where(bracketed, high, low)) / 2, low)
    root = jnp.where(inside & (s.turn % 4 != 3), newton, middle)
    met = inside & (jnp.abs(newton - s.trial) <= tolerance)
    ends = bracketed & (met | (high - low <= tolerance))
    march = jnp.where(hump, top, jnp.where(low + 1.5 * stride >= end, end, low + stride))
    which = jnp.where(met, roots <= newton + tolerance * 1e-3, passed)
    time = jnp.where(met, newton, jnp.where(bracketed, high, end))
    now = ends & ~s.done & which.any(0)
    old = s.found
    found = Crossing(
        old.fires | now, old.at_once, jnp.where(now, time, old.time), jnp.where(now, which, old.which)
    )  # fmt: skip
    done = s.done | ends | (~bracketed & (low >= end))
    trial = jnp.where(bracketed, root, march)
    return _State(s.turn + 1, low, y, high, passed, margins, slopes, hump, trial, done, found)


def _hump(s: _State, seen: Look) -> tuple[Array, Array]:
    """Whether a margin may pass between `low` and the trial, and where it is largest: by the cubic through both."""
    span = s.trial - s.low
    rise, fall, drop = s.slopes * span, seen.slopes * span, s.margins - seen.margins
    a, b = 2 * drop + rise + fall, -3 * drop - 2 * rise - fall
    turns = (rise > 0) & (fall < 0)
    root = jnp.sqrt(jnp.maximum(b**2 - 3 * a * rise, 0)) - b
    at = jnp.where(turns & (root > 0), rise / jnp.where(root > 0, root, 1), 0)
    height = s.margins + at * (rise + at * (b + at * a))
    near = turns & (at > 0) & (at < 1) & (height > -NEAR * jnp.maximum(jnp.abs(s.margins), jnp.abs(seen.margins)))
    best = jnp.where(near, height, -jnp.inf).argmax(0)
    return near.any(0), s.low + span * jnp.take_along_axis(at, best[None], 0)[0]
