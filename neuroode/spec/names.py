"""Words of the language: functions with their numbers of arguments, reserved names, distributions."""

from __future__ import annotations

import re

ANY = 1_000
FUNCTIONS: dict[str, tuple[int, int]] = dict.fromkeys(
    (
        "exp", "log", "sqrt", "sin", "cos", "tan", "sinh", "cosh", "tanh", "sigmoid", "softplus", "relu", "erf", "abs",
        "sign", "floor", "ceil", "round", "real", "imag", "conj", "arg", "exprel", "size", "after", "detach",
    ),
    (1, 1),
)  # fmt: skip
FUNCTIONS |= {"min": (2, ANY), "max": (2, ANY), "clip": (3, 3), "where": (3, 3), "poly": (2, 2), "chebyshev": (2, 2)}
FUNCTIONS |= {"grad": (2, 2), "delay": (2, 2), "straight_through": (2, 2)}
DISTRIBUTIONS = {"uniform": (2, 2), "normal": (2, 2), "log_uniform": (2, 2), "log_normal": (2, 2), "hippo": (1, 1)}

CONSTANTS = ("pi", "inf", "i")
CLOCK = ("t", "dt", "step")
KEYWORDS = ("and", "or", "not")
RESERVED: dict[str, str] = {
    "t": "the running time", "dt": "the step", "step": "the number of the step", "pi": "the circle's number",
    "inf": "infinity", "i": "the imaginary unit",
}  # fmt: skip
RESERVED |= dict.fromkeys(KEYWORDS, "a word of conditions")
RESERVED |= dict.fromkeys((*FUNCTIONS, *DISTRIBUTIONS), "a function")

_INCREMENT = re.compile(r"dW(_[A-Za-z0-9_]*)?")
_REDUCTION = re.compile(r"(sum|mean)_(?P<axis>[A-Za-z][A-Za-z0-9_]*)")


def is_increment(name: str) -> bool:
    """Whether the name is a Wiener increment, `dW` or `dW_x`."""
    return bool(_INCREMENT.fullmatch(name))


def reduced_axis(name: str) -> str:
    """The axis k of `sum_k` or `mean_k`; an empty text for other names."""
    found = _REDUCTION.fullmatch(name)
    return found["axis"] if found else ""


def reservation(name: str) -> str:
    """Why a name cannot be declared; an empty text if it can."""
    if is_increment(name):
        return "a Wiener increment"
    if name.startswith(("sum_", "mean_")):
        return "a sum or mean over an axis"
    return RESERVED.get(name, "")
