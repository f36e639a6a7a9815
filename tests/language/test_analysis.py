"""What analysis says, and does not say, of neurons that read the time, the past, or an operator."""

from __future__ import annotations

import numpy as np
import pytest
from references import neuron
from timing_cases import DT

from neuroode import RunError


def claims(text: str) -> str:
    return str(neuron(text).analyse(DT))


def test_nothing_rests_under_a_drive_that_reads_the_time() -> None:
    assert "rests at" not in claims("equations: dv/dt = -v + t\nparameters: {}\n")
    found = neuron("equations: dv/dt = -v + cos(t)\n").discretize(DT)
    assert not found.exact
    assert "no exact step of all of it" in str(found)  # the ramp is taken at the middle of the step


@pytest.mark.parametrize("text", ["equations: dv/dt = -v + delay(I, 1)\n", "equations: dv/dt = -v + I[t-2] + I\n"])
def test_no_transfer_function_from_a_late_input(text: str) -> None:
    assert "transfer function from I" not in claims(text)
    assert "transfer function from I" in claims("equations: dv/dt = -v + I\n")


def test_operators_are_opaque() -> None:
    text = claims("operators: {W: dense}\nequations: dv/dt = -v + I + W(s[t-1])\nspike: v > 1\n")
    assert "v: linear with constant coefficients (proved)" in text
    mixed = claims("operators: {W: dense}\nequations: dv/dt = -v + I + W(v)\n")
    assert "v: nonlinear (proved): a step or detached value of v is read" in mixed


def test_an_operator_that_is_not_given() -> None:
    n = neuron("operators: {f: external}\nequations: v[t] = f(I)\n")
    with pytest.raises(RunError, match="no operator 'f'"):
        n.simulate(np.ones((2, 1, 1)), DT)
