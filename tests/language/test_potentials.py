"""`grad(U, q)` through the line, with units, and where there is no derivative."""

from __future__ import annotations

import numpy as np
import pytest
from line import check_line
from references import neuron, slope
from timing_cases import DT
from timing_of_potentials import CASES

from neuroode import Unsupported


def test_line() -> None:
    text, _, x = CASES["the_slope_of_a_potential_holds_everything_else"]
    check_line(neuron(text), np.stack([x, -x], axis=-1)[:, None], DT)


def test_a_potential_with_units() -> None:
    """grad of mV^2/ms by mV is mV/ms, in any unit of the state."""
    text = "dt: 0.5 ms\nstates: {v: {unit: UNIT, init: 2 mV}}\nmethod: exact\nequations: |\n"
    text += "  U = v^2/8 ms\n  dv/dt = -grad(U, v)\n"
    for unit, scale in (("mV", 1.0), ("uV", 1e3)):
        found = neuron(text.replace("UNIT", unit)).simulate(steps=3)["v"].ravel()
        assert np.allclose(found, 2 * scale * np.exp(-0.125 * np.arange(1, 4)), rtol=1e-13)


FUNCTIONS = [
    "exp(q)*tanh(2*q)", "softplus(q) + sigmoid(q)^2", "max(q, 0.1)*q^3 + min(q, 2)", "abs(q)^3", "erf(q)/(1 + q^2)",
    "exprel(q)*q", "q^2.5", "clip(q, 0, 2)^2", "where(q > 0.2, q^2, q^3)", "relu(q)^2*log(1 + q)",
]  # fmt: skip


@pytest.mark.parametrize("text", FUNCTIONS)
def test_slopes_of_functions(text: str) -> None:
    lines = f"  U = {text}\n  q[t] = I\n  r[t] = grad(U, q)\n"
    n = neuron("equations: |\n" + lines + "outputs: {r: r, U: U}\n")
    at = np.array([0.3, 0.7, 1.3])

    def potential(h: float) -> np.ndarray:
        return n.simulate((at + h).reshape(-1, 1, 1), DT)["U"].ravel()

    assert np.allclose(n.simulate(at.reshape(-1, 1, 1), DT)["r"].ravel(), slope(potential, 0.0), rtol=1e-8, atol=1e-8)


def test_no_derivative() -> None:
    n = neuron("equations: |\n  U = abs(q)^2\n  dq/dt = (-1 + 2i)*q - grad(U, q) : complex\noutputs: real(q)\n")
    with pytest.raises(Unsupported, match="potentials over complex states"):
        n.system()
