"""When a margin passes 0 within a piece of a step: times without gradient, found in a fixed number of operations."""

from __future__ import annotations

from collections.abc import Callable

from neuroode._errors import Unsupported
from neuroode.program.builder import Builder

Along = Callable[[str], tuple[str, str]]  # time -> the margin there and its derivative in time


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


def bracketed(*_: object) -> str:
    """The first time at which a margin that is negative at 0 and not at `until` passes 0."""
    raise Unsupported("events without a closed form of their time are not located yet", hint="within_step: saturate")


def largest(*_: object) -> str:
    """The time in 0 .. left at which a margin is largest: inside, where it rises at 0 and falls at the end."""
    raise Unsupported("events without a closed form of their time are not located yet", hint="within_step: saturate")


def _safe(b: Builder, condition: str, x: str) -> str:
    """x where the condition holds, else 1; never 0."""
    fits = b.emit("mul", condition, b.emit("gt", x, b.const(0.0)))
    return b.emit("where", fits, x, b.const(1.0))


def _between(b: Builder, t: str, until: str) -> str:
    """t where it lies in 0 .. until, else the nearer end; what is no number becomes `until`."""
    zero = b.const(0.0)
    t = b.emit("where", b.emit("gt", until, t), t, until)
    return b.emit("where", b.emit("gt", t, zero), t, zero)
