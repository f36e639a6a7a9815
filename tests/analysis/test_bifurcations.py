"""Folds and Hopf points against golden values, closed forms, eigenvalues on both sides, and continuation."""

from __future__ import annotations

import json

import numpy as np
import pytest
from dynamics_models import EIF, FITZHUGH_NAGUMO, HODGKIN_HUXLEY, THETA, WILSON_COWAN, morris_lecar
from references import neuron
from scipy.optimize import fsolve

import neuroode as no
from neuroode.analysis.bifurcations import Bifurcation
from neuroode.analysis.branch import balance, continued, turning
from neuroode.analysis.dynamics import Dynamics

TEXTS = {
    "hh": HODGKIN_HUXLEY, "fhn": FITZHUGH_NAGUMO, "hopf": morris_lecar("hopf"), "snlc": morris_lecar("snlc"),
    "eif": EIF, "theta": THETA, "wc": WILSON_COWAN,
}  # fmt: skip
#: (kind, input) in order; the textbook sheet, and closed forms for the lower fold of snlc's set and Izhikevich's Hopf
GOLDEN = {
    "izhikevich": [("Hopf", 3.7975), ("saddle-node", 4.0)],
    "qif": [("saddle-node", 0.25 * 0.5**2 / 4)],
    "theta": [("saddle-node", 0.0)],
    "fhn": [("Hopf", 0.33128134), ("Hopf", 1.41871866)],
    "hopf": [("Hopf", 93.8576), ("Hopf", 212.0188)],
    "snlc": [("saddle-node", -9.94904), ("saddle-node", 39.9631), ("Hopf", 97.6462)],
    "adex": [("Hopf", 627.182), ("saddle-node", 627.311)],
    "hh": [("Hopf", 9.77544), ("Hopf", 154.5224)],
    "eif": [("saddle-node", 0.162)],
    "hodgkin_huxley": [("Hopf", 9.77544), ("Hopf", 154.5224)],
    "fitzhugh_nagumo": [("Hopf", 0.33128134), ("Hopf", 1.41871866)],
    "morris_lecar": [("Hopf", 93.8576), ("Hopf", 212.0188)],
    "lif": [],
}


def of(name: str) -> Dynamics:
    found = neuron(TEXTS[name]) if name in TEXTS else no.load(name)
    return found.analyse(bifurcations=True).dynamics


@pytest.mark.parametrize("name", GOLDEN)
def test_golden(name: str) -> None:
    found = of(name).bifurcations
    assert [b.kind for b in found] == [kind for kind, _ in GOLDEN[name]]
    assert np.allclose([b.input for b in found], [x for _, x in GOLDEN[name]], rtol=2e-6, atol=1e-9)
    assert json.dumps([b.to_json() for b in found], allow_nan=False)


@pytest.mark.parametrize("name", ["izhikevich", "fhn", "hopf", "snlc", "adex", "hh", "wc"])
def test_eigenvalues_cross_there(name: str) -> None:
    """At each point f is 0 and the determinant or a pair vanishes; on both sides the real parts differ in sign."""
    found = of(name)
    for b in found.bifurcations:
        x = np.array(list(b.at.values()))
        values = np.linalg.eigvals(found.flow.J(x, b.input))
        scale = np.abs(values).max()
        assert np.abs(found.flow.f(x, b.input)).max() <= 1e-7 * scale * (1 + np.abs(x).max())
        if b.kind == "saddle-node":
            assert np.abs(values).min() <= 1e-5 * scale
        else:
            assert np.isclose(np.abs(values.imag).max(), b.frequency, rtol=1e-6)
            assert _crosses(found, b, x)


def _crosses(found: Dynamics, b: Bifurcation, x: np.ndarray) -> bool:
    """The pair near i w moves through the imaginary axis as the input moves, the point followed by scipy."""
    signs = []
    for I in (b.input - 1e-3 * (1 + abs(b.input)) * 1e-1, b.input + 1e-4 * (1 + abs(b.input))):
        here = fsolve(lambda y, I=I: found.flow.f(y, I), x, xtol=1e-13)
        values = np.linalg.eigvals(found.flow.J(here, I))
        signs.append(np.sign(values[np.argmin(np.abs(values - 1j * b.frequency))].real))
    return signs[0] * signs[1] < 0


@pytest.mark.parametrize("name", ["izhikevich", "hopf", "fhn"])
def test_continuation_finds_the_same(name: str) -> None:
    """The two ways share the flow and nothing else; inputs to 1e-6."""
    found = of(name)
    other = continued(found.flow)
    pairs = [("saddle-node", b.I[0]) for b in other.folds] + [("Hopf", b.I[0]) for b in other.hopfs]
    assert found.curve is not None
    for b in found.bifurcations:
        near = min(abs(I - b.input) for kind, I in pairs if kind == b.kind)
        assert near <= 1e-6 * (1 + abs(b.input))


def test_formulas_hold_for_other_parameters() -> None:
    """The printed formula, evaluated by hand at other numbers, is what the numbers there give."""
    changed = no.load("izhikevich").replace(parameters={"a": {"value": 0.05}, "b": {"value": 0.26}})
    hopf, fold = changed.analyse(bifurcations=True).dynamics.bifurcations
    assert np.isclose(fold.input, (5 - 0.26) ** 2 / 0.16 - 140, rtol=1e-12)
    v = (0.05 - 5) / 0.08  # trace 0.08 v + 5 - a
    assert np.isclose(hopf.input, 0.26 * v - 0.04 * v**2 - 5 * v - 140, rtol=1e-12)
    assert {hopf.evidence, fold.evidence} == {"proved"}


def test_adex_fold_is_the_textbook_formula() -> None:
    fold = of("adex").bifurcations[1]
    g, a, D, V_T, E = 30.0, 4.0, 2.0, -50.4, -70.6
    assert np.isclose(fold.input, (g + a) * (V_T - E - D + D * np.log(1 + a / g)), rtol=1e-12)
    assert fold.evidence == "proved"
    assert "log" in fold.formula


def test_evidence() -> None:
    assert {b.evidence for n in ("hh", "hopf", "snlc") for b in of(n).bifurcations} == {"sampled"}
    assert {b.evidence for n in ("fhn", "eif", "qif", "adex") for b in of(n).bifurcations} == {"proved"}


def test_what_a_pair_is() -> None:
    hopf, neutral = np.array([2j, -2j, -1]), np.array([1.0, -1.0, -3.0])
    assert abs(balance(hopf)) < 1e-15
    assert abs(balance(neutral)) < 1e-15
    assert np.isclose(turning(hopf), 2)
    assert turning(neutral) is None  # a neutral saddle, where nothing happens


def test_texts() -> None:
    text = str(no.load("izhikevich").analyse(bifurcations=True))
    assert "saddle-node at 4, v = -60, u = -12 (proved): I = 5*(13 - 50*b + 5*b^2)/4" in text
    assert "bifurcations" not in str(no.load("izhikevich").analyse())
    assert "none" in str(no.load("lif").analyse(bifurcations=True).dynamics)
