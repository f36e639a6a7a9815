"""The names of units: SI prefixes on s V A S F Ohm Hz K m mol. Exact scales to SI and exponents of its base units."""

from __future__ import annotations

from fractions import Fraction

Dimension = tuple[Fraction, ...]  # exponents of BASE
BASE = ("m", "kg", "s", "A", "K", "mol")

PREFIXES = {
    "": 0, "T": 12, "G": 9, "M": 6, "k": 3, "c": -2, "m": -3, "u": -6, "n": -9, "p": -12, "f": -15, "a": -18,
}  # fmt: skip

_ROOTS = {
    #       m  kg   s   A  K mol
    "s": (0, 0, 1, 0, 0, 0),
    "V": (2, 1, -3, -1, 0, 0),
    "A": (0, 0, 0, 1, 0, 0),
    "S": (-2, -1, 3, 2, 0, 0),
    "F": (-2, -1, 4, 2, 0, 0),
    "Ohm": (2, 1, -3, -2, 0, 0),
    "Hz": (0, 0, -1, 0, 0, 0),
    "K": (0, 0, 0, 0, 1, 0),
    "m": (1, 0, 0, 0, 0, 0),
    "mol": (0, 0, 0, 0, 0, 1),
}


def _table() -> dict[str, tuple[Fraction, Dimension]]:
    units: dict[str, tuple[Fraction, Dimension]] = {}
    for root, exponents in _ROOTS.items():
        for prefix, power in PREFIXES.items():
            units[prefix + root] = Fraction(10) ** power, tuple(Fraction(e) for e in exponents)
    return units


UNITS = _table()


def is_unit(name: str) -> bool:
    """Whether the name is in the table."""
    return name in UNITS
