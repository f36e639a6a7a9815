"""D^alpha lines as the system holds them: right sides, orders, units, what resets do to the memory."""

from __future__ import annotations

import pytest
import sympy as sp

import neuroode as no


def made(**keys: object) -> no.Neuron:
    given: dict = {
        "parameters": {
            "alpha": no.Parameter(0.7, domain="interval(0.05, 1)"),
            "tau": no.Parameter(2.0, domain="positive"),
        },
        "equations": "D^alpha v = (-v + I)/tau",
    }
    return no.Neuron("f", **{**given, **keys})


def test_one_term_has_the_coefficient_one() -> None:
    system = made(equations="3*D^alpha v = (-v + I)/tau").system()
    (term,) = system.fractional["v"].terms
    assert term == (1, system.symbols["alpha"])
    assert str(system).startswith("D^alpha v = ")
    s = system.symbols
    assert sp.simplify(system.flows["v"] - (s["I[t]"] - s["v"]) / s["tau"] / 3) == 0


def test_terms_keep_their_coefficients() -> None:
    system = made(equations="2*D^alpha v + D^0.3 v = (-v + I)/tau").system()
    assert system.fractional["v"].terms == ((2, system.symbols["alpha"]), (1, sp.Rational(3, 10)))


def test_time_is_measured_in_the_unit_of_dt() -> None:
    """D^(1/2) per ms^(1/2) is D^(1/2) per s^(1/2) over sqrt(1000)."""
    system = made(
        parameters={"k": "4 1/s"}, equations="D^0.5 v = -sqrt(k)*v", dt="1 ms",
        states={"v": no.State(init="2 mV", unit="mV")},
    ).system()  # fmt: skip
    rate = -system.flows["v"].coeff(system.symbols["v"]).subs(system.symbols["k"], 4)
    assert float(rate) == pytest.approx(2 / 1000**0.5, rel=1e-14)
    assert system.state("v").init == 2


def test_what_a_reset_does_to_the_memory() -> None:
    for memory, factor in (("impulse", -0.5), ("current(3 ms)", 0.5)):
        neuron = made(
            parameters={}, equations="D^0.5 v = 0 mV/sqrt(1 ms)", dt="1 ms", inputs={}, spike="v > 1 mV",
            reset={"do": "v -= 2 mV", "memory": memory}, states={"v": no.State(init="2 mV", unit="mV")},
        )  # fmt: skip
        (jump,) = neuron.system().events[0].jumps
        assert jump.memory == memory.partition("(")[0]
        assert float(jump.value) == pytest.approx(2 * 1e-3**factor, rel=1e-14)
        assert jump.duration == (3 if jump.memory == "current" else None)


def test_an_ordinary_solver_is_refused() -> None:
    with pytest.raises(no.Unsupported, match="v has a fractional derivative"):
        made().torch(1, dt=0.1, solver="torchdiffeq")


def test_analysis_knows_how_it_relaxes() -> None:
    text = str(made().analyse(brief=True))
    assert "v: remembers its whole past (proved)" in text
    assert "late as t^-alpha" in text
