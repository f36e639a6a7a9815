"""Figures that papers and libraries publish, as the analysis finds them; where they err, what holds instead."""

from __future__ import annotations

import numpy as np
import pytest
from references import neuron

import neuroode as no
from neuroode.analysis.figures import Figures


def figures(found: no.Neuron, dt: float | None = None, method: str | None = None) -> Figures:
    report = found.analyse(dt, method)
    assert report.figures is not None
    return report.figures


def column(f: Figures, name: str) -> list[float]:
    rows = [m.columns()[name] for m in f.modes]
    return [float(r[0]) for r in rows if r is not None]


def test_a_boundary_computed_for_another_step_is_none() -> None:
    """papers/brf, traps: the released cell computes p for 0.01 whatever its step is; at 0.02 the neuron diverges."""
    text = (
        "parameters: {omega: 60, b_0: 0.5}\nmethod: euler\nequations: |\n  p = (-1 + sqrt(1 - (0.01*omega)^2))/0.01\n"
    )
    text += "  du/dt = (p - b_0 + i*omega)*u + I : complex\noutputs: real(u)\n"
    assert column(figures(neuron(text), 0.01), "multiplier")[0] < 1
    released = column(figures(neuron(text), 0.02), "multiplier")[0]
    p = (-1 + np.sqrt(1 - 0.6**2)) / 0.01
    assert released == pytest.approx(abs(1 + 0.02 * (p - 0.5 + 60j)), rel=1e-13)
    assert released > 1.3
    ours = no.load("brf").replace(parameters={n: {"value": v} for n, v in (("omega", 40), ("b_0", 0.5))})
    assert column(figures(ours, 0.02), "multiplier")[0] < 1  # p moves with dt


def test_the_semi_implicit_resonator_has_no_boundary_in_omega() -> None:
    """papers/rf, section 2: rho = 1 + b d, and the speed of its rotation, at d = 0.01, b = -1."""
    for omega, speed in ((10, 10.06), (50, 50.80), (85, 88.27)):
        text = f"method: semi_implicit(x, y)\nequations: |\n  dx/dt = -x - {omega}*y + I\n  dy/dt = {omega}*x - y\n"
        f = figures(neuron(text + "outputs: x\n"), 0.01)
        assert column(f, "multiplier")[0] == pytest.approx(0.99, abs=1e-12)
        assert column(f, "frequency of the step")[0] == pytest.approx(speed, abs=6e-3)


def test_a_published_tau_is_a_constant_of_euler_s_step() -> None:
    """papers/textbook, section 1: a factor 1 - 1/tau decays with -1/ln(1 - 1/tau): 1.4427 steps for tau = 2."""
    two = no.load("lif").replace(parameters={"tau": {"value": "2 ms", "domain": "positive"}})
    assert column(figures(two, 1.0, "euler"), "time constant of the step") == [pytest.approx(1.4427, abs=1e-4)]
    assert column(figures(two, 1.0, "exact"), "time constant of the step") == [pytest.approx(2, rel=1e-12)]
    factors = [column(figures(two, 1.0, m), "multiplier")[0] for m in ("exact", "euler")]
    assert factors[0] - factors[1] == pytest.approx(0.107, abs=5e-4)  # papers/prf, theorem 2 takes them as equal


def test_euler_factors_of_a_library() -> None:
    """papers/textbook: membrane 10 ms, synapse 5 ms at 1 ms: 0.9 and 0.8 against 0.904837 and 0.818731."""
    for method, wanted in (("euler", (0.8, 0.9)), ("exact", (0.818731, 0.904837))):
        found = column(figures(no.load("cuba_lif"), 1.0, method), "multiplier")
        assert sorted(found) == pytest.approx(wanted, abs=5e-7)


def test_the_peak_lies_at_the_step_s_frequency() -> None:
    """papers/drf, eq. 9 and its text: per sample the peak is at delta*omega, not at omega."""
    text = (
        "parameters: {tau: 1, omega: 30}\nequations: 'du/dt = (-1/tau + i*omega)*u + I : complex'\noutputs: real(u)\n"
    )
    u = next(c for c in figures(neuron(text), 0.01).channels() if c.row == "u")
    assert u.step.frequency * 0.01 == pytest.approx(0.3, rel=1e-5)
    assert u.step.bandwidth is not None
    assert u.step.bandwidth * 0.01 == pytest.approx(2 * 0.01 / 1, rel=1e-2)


def test_the_rotation_of_brf_is_warped() -> None:
    """papers/brf: at b_0 = 0 the step turns by asin(d omega)/d: 10 -> 10.017, 50 -> 52.36, 85 -> 101.6."""
    for omega, speed in ((10, 10.017), (50, 52.36), (85, 101.6)):
        row = {"omega": {"value": omega}, "b_0": {"value": 1e-9}}
        f = figures(no.load("brf").replace(parameters=row))
        assert column(f, "frequency of the step")[0] == pytest.approx(speed, rel=5e-4)
        assert column(f, "multiplier")[0] == pytest.approx(1, abs=1e-10)


def test_a_cell_whose_multipliers_never_leave_the_circle() -> None:
    """tc_lif: det = 1 and trace 2 + beta_1 beta_2, so both multipliers have modulus 1 for all c_1, c_2."""
    report = no.load("tc_lif").analyse()
    known = next(b for b in report.boundaries if "beta_1" in b.given)
    assert known.conditions is not None
    assert {str(c) for c in known.conditions} == {"-beta_1*beta_2", "beta_1*beta_2 + 4"}
    assert column(report.figures, "multiplier") == [pytest.approx(1, abs=1e-12)]  # type: ignore[arg-type]
