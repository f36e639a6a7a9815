"""When a margin passes 0 within a piece of a step: times without gradient, found in a fixed number of operations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from neuroode.program.builder import Builder

#: time -> the margin there, 1 where only a blow-up and not the state has passed the threshold, the margin's slope
Along = Callable[[str], tuple[str, str, str]]

ROUNDS = 7  # of a bracket
UPSTROKE_ROUNDS = 10  # where a step may stop a blow-up below the threshold; the time is then good to 1e-4 of a step
PEAK_ROUNDS = 3  # of the search for a maximum, of which the error counts squared
EDGE = 0.15  # of the time left before a blow-up
HUGE = 1e30  # a margin or slope beyond is one at infinity


def riccati(b: Builder, v: str, level: str | None, flow: tuple[str, str, str], until: str) -> str:
    """The first time at which dv/dt = A v^2 + B v + C reaches a level, at most `until`; level None: infinity.

    With q = (level - v)/(A v level + B (level + v)/2 + C) and D = A C - B^2/4, w^2 = |D|: atan(w q)/w, from 0 to pi/w,
    where D > 0; atanh(w q)/w where D < 0; q where D = 0 (qif.md (c)). A = 0 is the linear flow.
    """
    A, B, C = flow
    zero, one, half = b.const(0.0), b.const(1.0), b.const(0.5)
    mean = b.emit("mul", half, B)
    if level is None:
        top, bottom = one, b.emit("add", b.emit("mul", A, v), mean)
    else:
        gap = b.emit("sub", level, v)
        speed = b.emit("mul", A, b.emit("mul", v, level))
        speed = b.emit("add", b.emit("add", speed, b.emit("mul", mean, b.emit("add", level, v))), C)
        top, bottom = b.emit("abs", gap), b.emit("mul", speed, b.emit("sign", gap))
    D = b.emit("sub", b.emit("mul", A, C), b.emit("mul", mean, mean))
    flat = b.emit("mul", b.emit("ge", D, zero), b.emit("ge", zero, D))
    w = b.emit("sqrt", b.emit("where", flat, one, b.emit("abs", D)))
    top = b.emit("where", flat, top, b.emit("mul", w, top))  # w q = top/bottom
    turning = b.emit("atan2", top, bottom)
    ahead = b.emit("gt", bottom, b.emit("where", b.emit("gt", zero, D), top, zero))  # it gets there at all
    rest = b.emit("where", ahead, b.emit("sub", bottom, top), one)
    creeping = b.emit("mul", half, b.emit("log1p", b.emit("div", b.emit("add", top, top), _safe(b, ahead, rest))))
    creeping = b.emit("where", ahead, creeping, b.const(1e30))
    straight = b.emit("where", ahead, b.emit("div", top, b.emit("where", ahead, bottom, one)), b.const(1e30))
    angle = b.emit("where", flat, straight, b.emit("where", b.emit("gt", D, zero), turning, creeping))
    return _between(b, b.emit("div", angle, w), until)


@dataclass(frozen=True, slots=True)
class _End:
    """One end of a bracket: a time, the margin there, whether the state itself has not come so far, its slope."""

    t: str
    m: str
    lost: str
    slope: str


def bracketed(b: Builder, along: Along, until: str, rounds: int = ROUNDS) -> str:
    """The time at which a margin that is negative at 0 and not at `until` passes 0.

    Each round takes one time inside the bracket: between its ends dt/dm = e^(-k m), with the k that fits both slopes,
    which is exact for an exponential blow-up and Newton's method for k = 0; the middle where that falls outside, and
    where the round before gained little. Where a step gives up before a threshold that lies beyond its peak, the
    margin jumps there, and the time is the last one before the jump.
    """
    zero, half = b.const(0.0), b.const(0.5)
    low, high = _End(zero, *along(zero)), _End(until, *along(until))
    slow, before = zero, low
    for _ in range(rounds):
        width = b.emit("sub", high.t, low.t)
        middle = b.emit("add", low.t, b.emit("mul", half, width))
        guess, size = _guess(b, low, high, middle)
        t = b.emit("where", high.lost, _upstroke(b, before, low, high, middle), b.emit("where", slow, middle, guess))
        new = _End(t, *along(t))
        above = _above(b, new.m)
        before = _chosen(b, above, before, low)
        low, high = _chosen(b, above, low, new), _chosen(b, above, new, high)
        wide = b.emit("gt", b.emit("sub", high.t, low.t), b.emit("mul", half, width))
        far = b.emit("gt", b.emit("abs", new.m), b.emit("mul", b.const(0.1), size))
        slow = b.emit("mul", b.emit("mul", wide, far), b.emit("sub", b.const(1.0), slow))
    return b.emit("where", high.lost, low.t, _guess(b, low, high, _nearer(b, low, high).t)[0])


def _above(b: Builder, m: str) -> str:
    """1 where a margin is not negative; what is no number lies beyond every threshold."""
    return b.emit("sub", b.const(1.0), b.emit("gt", b.const(0.0), m))


def _chosen(b: Builder, condition: str, x: _End, y: _End) -> _End:
    pairs = ((x.t, y.t), (x.m, y.m), (x.lost, y.lost), (x.slope, y.slope))
    return _End(*(b.emit("where", condition, p, q) for p, q in pairs))


def _nearer(b: Builder, low: _End, high: _End) -> _End:
    """The end whose margin is nearer to 0."""
    return _chosen(b, b.emit("gt", b.emit("neg", low.m), high.m), high, low)


def _guess(b: Builder, low: _End, high: _End, instead: str) -> tuple[str, str]:
    """The time of the passage by the slopes at both ends, `instead` where it falls outside; |m| at the nearer end."""
    k = _bend(b, low, high)
    near = _nearer(b, low, high)
    t, rises = _ahead(b, near, k)
    inside = b.emit("mul", b.emit("gt", t, low.t), b.emit("gt", high.t, t))
    return b.emit("where", b.emit("mul", rises, inside), t, instead), b.emit("abs", near.m)


def _upstroke(b: Builder, before: _End, low: _End, high: _End, middle: str) -> str:
    """A time little before a blow-up: as it comes near, the time left goes as 1/slope, so two slopes tell it."""
    one = b.const(1.0)
    gain = b.emit("sub", low.slope, before.slope)
    known = b.emit("mul", b.emit("gt", gain, b.const(0.0)), b.emit("gt", before.slope, b.const(0.0)))
    left = b.emit("mul", b.emit("sub", low.t, before.t), before.slope)
    left = b.emit("div", left, b.emit("where", known, gain, one))
    t = b.emit("add", low.t, b.emit("mul", b.const(1 - EDGE), left))
    inside = b.emit("mul", b.emit("gt", t, low.t), b.emit("gt", high.t, t))
    return b.emit("where", b.emit("mul", known, inside), t, middle)


def _bend(b: Builder, low: _End, high: _End) -> str:
    """k of dt/dm = e^(-k m), by the slopes at both ends; 0 where they say nothing."""
    zero, one = b.const(0.0), b.const(1.0)
    rise = b.emit("sub", high.m, low.m)
    fits = b.emit("mul", b.emit("gt", low.slope, zero), b.emit("gt", high.slope, zero))
    fits = b.emit("mul", fits, b.emit("mul", b.emit("gt", b.const(HUGE), high.slope), b.emit("gt", rise, zero)))
    fits = b.emit("mul", fits, b.emit("gt", b.const(HUGE), rise))
    ratio = b.emit("div", b.emit("where", fits, high.slope, one), b.emit("where", fits, low.slope, one))
    return b.emit("div", b.emit("log", ratio), b.emit("where", fits, rise, one))


def _ahead(b: Builder, end: _End, k: str) -> tuple[str, str]:
    """The time of the passage as one end sees it, and whether its margin rises there at all."""
    one = b.const(1.0)
    z = b.emit("min", b.emit("mul", k, end.m), b.const(50.0))
    bent = b.emit("gt", b.emit("abs", z), b.const(1e-9))
    bend = b.emit("where", bent, b.emit("div", b.emit("expm1", z), b.emit("where", bent, z, one)), one)
    rises = b.emit("gt", end.slope, b.const(0.0))
    way = b.emit("div", b.emit("mul", end.m, bend), b.emit("where", rises, end.slope, one))
    return b.emit("sub", end.t, way), rises


def largest(b: Builder, along: Along, until: str) -> str:
    """The time at which a margin is largest: `until`, but inside where it rises at 0, and falls and is negative there.

    A cubic through both ends has its maximum inside; the bracket then shrinks around it.
    """
    zero = b.const(0.0)
    low, high = _End(zero, *along(zero)), _End(until, *along(until))
    turns = b.emit("mul", b.emit("gt", low.slope, zero), b.emit("gt", zero, high.slope))
    turns = b.emit("mul", turns, b.emit("gt", zero, high.m))
    best = low
    for _ in range(PEAK_ROUNDS):
        t = _top(b, low, high)
        new = _End(t, *along(t))
        best = _chosen(b, b.emit("gt", new.m, best.m), new, best)
        rising = b.emit("gt", new.slope, zero)
        low, high = _chosen(b, rising, new, low), _chosen(b, rising, high, new)
    return b.emit("where", turns, best.t, until)


def _top(b: Builder, low: _End, high: _End) -> str:
    """Where the cubic through two ends, rising at one and falling at the other, is largest."""
    half, three = b.const(0.5), b.const(3.0)
    width = b.emit("sub", high.t, low.t)
    wide = b.emit("gt", width, b.const(0.0))
    mean = b.emit("div", b.emit("sub", high.m, low.m), b.emit("where", wide, width, b.const(1.0)))
    d = b.emit("sub", b.emit("mul", three, mean), b.emit("add", low.slope, high.slope))
    root = b.emit("sub", b.emit("mul", d, d), b.emit("mul", low.slope, high.slope))
    root = b.emit("sqrt", b.emit("max", root, b.const(0.0)))
    top = b.emit("add", b.emit("add", root, d), low.slope)
    bottom = b.emit("add", b.emit("sub", low.slope, high.slope), b.emit("add", root, root))
    fits = b.emit("gt", bottom, b.const(0.0))
    share = b.emit("div", top, b.emit("where", fits, bottom, b.const(1.0)))
    inside = b.emit("mul", b.emit("gt", share, b.const(0.0)), b.emit("gt", b.const(1.0), share))
    share = b.emit("where", b.emit("mul", fits, inside), share, half)
    return b.emit("add", low.t, b.emit("mul", width, share))


def _safe(b: Builder, condition: str, x: str) -> str:
    """x where the condition holds, else 1; never 0."""
    fits = b.emit("mul", condition, b.emit("gt", x, b.const(0.0)))
    return b.emit("where", fits, x, b.const(1.0))


def _between(b: Builder, t: str, until: str) -> str:
    """t where it lies in 0 .. until, else the nearer end; what is no number becomes `until`."""
    zero = b.const(0.0)
    t = b.emit("where", b.emit("gt", until, t), t, until)
    return b.emit("where", b.emit("gt", t, zero), t, zero)
