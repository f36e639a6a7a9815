"""Method soe where flows are not linear or read each other: orders on manufactured solutions, coupled systems."""

from __future__ import annotations

from math import gamma

import mpmath as mp
import numpy as np
import pytest

import neuroode as no


def squared(a: float, leak: float, dt: float) -> float:
    """Error at 1 of D^a v = -leak*v - v^3 + g(t), whose solution is t^2."""
    g = f"2*t^{2 - a:.12g}/{gamma(3 - a):.15g} + t^6"
    made = no.Neuron(
        "f", equations=f"D^{a} v = -lam*v - v^3 + {g} + lam*t^2", method="soe(tolerance=1e-5, steps=64)",
        parameters={"lam": no.Parameter(leak, domain="positive" if leak else "real")},
    )  # fmt: skip
    return abs(made.simulate(steps=round(1 / dt), dt=dt)["v"][-1].item() - 1)


@pytest.mark.parametrize(
    ("a", "leak"), [(0.5, 2.0), *(pytest.param(a, k, marks=pytest.mark.slow) for a in (0.3, 0.8, 1.0) for k in (0, 2))]
)
def test_a_nonlinear_flow_has_order_one_plus_a(a: float, leak: float) -> None:
    errors = [squared(a, leak, dt) for dt in (0.1, 0.05, 0.025)]
    assert np.log2(errors[1] / errors[2]) > min(2, 1 + a) - 0.2


@pytest.mark.slow
def test_a_fractional_fitzhugh_nagumo_against_linear_multistep() -> None:
    made = no.Neuron(
        "f", parameters={"a": no.Parameter(0.8, domain="interval(0.05, 1)")}, states={"v": -1.0, "w": -0.5},
        equations="D^a v = v - v^3/3 - w + 0.7\nD^a w = 0.08*(v + 0.7 - 0.8*w)",
        method="soe(tolerance=1e-7, steps=256)",
    )  # fmt: skip

    def end(dt: float, method: str | None = None) -> float:
        return made.simulate(steps=round(8 / dt), dt=dt, method=method)["v"][-1].item()

    wanted = end(0.01, "flmm2")
    errors = [abs(end(dt) - wanted) for dt in (0.2, 0.1, 0.05)]
    assert errors[-1] < 2e-5
    assert np.log2(errors[1] / errors[2]) > 1.7


def test_an_ordinary_state_beside_a_fractional_one() -> None:
    """A current with its own leak drives v: order 1 at least, against a run with a small step."""
    made = no.Neuron(
        "f", parameters={"tau": no.Parameter(2.0, domain="positive")}, states={"c": 1.0},
        equations="D^0.6 v = (-v + c)/tau\ndc/dt = -c\ndw/dt = v - w", outputs={"v": "v", "w": "w"},
        method="soe(tolerance=1e-4, steps=256)",
    )  # fmt: skip
    runs = [made.simulate(steps=round(2 / dt), dt=dt) for dt in (0.1, 0.05, 0.0125)]
    for name in ("v", "w"):
        far, near = (abs(r[name][-1].item() - runs[2][name][-1].item()) for r in runs[:2])
        assert far < 2e-3
        assert near < far / 2.5
    assert runs[0]["c"][-1].item() == pytest.approx(np.exp(-2), rel=1e-12)


def two_terms(t: float, v0: float) -> float:
    """0.5 D^0.4 v + 2 D^0.9 v = -v + 1 by the inverse of its Laplace transform."""

    def P(s: mp.mpc) -> mp.mpc:
        return 0.5 * s**0.4 + 2 * s**0.9

    return float(mp.invertlaplace(lambda s: (P(s) * v0 + 1) / (s * (P(s) + 1)), t, method="talbot"))


@pytest.mark.parametrize("memory", ["jump", pytest.param("restart", marks=pytest.mark.slow)])
def test_several_orders_against_the_inverse_transform(memory: str) -> None:
    made = no.Neuron(
        "f", inputs={"k": "current"}, states={"v": 0.3}, equations="2*D^0.9 v + 0.5*D^0.4 v = -v + 1", spike="k > 0.5",
        reset={"do": "v = 0.3", "memory": memory}, method="soe(tolerance=1e-4, steps=128)",
    )  # fmt: skip

    def end(dt: float, T: float = 2.0, spike: float = 0.0) -> float:
        k = np.zeros((round(T / dt), 1, 1))
        k[round(spike / dt) - 1] = spike > 0
        return made.simulate({"k": k}, dt)["v"][-1].item()

    errors = [abs(end(dt) - two_terms(2.0, 0.3)) for dt in (0.1, 0.05, 0.025)]
    assert errors[-1] < 3e-4
    assert errors[1] < errors[0] / 2
    if memory == "restart":
        assert end(0.025, 3.0, 1.0) == pytest.approx(two_terms(2.0, 0.3), abs=4e-4)


FIRES = {"equations": "D^0.5 v = -v + I", "spike": "v > 1", "reset": "v -= 1"}
REFUSED = (
    ({"equations": "D^0.5 v = (2i - 1)*v : complex", "outputs": "real(v)"}, "complex"),
    ({**FIRES, "within_step": "locate"}, "inside the step"),
    ({"equations": "D^0.5 v = -v + I", "method": "euler"}, "has no memory"),
    ({**FIRES, "equations": "D^0.5 v = -v + I; dw/dt = v - w", "refractory": {"duration": 2, "hold": ["v"]}},
     "refractory holds v"),
    ({**FIRES, "reset": {"do": "v -= 1", "memory": "current(q)"},
      "parameters": {"q": no.Parameter(0.5, domain="positive")}}, "no one constant number"),
)  # fmt: skip


@pytest.mark.parametrize(("keys", "reason"), REFUSED)
def test_what_is_refused_says_why(keys: dict, reason: str) -> None:
    with pytest.raises(no.Unsupported, match=reason):
        no.Neuron("f", **keys).discretize(0.1)


def test_options_of_the_method() -> None:
    neuron = no.load("f_lif").replace(method="soe( tolerance=1e-3,steps=100 )")
    assert neuron.spec.method == "soe(tolerance=1e-3, steps=100)"
    text = str(neuron.discretize(1.0))
    assert "15 modes z, for 100 steps and more" in text
    assert "up to 0.001 of a sum of exponentials" in text
    for wrong in ("soe(tol=1e-3)", "soe(tolerance=1e-3, tolerance=1e-3)", "soe(v)"):
        with pytest.raises(no.SpecError, match="write soe"):
            no.load("f_lif").replace(method=wrong)
    with pytest.raises(no.RunError, match="1e-09 to"):
        no.load("f_lif").discretize(1.0, "soe(tolerance=0.5)")
