"""cosh(sqrt d) and sinh(sqrt d)/sqrt d for d of any sign, in plain ops: they vectorise, and so do their derivatives.

Both are entire functions of d. Within [-1, 1] a Taylor series; below, cos and sin of an angle that is taken modulo half
a turn, by the same series; above, exponentials over e^(sqrt d - 1), so that both stay finite.
"""

from __future__ import annotations

import math

from neuroode.program.builder import Builder

TERMS = 13  # of a series in |z| <= (pi/2)^2: the rest is below 2.5^13/26! = 4e-22


def swing(b: Builder, d: str) -> tuple[str, str]:
    """The two values; for d > 1 both are divided by e^(sqrt d - 1)."""
    one = b.const(1.0)
    far, back = b.emit("gt", d, one), b.emit("gt", b.const(-1.0), d)
    angle = b.emit("sqrt", b.emit("where", back, b.emit("neg", d), one))
    turns = b.emit("round", b.emit("mul", angle, b.const(1 / math.pi)))
    rest = b.emit("sub", angle, b.emit("mul", turns, b.const(math.pi)))
    near = b.emit("where", far, b.const(0.0), d)
    z = b.emit("where", back, b.emit("neg", b.emit("mul", rest, rest)), near)
    c, s = _series(b, z, 0), _series(b, z, 1)
    sign = _sign(b, turns)
    c = b.emit("where", back, b.emit("mul", sign, c), c)
    s = b.emit("where", back, b.emit("mul", sign, b.emit("mul", s, b.emit("div", rest, angle))), s)
    grown = _grown(b, b.emit("sqrt", b.emit("where", far, d, one)))
    return b.emit("where", far, grown[0], c), b.emit("where", far, grown[1], s)


def _series(b: Builder, z: str, odd: int) -> str:
    """sum_n z^n/(2n + odd)!"""
    total = b.const(1 / math.factorial(2 * TERMS - 2 + odd))
    for n in reversed(range(TERMS - 1)):
        total = b.emit("add", b.emit("mul", total, z), b.const(1 / math.factorial(2 * n + odd)))
    return total


def _sign(b: Builder, turns: str) -> str:
    """1 for an even number of half turns, -1 for an odd one."""
    pairs = b.emit("floor", b.emit("mul", turns, b.const(0.5)))
    odd = b.emit("sub", turns, b.emit("mul", b.const(2.0), pairs))
    return b.emit("sub", b.const(1.0), b.emit("mul", b.const(2.0), odd))


def _grown(b: Builder, root: str) -> tuple[str, str]:
    """cosh and sinh(x)/x, over e^(x - 1), for x >= 1."""
    half, twice = b.const(math.e / 2), b.emit("mul", b.const(-2.0), root)
    c = b.emit("add", half, b.emit("mul", half, b.emit("exp", twice)))
    s = b.emit("div", b.emit("mul", half, b.emit("neg", b.emit("expm1", twice))), root)
    return c, s
