"""The implicit midpoint rule: its equation solved to rounding, order, stiff flows, implicit-function gradients."""

from __future__ import annotations

import numpy as np
import pytest
from references import neuron, slots
from scipy.integrate import solve_ivp
from scipy.optimize import fsolve

import neuroode as no
from neuroode.program import interpret

Array = np.ndarray
VAN_DER_POL = """
dt: 0.1
states: {v: 2, w: 0.3}
parameters: {mu: {value: 3}, c: {value: 0.7}}
equations: |
  dv/dt = mu*(v - v^3/3 - w + erf(v)*I)
  dw/dt = (v + c)/mu
outputs: {x: v + 2*w}
"""


def field(y: Array, mu: float = 3.0, c: float = 0.7, I: float = 0.4) -> Array:
    from scipy.special import erf

    v, w = y
    return np.array([mu * (v - v**3 / 3 - w + erf(v) * I), (v + c) / mu])


@pytest.mark.parametrize("mu", [0.3, 3.0, 30.0])
def test_it_solves_the_equation_of_the_midpoint_to_rounding(mu: float) -> None:
    found = neuron(VAN_DER_POL).simulate(
        np.full((3, 1, 1), 0.4), dt=0.1, method="implicit_midpoint", parameters={"mu": mu}
    )
    y = np.array([2.0, 0.3])
    for t in range(3):
        end = np.array([found["v"][t, 0, 0], found["w"][t, 0, 0]])
        residual = end - y - 0.1 * field((y + end) / 2, mu)
        assert np.abs(residual).max() < 2e-15 * max(1, mu) * 4
        wanted = fsolve(lambda e, y=y: e - y - 0.1 * field((y + e) / 2, mu), end, xtol=1e-14)
        assert end == pytest.approx(wanted, rel=1e-9)
        y = end


def test_order_2() -> None:
    wanted = solve_ivp(lambda t, y: field(y), (0, 1), [2, 0.3], "DOP853", rtol=1e-12, atol=1e-12).y[:, -1]
    errors = []
    for n in (20, 40, 80):
        found = neuron(VAN_DER_POL).simulate(np.full((n, 1, 1), 0.4), dt=1 / n, method="implicit_midpoint")
        errors.append(abs(found["v"][-1, 0, 0] - wanted[0]))
    assert np.log2(np.array(errors[:-1]) / errors[1:]) == pytest.approx([2, 2], abs=0.1)


def test_gradients_are_those_of_the_implicit_function() -> None:
    model = neuron(VAN_DER_POL)
    program, x = model.program(dt=0.2, method="implicit_midpoint"), {"I": np.array([0.4, -0.3]).reshape(2, 1, 1)}
    values = slots(model, 0.2, (1,))
    run = interpret.run(program, values, x)
    found = interpret.gradients(program, values, run, {"x": np.ones((2, 1, 1))})

    def total(values: dict[str, Array], x: dict[str, Array]) -> float:
        return float(interpret.run(program, values, x).outputs["x"].sum())

    for name in ("p.mu", "p.c"):
        high, low = (total({**values, name: values[name] + d}, x) for d in (1e-6, -1e-6))
        assert np.sum(found.parameters[name]) == pytest.approx((high - low) / 2e-6, rel=1e-7)
    for t in (0, 1):
        kick = np.zeros((2, 1, 1))
        kick[t] = 1e-6
        wanted = (total(values, {"I": x["I"] + kick}) - total(values, {"I": x["I"] - kick})) / 2e-6
        assert found.inputs["I"][t].item() == pytest.approx(wanted, rel=1e-6)


def test_a_stiff_flow_decays_where_rk4_explodes() -> None:
    text = "dt: 0.1\nstates: {v: 1.5}\nequations: dv/dt = -200*v - 100*erf(v) + I\noutputs: v\n"
    x = np.zeros((40, 1, 1))
    found = neuron(text).simulate(x, dt=0.1)["v"].ravel()
    assert np.abs(found).max() < 1.5
    assert np.abs(neuron(text).simulate(x, dt=0.1, method="rk4")["v"]).max() > 10
    (update,) = neuron(text).discretize().updates
    assert update.method == "implicit_midpoint"
    assert "largest |Re lambda|*dt = " in update.why
    assert "stiff" in update.why


def test_auto_takes_rk4_where_the_rates_are_slow_and_says_so() -> None:
    text = "dt: 0.1\nequations: |\n  dv/dt = -erf(v) - w + I\n  dw/dt = v - erf(w)\noutputs: v\n"
    (update,) = neuron(text).discretize().updates
    assert update.method == "rk4"
    assert "largest |Re lambda|*dt = 0.113" in update.why
    facts = {f.claim for f in neuron(text).analyse(brief=True).facts if f.evidence == "sampled"}
    assert any(c.startswith("not stiff: largest |Re lambda|*dt = 0.113") for c in facts)


def test_what_other_blocks_move_is_taken_at_the_middle_of_the_step() -> None:
    text = "dt: 0.1\nequations: |\n  dg/dt = -g + I\n  dv/dt = -erf(v)*g + I\noutputs: v\n"
    from scipy.special import erf

    wanted = solve_ivp(lambda t, y: [-y[0] + 0.3, -erf(y[1]) * y[0] + 0.3], (0, 1), [0, 0], rtol=1e-11, atol=1e-12)
    updates = {s: u for u in neuron(text).discretize().updates for s in u.states}
    assert (updates["g"].exact, updates["v"].method) == (True, "heun")
    errors = [
        abs(neuron(text).simulate(np.full((n, 1, 1), 0.3), dt=1 / n)["v"][-1, 0, 0] - wanted.y[1, -1])
        for n in (10, 20, 40)
    ]
    assert np.log2(np.array(errors[:-1]) / errors[1:]) == pytest.approx([2, 2], abs=0.15)


REFUSED = {
    "|\n  du/dt = (-1 + 2i)*u + I : complex\noutputs: real(u)\n": "u is complex",
    "dv/dt = -floor(v) + I\n": "has jumps",
    "|\n" + "".join(f"  dx{i}/dt = -x{(i + 1) % 5}^3 + I\n" for i in range(5)): "5 states that read each other",
}


@pytest.mark.parametrize("text", REFUSED)
def test_refused_with_the_reason(text: str) -> None:
    with pytest.raises(no.Unsupported, match=REFUSED[text]):
        neuron("equations: " + text).discretize(method="implicit_midpoint")
