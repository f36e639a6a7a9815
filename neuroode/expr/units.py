"""Units of measurement: texts to exact scales and dimensions, and the algebra of dimensions."""

from __future__ import annotations

import re
from fractions import Fraction
from math import log10

from neuroode._errors import UnitError
from neuroode.expr.unit_table import BASE, UNITS, Dimension

__all__ = [
    "NONE",
    "TIME",
    "UNITS",
    "Dimension",
    "coherent_text",
    "half_decades",
    "is_unit_text",
    "over",
    "raised",
    "scale_and_dimension",
    "show_dimension",
    "times",
]

NONE: Dimension = tuple(Fraction(0) for _ in BASE)
TIME: Dimension = UNITS["s"][1]
_FACTOR = re.compile(
    r"\s*(?P<op>[*/]?)\s*(?P<name>[A-Za-z]+|1)(?:(?:\^|\*\*)(?P<power>[+-]?(?:[0-9]\.[05]|[0-9]{1,2})))?"
)
_MAX_UNIT = 100


def is_unit_text(text: str) -> bool:
    """Whether the text is a unit, or a product or quotient of units."""
    return _parse(text) is not None


def scale_and_dimension(text: str) -> tuple[Fraction, Dimension]:
    """The factor to SI and the exponents of (m, kg, s, A, K, mol) of a unit text such as `mV` or `1/ms`.

    Powers are whole or half, as in `mV*ms^-0.5`, the amplitude of a noise; a factor with a root in it is rounded.

    Raises:
        UnitError: the text is no product or quotient of the units in the table.
    """
    found = _parse(text)
    if found is None:
        raise UnitError(f"'{text}' is not a unit", hint="SI prefixes on s V A S F Ohm Hz K m mol, and their quotients")
    return found


def half_decades(text: str) -> int:
    """k, where the factor of a unit text to SI is 10^(k/2): prefixes and cm are all that it is made of.

    Raises:
        UnitError: the text is no product or quotient of the units in the table.
    """
    factor = scale_and_dimension(text)[0]
    return round(2 * (log10(factor.numerator) - log10(factor.denominator)))  # of integers: any size


def _parse(text: str) -> tuple[Fraction, Dimension] | None:
    scale, dimension, at = Fraction(1), NONE, 0
    if not text.strip() or len(text) > _MAX_UNIT or text.strip() == "1":
        return None
    while at < len(text.rstrip()):
        found = _FACTOR.match(text, at)
        if not found or bool(found["op"]) != bool(at) or (found["name"] == "1" and at):
            return None
        unit = (Fraction(1), NONE) if found["name"] == "1" else UNITS.get(found["name"])
        if unit is None:
            return None
        power = Fraction(found["power"] or 1) * (-1 if found["op"] == "/" else 1)
        scale, dimension = scale * Fraction(unit[0] ** power), times(dimension, raised(unit[1], power))
        at = found.end()
    return scale, dimension


def times(a: Dimension, b: Dimension) -> Dimension:
    """The dimension of a product."""
    return tuple(x + y for x, y in zip(a, b, strict=True))


def over(a: Dimension, b: Dimension) -> Dimension:
    """The dimension of a quotient."""
    return tuple(x - y for x, y in zip(a, b, strict=True))


def raised(a: Dimension, power: Fraction) -> Dimension:
    """The dimension of a power."""
    return tuple(x * power for x in a)


_NAMED = ("V", "A", "S", "Ohm", "F", "s", "Hz", "K", "mol", "m")


def show_dimension(dimension: Dimension) -> str:
    """A dimension in words that a modeller uses: `V`, `V/s`, else a product of base units."""
    if dimension == NONE:
        return "1"
    for name in _NAMED:
        if UNITS[name][1] == dimension:
            return name
    for name in _NAMED:
        for divisor in ("s", "V", "A", "F"):
            if over(UNITS[name][1], UNITS[divisor][1]) == dimension:
                return f"{name}/{divisor}"
    return "*".join(f"{b}^{e}" if e != 1 else b for b, e in zip(BASE, dimension, strict=True) if e)


def coherent_text(dimension: Dimension) -> str:
    """A unit text of that dimension whose scale is 1, such as `V^1*s^-1`.

    Raises:
        UnitError: a power of a unit that is neither whole nor half.
    """
    m, kg, s, a, k, mol = dimension
    powers = {"V": kg, "A": a + kg, "s": s + 3 * kg, "m": m - 2 * kg, "K": k, "mol": mol}  # kg = V A s^3/m^2
    if any(p.denominator > 2 for p in powers.values()):
        raise UnitError(f"{show_dimension(dimension)} has a power of a unit that is neither whole nor half")
    return "*".join(f"{name}^{float(p):g}" for name, p in powers.items() if p)
