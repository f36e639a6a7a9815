"""The first Lyapunov coefficient: a normal form in closed form, the planar formula in symbols, known cases."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp

import neuroode as no
from neuroode.analysis.dynamics import Dynamics
from neuroode.analysis.lyapunov import lyapunov


def of(neuron: no.Neuron) -> Dynamics:
    return neuron.analyse(bifurcations=True).dynamics


def circling(cube: float, **more: str) -> no.Neuron:
    flow = f"dx/dt = I*x - 3*y + {cube}*x*(x^2 + y^2); dy/dt = 3*x + I*y + {cube}*y*(x^2 + y^2)"
    return no.Neuron("circling", equations=flow, outputs="x", **more)


@pytest.mark.parametrize("cube", [0.7, -0.2])
def test_of_the_normal_form(cube: float) -> None:
    """x + i y = sqrt(2) z with z' = 3 i z + 2 cube z |z|^2 where <q, q> = 1, so l1 = 2 cube/3."""
    found = lyapunov(of(circling(cube)).flow, np.zeros(2), 0.0, 3.0)
    assert found == pytest.approx(2 * cube / 3, rel=1e-6)


def test_a_centre_of_a_linear_flow_has_none() -> None:
    """Its input divides where a coordinate is eliminated, so it is found by continuation."""
    assert lyapunov(of(circling(0.0)).flow, np.zeros(2), 0.0, 3.0) is None


def planar(found: Dynamics, x: np.ndarray, I: float, w: float) -> float:
    """Guckenheimer and Holmes (1983), equation 3.4.11, by symbolic derivatives; l1 = 4 a/w in our units of length."""
    flow, (u, v) = found.flow, sp.symbols("u v")
    values, vectors = np.linalg.eig(flow.J(x, I))
    q = vectors[:, np.argmin(np.abs(values - 1j * w))]
    T = sp.Matrix(np.stack([q.real, -q.imag], axis=1))
    here = dict(zip(flow.x, sp.Matrix(x) + T * sp.Matrix([u, v]), strict=True))
    f, g = T.inv() * flow.numeric.subs(flow.I, I).subs(here, simultaneous=True)

    def d(e: sp.Expr, *by: sp.Symbol) -> float:
        return float(sp.diff(e, *by).subs({u: 0, v: 0}))

    third = d(f, u, u, u) + d(f, u, v, v) + d(g, u, u, v) + d(g, v, v, v)
    second = d(f, u, v) * (d(f, u, u) + d(f, v, v)) - d(g, u, v) * (d(g, u, u) + d(g, v, v))
    second += d(f, v, v) * d(g, v, v) - d(f, u, u) * d(g, u, u)
    return 4 * (third + second / w) / 16 / w


#: subcritical but for the upper one of Hodgkin and Huxley (Rinzel and Miller 1980; Rinzel and Ermentrout 1989)
SIGNS = {"fitzhugh_nagumo": [1, 1], "morris_lecar": [1, 1], "izhikevich": [1], "hodgkin_huxley": [1, -1]}


@pytest.mark.parametrize("name", SIGNS)
def test_of_known_neurons(name: str) -> None:
    found = of(no.load(name))
    hopfs = [b for b in found.bifurcations if b.kind == "Hopf"]
    assert [np.sign(b.lyapunov) for b in hopfs] == SIGNS[name]
    for b, sign in zip(hopfs, SIGNS[name], strict=True):
        assert str(b).startswith("Hopf (subcritical) at" if sign > 0 else "Hopf (supercritical) at")
        if len(b.at) == 2:
            wanted = planar(found, np.array(list(b.at.values())), b.input, b.frequency)
            assert b.lyapunov == pytest.approx(wanted, rel=1e-5)
