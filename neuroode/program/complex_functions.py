"""Elementary functions of complex numbers in parts, on their principal branches (Abramowitz and Stegun, 4.1 to 4.5)."""

from __future__ import annotations

from collections.abc import Callable

from neuroode.program.builder import Builder

Parts = tuple[str, str]


def log(b: Builder, re: str, im: str) -> Parts:
    norm = b.emit("add", b.emit("mul", re, re), b.emit("mul", im, im))
    return b.emit("mul", b.const(0.5), b.emit("log", norm)), b.emit("atan2", im, re)


def exp(b: Builder, re: str, im: str) -> Parts:
    size = b.emit("exp", re)
    return b.emit("mul", size, b.emit("cos", im)), b.emit("mul", size, b.emit("sin", im))


def power(b: Builder, base: Parts, exponent: Parts) -> Parts:
    """exp(exponent*log(base)); 0 at 0 where the exponent is positive."""
    (x, y), (p, q) = log(b, *base), exponent
    re = b.emit("sub", b.emit("mul", p, x), b.emit("mul", q, y))
    return exp(b, re, b.emit("add", b.emit("mul", p, y), b.emit("mul", q, x)))


def sin(b: Builder, re: str, im: str) -> Parts:
    return (
        b.emit("mul", b.emit("sin", re), b.emit("cosh", im)),
        b.emit("mul", b.emit("cos", re), b.emit("sinh", im)),
    )


def cos(b: Builder, re: str, im: str) -> Parts:
    lower = b.emit("mul", b.emit("sin", re), b.emit("sinh", im))
    return b.emit("mul", b.emit("cos", re), b.emit("cosh", im)), b.emit("neg", lower)


def sinh(b: Builder, re: str, im: str) -> Parts:
    return (
        b.emit("mul", b.emit("sinh", re), b.emit("cos", im)),
        b.emit("mul", b.emit("cosh", re), b.emit("sin", im)),
    )


def cosh(b: Builder, re: str, im: str) -> Parts:
    return (
        b.emit("mul", b.emit("cosh", re), b.emit("cos", im)),
        b.emit("mul", b.emit("sinh", re), b.emit("sin", im)),
    )


def tanh(b: Builder, re: str, im: str) -> Parts:
    """(T (1 + t^2) + i t (1 - T^2))/(1 + T^2 t^2) with T = tanh(re), t = tan(im): nothing overflows."""
    T, t, one = b.emit("tanh", re), b.emit("tan", im), b.const(1.0)
    TT, tt = b.emit("mul", T, T), b.emit("mul", t, t)
    below = b.emit("add", one, b.emit("mul", TT, tt))
    x = b.emit("div", b.emit("mul", T, b.emit("add", one, tt)), below)
    return x, b.emit("div", b.emit("mul", t, b.emit("sub", one, TT)), below)


def tan(b: Builder, re: str, im: str) -> Parts:
    """-i tanh(i z)."""
    x, y = tanh(b, b.emit("neg", im), re)
    return y, b.emit("neg", x)


FUNCTIONS: dict[str, Callable[[Builder, str, str], Parts]] = {
    "log": log, "sin": sin, "cos": cos, "tan": tan, "sinh": sinh, "cosh": cosh, "tanh": tanh,
}  # fmt: skip
