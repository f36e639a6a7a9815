"""Units: the printed table, exact scales, dimensions."""

from __future__ import annotations

from fractions import Fraction

import pytest

from neuroode import UnitError
from neuroode.expr.unit_table import UNITS, is_unit
from neuroode.expr.units import (
    NONE,
    TIME,
    coherent_text,
    half_decades,
    is_unit_text,
    over,
    raised,
    scale_and_dimension,
    show_dimension,
    times,
)


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
        ("mV*cm^-0.5", Fraction(1, 100), "V/m^0.5"),
        ("nA/cm**-0.5*cm^0.5", Fraction(1, 10**11), "A*m"),
    ],
)
def test_scales(text: str, scale: Fraction, like: str) -> None:
    found, dimension = scale_and_dimension(text)
    assert dimension == scale_and_dimension(like)[1]
    assert found == scale if "." not in text else abs(found / scale - 1) < 1e-15


def test_derived_units_agree() -> None:
    dim = {name: UNITS[name][1] for name in ("V", "A", "S", "F", "Ohm", "Hz", "s")}
    assert times(dim["A"], dim["Ohm"]) == dim["V"]
    assert over(dim["A"], dim["V"]) == dim["S"]
    assert times(dim["F"], dim["V"]) == times(dim["A"], dim["s"])
    assert times(dim["Hz"], TIME) == NONE
    assert raised(dim["V"], Fraction(0)) == NONE


@pytest.mark.parametrize(
    "text", ["", "1", "parsec", "mV/", "/ms", "mV ms", "mV^", "mV^1000", "x" * 200, "1/1", "kg", "V^0.3", "V^10.5"]
)
def test_not_units(text: str) -> None:
    assert not is_unit_text(text)
    with pytest.raises(UnitError):
        scale_and_dimension(text)


def test_every_factor_is_a_power_of_ten() -> None:
    for text in [*UNITS, "mV*ms^-0.5", "uF/cm^2"]:
        exact = 10 ** (half_decades(text) / 2)
        assert abs(scale_and_dimension(text)[0] / Fraction(exact) - 1) < 1e-14
    assert half_decades("MV^99/pA^99") == 2 * 99 * 18


def test_a_unit_text_from_a_dimension() -> None:
    for text in ("V/m^0.5", "A*s^-1.5", "mol/K"):
        dimension = scale_and_dimension(text)[1]
        assert scale_and_dimension(coherent_text(dimension)) == (1, dimension)
    with pytest.raises(UnitError, match="neither whole nor half"):
        coherent_text(raised(TIME, Fraction(1, 3)))


def test_names_are_few() -> None:
    assert is_unit("mS")
    assert not is_unit("volt")
    assert show_dimension(scale_and_dimension("mV/ms")[1]) == "V/s"
    assert show_dimension(NONE) == "1"
