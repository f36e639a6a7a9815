"""Fixed points against golden values (double precision, LSODA), scipy's root finder, and closed forms."""

from __future__ import annotations

import json

import numpy as np
import pytest
from dynamics_models import EIF, FITZHUGH_NAGUMO, HODGKIN_HUXLEY, THETA, WILSON_COWAN, morris_lecar
from references import neuron
from scipy.integrate import solve_ivp
from scipy.optimize import approx_fprime

import neuroode as no
from neuroode.analysis.curve import bracketed, zeros
from neuroode.analysis.fixed_points import by_newton, kind_of
from neuroode.models import names

TEXTS = {
    "hh": HODGKIN_HUXLEY, "fhn": FITZHUGH_NAGUMO, "hopf": morris_lecar("hopf"), "snlc": morris_lecar("snlc"),
    "eif": EIF, "theta": THETA, "wc": WILSON_COWAN,
}  # fmt: skip
#: name, input -> points by (coordinates in order), kinds; from the textbook sheet
GOLDEN = {
    ("izhikevich", 0.0): [((-70, -14), "stable node"), ((-50, -10), "saddle")],
    ("izhikevich", 5.0): [],
    ("qif", 0.0): [((0,), "stable"), ((0.5,), "unstable")],
    ("qif", 0.02): [],
    ("fhn", 0.0): [((-1.19940804, -0.62426004), "stable focus")],
    ("fhn", 0.5): [((-0.80484775, -0.13105968), "unstable focus")],
    ("hopf", 0.0): [((-60.855382, 0.01491502), "stable focus")],
    ("hh", 0.0): [((-64.996379, 0.052955, 0.595994, 0.317732), "stable focus")],
    ("theta", -0.5): [((-2 * np.arctan(np.sqrt(0.5)),), "stable"), ((2 * np.arctan(np.sqrt(0.5)),), "unstable")],
}


def at(name: str, I: float = 0.0) -> no.Neuron:
    found = neuron(TEXTS[name]) if name in TEXTS else no.load(name)
    return found.analyse(held={found.spec.inputs[0].name: I} if found.spec.inputs else None).dynamics


@pytest.mark.parametrize(("name", "I"), GOLDEN)
def test_golden(name: str, I: float) -> None:
    found, wanted = at(name, I), GOLDEN[name, I]
    assert [p.kind for p in found.fixed_points] == [kind for _, kind in wanted]
    for p, (x, _) in zip(found.fixed_points, wanted, strict=True):
        assert np.allclose(list(p.at.values()), x, rtol=2e-6, atol=1e-9)


@pytest.mark.parametrize("name", TEXTS)
def test_points_stand_still_and_eigenvalues_are_those_of_differences(name: str) -> None:
    """|f| at most 1e-12 of the Jacobian's norm times the point; the Jacobian by differences of the flow."""
    found = at(name, 0.12 if name != "theta" else -0.12)
    assert found.fixed_points
    for p in found.fixed_points:
        x = np.array(list(p.at.values()))
        J = np.stack([approx_fprime(x, lambda y, i=i, I=p.input: found.flow.f(y, I)[i], 1e-7) for i in range(len(x))])
        assert np.abs(found.flow.f(x, p.input)).max() <= 1e-12 * (1 + np.abs(x).max()) * np.abs(J).max()
        values = np.sort_complex(np.linalg.eigvals(J))
        assert np.allclose(np.sort_complex(np.array(p.eigenvalues)), values, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("name", "I"), [("izhikevich", 3.9), ("snlc", 20.0), ("hh", 10.0), ("fhn", 0.5)])
def test_newton_finds_the_same(name: str, I: float) -> None:
    """Two ways that share only the flow."""
    found = at(name, I)
    others = sorted(tuple(x) for x in by_newton(found.flow, I))
    assert np.allclose(others, [tuple(p.at.values()) for p in found.fixed_points], rtol=1e-7, atol=1e-7)


def test_three_points_of_the_saddle_node_set() -> None:
    kinds = [p.kind for p in at("snlc", 20.0).fixed_points]
    assert kinds == ["stable node", "saddle", "unstable focus"]


def test_neither_coordinate_is_linear() -> None:
    """Newton from a box: three states of two populations; runs from beside the stable ones end there."""
    found = at("wc")
    assert found.curve is None
    assert [p.kind for p in found.fixed_points].count("saddle") == 1
    assert len(found.fixed_points) == 3
    for p in (p for p in found.fixed_points if p.is_stable):
        x = np.array(list(p.at.values()))
        run = solve_ivp(lambda t, y: found.flow.f(y, 0.0), (0, 200), x + 0.01, rtol=1e-9, atol=1e-12)
        assert np.allclose(run.y[:, -1], x, atol=1e-6)


def test_what_is_proved_and_what_is_sampled() -> None:
    assert at("izhikevich", 5.0).evidence == "proved"  # that there is none
    assert {at(n).evidence for n in ("fhn", "qif", "izhikevich")} == {"proved"}
    assert {at(n).evidence for n in ("hh", "eif", "wc", "adex", "theta")} == {"sampled"}
    assert "v = -sqrt(" in at("izhikevich").fixed_points[0].formula


