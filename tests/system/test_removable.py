"""x/(exp(c*x) - 1) has no gap at 0: it is computed through exprel, and the report says so."""

from __future__ import annotations

import re

import mpmath
import numpy as np
import pytest
from references import neuron, slots

from neuroode._errors import AnalysisError
from neuroode.program import interpret

QUOTIENTS = {
    "I/(exp(I) - 1)": lambda x: x / mpmath.expm1(x),
    "I/(1 - exp(-I))": lambda x: -x / mpmath.expm1(-x),
    "I/(1 - exp(c*I))": lambda x: -x / mpmath.expm1(3 * x),
    "c*I/(2*exp(I/5) - 2)": lambda x: 3 * x / (2 * mpmath.expm1(x / 5)),
    "0.1*(I + 40)/(1 - exp(-(I + 40)/10))": lambda x: (x + 40) / 10 / -mpmath.expm1(-(x + 40) / 10),
    "(c - I)/(exp((I - c)/k) - 1)": lambda x: (3 - x) / mpmath.expm1((x - 3) / 7),
    "1/(1 - exp(-I))*I": lambda x: -x / mpmath.expm1(-x),
    "I^2/(exp(I^2) - 1)": lambda x: x**2 / mpmath.expm1(x**2),
    "c*tanh(I)/(exp(k*tanh(I)) - 1)": lambda x: 3 * mpmath.tanh(x) / mpmath.expm1(7 * mpmath.tanh(x)),
    "exp(I)*I^2/(exp(I) - 1)": lambda x: mpmath.exp(x) * x**2 / mpmath.expm1(x),
}


@pytest.mark.parametrize("text", QUOTIENTS)
def test_values_and_slopes_at_the_gap_and_near_it(text: str) -> None:
    n = neuron(_declared(text))
    gap = -40.0 if "40" in text else 3.0 if "c - I" in text else 0.0
    x = gap + np.array([0.0, 1e-12, -1e-9, 1e-5, -0.3, 8.0, -20.0])
    program, values = n.program(1.0), slots(n, 1.0, (1,))
    result = interpret.run(program, values, {"I": x.reshape(1, -1, 1)})
    slope = interpret.gradients(program, values, result, {"v": np.ones((1, len(x), 1))}).inputs["I"].ravel()
    with mpmath.workdps(60):
        f, tiny = QUOTIENTS[text], mpmath.mpf(10) ** -25
        wanted = [float(f(mpmath.mpf(p) + tiny)) for p in x]
        slopes = [float((f(mpmath.mpf(p) + 3 * tiny) - f(mpmath.mpf(p) + tiny)) / (2 * tiny)) for p in x]
    assert result.trace["v"].ravel() == pytest.approx(wanted, rel=1e-12, abs=1e-12)
    assert slope == pytest.approx(slopes, rel=1e-9, abs=1e-12)


def _declared(text: str) -> str:
    names = [
        f"{n}: {v}"
        for n, v in (("c", 3), ("k", 7))
        if any(part in text for part in (f"{n}*", f"{n})", f"/{n})", f"({n} "))
    ]
    return (f"parameters: {{{', '.join(names)}}}\n" if names else "") + f"equations: v[t] = {text}\noutputs: v\n"


def test_it_is_reported() -> None:
    facts = neuron("equations: dv/dt = -v*I/(1 - exp(-I))\n").analyse().facts
    assert any("exprel" in f.claim for f in facts)


@pytest.mark.parametrize("text", ["I/(exp(2*I) - 2)", "(I + 1)/(exp(I) - 1)", "I/(exp(I) + 1)"])
def test_other_quotients_are_left_alone(text: str) -> None:
    assert not neuron(f"equations: v[t] = {text}\n").system().removable


GAPS = {
    "sin(I)/I": "I = 0", "(exp(I) - 1)/I": "I = 0", "1/I*tanh(3*I)": "I = 0", "tanh(2*I + 1)/(2*I + 1)": "I = -1/2",
    "log(I)/(I - 1)": "I = 1", "(I^2 - 1)/(I - 1)": "I = 1", "(1 - cos(I))/I": "I = 0", "sin(3*I)/(2*sinh(I))": "I = 0",
    "(exp(-v[t-1]) - exp(-I))/(I - v[t-1])": "I = v[t-1]", "I*sin(I - c)/(I - c)": "I = c",
}  # fmt: skip


@pytest.mark.parametrize("text", GAPS)
def test_other_removable_quotients_are_an_error_with_place_and_hint(text: str) -> None:
    with pytest.raises(AnalysisError, match=re.escape(f"is 0/0 where {GAPS[text]}")) as caught:
        neuron(_declared(text)).system()
    assert caught.value.hint
    assert caught.value.place.line


@pytest.mark.parametrize(
    "text", ["I/(1 + abs(I))", "I/(c*I + 1)", "sin(I)/(I + 1)", "1/I", "cos(I)/I", "I*v[t-1]/(I^2 + 1)"]
)
def test_poles_and_quotients_without_a_gap_are_no_error(text: str) -> None:
    neuron(_declared(text)).system()


def test_a_positive_parameter_does_not_reach_its_gap() -> None:
    text = "equations: v[t] = (1 - exp(-q))/q*I\noutputs: v\nparameters: {q: {value: 1, domain: DOMAIN}}\n"
    neuron(text.replace("DOMAIN", "positive")).system()
    with pytest.raises(AnalysisError, match="0/0 where q = 0"):
        neuron(text.replace("DOMAIN", "real")).system()


@pytest.mark.parametrize("text", ["1/0*I", "I/(2 - 2)", "I/(I - I)", "log(0)*I"])
def test_division_by_zero_has_a_place(text: str) -> None:
    with pytest.raises(AnalysisError, match=r"divides by 0|not a finite number") as caught:
        neuron(_declared(text)).system()
    assert caught.value.place.line
