"""Units: the printed table, exact scales, dimensions."""

from __future__ import annotations

from fractions import Fraction

import pytest

from neuroode import UnitError
from neuroode.expr.unit_table import UNITS, is_unit
from neuroode.expr.units import NONE, TIME, is_unit_text, over, raised, scale_and_dimension, show_dimension, times


@pytest.mark.parametrize(
    ("text", "scale", "like"),
    [
        ("ms", Fraction(1, 1000), "s"),
        ("mV", Fraction(1, 1000), "V"),
        ("MOhm", Fraction(10**6), "Ohm"),
        ("1/ms", Fraction(1000), "Hz"),
        ("uF/cm^2", Fraction(1, 100), "F/m^2"),
        ("mV*ms**-1", Fraction(1), "V/s"),
        ("nA*MOhm", Fraction(1, 1000), "V"),
    ],
)
def test_scales(text: str, scale: Fraction, like: str) -> None:
    assert scale_and_dimension(text) == (scale, scale_and_dimension(like)[1])


def test_derived_units_agree() -> None:
    dim = {name: UNITS[name][1] for name in ("V", "A", "S", "F", "Ohm", "Hz", "s")}
    assert times(dim["A"], dim["Ohm"]) == dim["V"]
    assert over(dim["A"], dim["V"]) == dim["S"]
    assert times(dim["F"], dim["V"]) == times(dim["A"], dim["s"])
    assert times(dim["Hz"], TIME) == NONE
    assert raised(dim["V"], Fraction(0)) == NONE


@pytest.mark.parametrize("text", ["", "1", "parsec", "mV/", "/ms", "mV ms", "mV^", "mV^1000", "x" * 200, "1/1", "kg"])
def test_not_units(text: str) -> None:
    assert not is_unit_text(text)
    with pytest.raises(UnitError):
        scale_and_dimension(text)


def test_names_are_few() -> None:
    assert is_unit("mS")
    assert not is_unit("volt")
    assert show_dimension(scale_and_dimension("mV/ms")[1]) == "V/s"
    assert show_dimension(NONE) == "1"