def test_nullclines() -> None:
    found = no.load("izhikevich").analyse().dynamics.nullclines
    assert [n.text for n in found] == ["u = 140 + 5*v + v^2/25 + I", "u = b*v"]
    assert [n.evidence for n in at("wc").nullclines] == ["sampled", "sampled"]
    for n in at("hopf").nullclines:
        flow = at("hopf").flow
        v = np.linspace(-70, 30, 11)
        w = np.array([float(n.numeric.subs({flow.x[0]: x, flow.I: 0})) for x in v])
        k = flow.names.index(n.name)
        assert np.abs(flow.f(np.stack([v, w], axis=-1), 0.0)[:, k]).max() < 1e-9


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([-1.0], "stable"), ([2.0], "unstable"), ([0.0], "degenerate (an eigenvalue with real part 0)"),
        ([-1.0, -2.0], "stable node"), ([1, 2], "unstable node"), ([-1, 2], "saddle"),
        ([-1 + 1j, -1 - 1j], "stable focus"),
        ([1j, -1j], "centre (linearly)"), ([0.0, -1.0], "degenerate (an eigenvalue with real part 0)"),
        ([0.1 + 1j, 0.1 - 1j, -1], "saddle-focus, 2 of 3 directions unstable"),
    ],
)  # fmt: skip
def test_kinds(values: list[complex], kind: str) -> None:
    assert kind_of(np.array(values, complex)) == kind


REFUSED = {
    "time": ("dt: 1\nequations: dv/dt = -v + v^2 + sin(t)\noutputs: v\n", "reads t"),
    "past": ("dt: 1\nequations: dv/dt = -v^3 + 0.1*v[t-1]\noutputs: v\n", "past values of a flow"),
    "continuum": ("dt: 1\nequations: dv/dt = I\noutputs: v\n", "continuum"),
    "operator": (
        "dt: 1\noperators: {W: dense}\nequations: |\n  dv/dt = -v^3 + W(v[t-1])\noutputs: v\n",
        "an operator",
    ),
    "many": ("dt: 1\naxes: {k: 20}\nequations: dv[k]/dt = -v[k]^3 + I\noutputs: sum_k(v[k])\n", "20 states"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_held_flow_says_so(name: str) -> None:
    text, reason = REFUSED[name]
    found = neuron(text).analyse()
    assert found.fixed_points == ()
    assert reason in str(found.dynamics)
    assert reason in found.to_json()["dynamics"]["refusal"]


def test_no_such_input() -> None:
    with pytest.raises(no.RunError, match="'J' is no input of 'qif'"):
        no.load("qif").analyse(held={"J": 1})
    with pytest.raises(no.RunError, match="'J' is no input of 'qif'"):
        no.load("qif").analyse(against="J")


def test_nonlinear_models_of_the_zoo() -> None:
    """Points stand still; the report is JSON and text."""
    found = [n for n in (no.load(name) for name in names()) if not n.analyse(brief=True).is_linear]
    assert len(found) >= 3
    for n in found:
        report = n.analyse()
        data = json.loads(json.dumps(report.to_json(), allow_nan=False))
        assert len(data["dynamics"]["fixed points"]) == len(report.fixed_points)
        assert "fixed point" in str(report)
        for p in report.fixed_points:
            speed = report.dynamics.flow.f(np.array(list(p.at.values())), p.input)
            assert np.abs(speed).max() < 1e-6


#: found by generation: each once gave a traceback, endless work, or a number that JSON does not know
NASTY = {
    "no slope at its root": "dv/dt = abs(sqrt(v)) - 0.48*v + I",
    "a power of a parameter": "dv/dt = p^p*v - 1.2*v^3 + I",
    "a huge power": "dv/dt = (1 + exp(1000000000*p))*v - v^3 + I",
    "opaque numbers": "dv/dt = max(0.3, 0.1)*v - v^3 + where(p > 0, 1, 2) + I",
    "steps": "dv/dt = floor(3*v) - v^3 + sign(v) + round(p*v) + I",
    "many roots": "dv/dt = sin(1000*v)/p + I",
    "out of range": "dv/dt = exp(100*softplus(300*p)) - v^3 + I",
    "a pole": "dv/dt = p/(v - 1) - v + I",
}


@pytest.mark.parametrize("name", NASTY)
def test_nasty_flows(name: str) -> None:
    p = "parameters: {p: 1.7}\n" if "p" in NASTY[name].replace("exp", "").replace("soft", "") else ""
    report = neuron(f"dt: 0.1\n{p}equations: {NASTY[name]}\nspike: v > 9\n").analyse(bifurcations=True)
    data = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert "fixed point" in str(report)
    for each in data["dynamics"]["fixed points"]:
        v = np.array([each["at"]["v"]])
        assert abs(report.dynamics.flow.f(v, 0.0)[0]) <= 1e-6 * (1 + abs(v[0]))


def test_brackets_without_a_root() -> None:
    """No change of sign, no number in between, a pole, a jump; and too many zeros."""
    assert bracketed(lambda x: x * x + 1, -1, 1) is None
    assert bracketed(lambda x: float("nan") if abs(x) < 0.9 else x, -1, 1) is None
    assert np.isclose(bracketed(lambda x: x - 0.3, -1, 1), 0.3, rtol=1e-14)
    grid = np.linspace(-1, 1, 100)
    assert zeros(lambda x: 1 / x, grid) == []
    assert zeros(lambda x: np.sign(x) + 0.1, grid) == []
    assert np.allclose(zeros(lambda x: x * (x - 0.5), grid), [0, 0.5], atol=1e-14)
    with pytest.raises(no.Unsupported, match="200 sign changes"):
        zeros(lambda x: np.sin(1000 * x), np.linspace(-1, 1, 10_000))
