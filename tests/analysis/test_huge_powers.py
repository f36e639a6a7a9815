"""Powers that a model file makes huge: analysis ends, in little memory, and says what is left."""

from __future__ import annotations

import pytest

import neuroode as no


@pytest.mark.parametrize("factor", ["exp(1e9*a)", "exp(1e99)", "exp(-1e99*a)", "2^(1e9*a)", "exp(1e50*a + 3)"])
def test_analysis_ends(factor: str) -> None:
    neuron = no.Neuron(
        "huge", dt=1, inputs={"I": "impulse"}, outputs="v",
        parameters={"a": no.Parameter(0.1, domain="positive"), "tau": no.Parameter(3.0, domain="positive")},
        equations=f"dx/dt = -x/tau + {factor}*a*I/tau; dv/dt = -v/tau + x",
    )  # fmt: skip
    report = neuron.analyse()
    assert "linear with constant coefficients" in str(report)
