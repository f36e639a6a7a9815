"""Strang splitting: the parts that are found, its order against DOP853, thresholds, gradients against differences."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from references import neuron, slots
from scipy.integrate import solve_ivp

import neuroode as no
from neuroode.program import interpret

Array = np.ndarray


def ended(model: no.Neuron, steps: int, length: float, drive: float, **options: object) -> Array:
    """All flow states after `length` under a constant input."""
    found = model.simulate(np.full((steps, 1, 1), drive), dt=length / steps, **options)
    return np.array([found[s][-1, 0, 0] for s in model.program(1.0).next and model.analyse(brief=True).classes])


def solved(field: Callable, start: list[float], length: float) -> Array:
    return solve_ivp(field, (0, length), start, "DOP853", rtol=1e-12, atol=1e-12).y[:, -1]


def test_the_table_of_izhikevich() -> None:
    """others-nonlinear.md, section 3: v = -65, u = -13, I = 6, 4 ms; errors 1.7e-2, 4.2e-3, 1.0e-3, 2.6e-4."""
    wanted = solved(lambda t, y: [0.04 * y[0] ** 2 + 5 * y[0] + 146 - y[1], 0.02 * (0.2 * y[0] - y[1])], [-65, -13], 4)
    model = no.load("izhikevich")
    errors = [abs(ended(model, n, 4, 6.0)[0] - wanted[0]) for n in (4, 8, 16, 32)]
    assert errors == pytest.approx([1.7e-2, 4.2e-3, 1.0e-3, 2.6e-4], rel=0.1)
    assert np.log2(np.array(errors[:-1]) / errors[1:]) == pytest.approx([2, 2, 2], abs=0.1)
    euler = [abs(ended(model, n, 4, 6.0, method="euler")[0] - wanted[0]) for n in (4, 8, 16, 32)]
    assert euler == pytest.approx([2.88, 1.95, 1.18, 0.66], rel=0.02)


FLOWS: dict[str, tuple[str, str, Callable, list[float]]] = {
    "states": (
        "|\n  dv/dt = -v*g + I\n  dg/dt = v - g*v\n",
        "by states: g half (linear), v whole (linear), g half",
        lambda t, y: [-y[0] * y[1] + 0.3, y[0] - y[1] * y[0]], [0.3, 0.2],
    ),
    "Riccati": (
        "|\n  dv/dt = v^2 - g + I\n  dg/dt = v - g\n", "v whole (Riccati)",
        lambda t, y: [y[0] ** 2 - y[1] + 0.3, y[0] - y[1]], [0.3, 0.2],
    ),
    "terms": (
        "|\n  dv/dt = v - v^3/3 - g + I\n  dg/dt = 0.8*(v + 0.7 - 0.8*g)\n", "by terms",
        lambda t, y: [y[0] - y[0] ** 3 / 3 - y[1] + 0.3, 0.8 * (y[0] + 0.7 - 0.8 * y[1])], [0.3, 0.2],
    ),
    "upstroke": (
        "|\n  dv/dt = -v + exp(2*v - 1) - g + I\n  dg/dt = 0.5*(v - g)\n", "v whole (separable: an exponential",
        lambda t, y: [-y[0] + np.exp(2 * y[0] - 1) - y[1] + 0.3, 0.5 * (y[0] - y[1])], [0.3, 0.2],
    ),
    "driven": (
        "|\n  dv/dt = -v^3*g + I\n  dg/dt = -g + I\n", "v",
        lambda t, y: [-y[0] ** 3 * y[1] + 0.3, -y[1] + 0.3], [0.3, 0.2],
    ),
    "running time": (
        "|\n  dv/dt = -v*g + sin(t)*I\n  dg/dt = v - g*v*cos(t)\n", "by states",
        lambda t, y: [-y[0] * y[1] + 0.3 * np.sin(t), y[0] - y[1] * y[0] * np.cos(t)], [0.3, 0.2],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FLOWS)
def test_order_2(name: str) -> None:
    text, parts, field, start = FLOWS[name]
    model = neuron(f"states: {{v: {start[0]}, g: {start[1]}}}\nequations: {text}outputs: v\n")
    found = {s: u for u in model.discretize().updates for s in u.states}
    assert parts in found["v"].why
    assert found["v"].convergence_order == 2
    wanted = solved(field, start, 1.0)
    errors = [np.abs(ended(model, n, 1.0, 0.3) - wanted).max() for n in (10, 20, 40)]
    assert np.log2(np.array(errors[:-1]) / errors[1:]) == pytest.approx([2, 2], abs=0.1)


def test_gates_move_together_and_the_costlier_part_moves_once() -> None:
    text = "|\n  dv/dt = -v*m^3*h + I\n  dm/dt = exp(v)*(1 - m) - m/exprel(v)\n  dh/dt = exp(-v)*(1 - h) - h\n"
    (update,) = neuron(f"equations: {text}outputs: v\n").discretize().updates
    assert "split by states: v half (linear), m, h whole (linear), v half" in update.why


def test_an_overshoot_never_enters_the_other_states() -> None:
    """The upstroke of one step of 1 ms: u is what it is with v at 30 in the second half."""
    model = no.load("izhikevich").replace(states={"v": 0.0, "u": 0.0})
    found = model.simulate(np.full((1, 1, 1), 100.0), dt=1.0)
    assert found["v.before"].item() > 30
    half = np.exp(-0.02 * 0.5)
    wanted = (0.0 * half) * half + 0.2 * 30 * (1 - half)
    assert found["u.before"].item() == pytest.approx(wanted, rel=1e-12)


def test_adex_stops_at_its_peak_within_a_coarse_step() -> None:
    found = no.load("adex").simulate(np.full((200, 1, 1), 3000.0), dt=1.0)
    assert found["s"].sum() > 20
    assert np.abs(found["v"]).max() < 100
    assert found["v.before"].max() <= 60
    assert np.isfinite(found["w"]).all()


UPSTROKE = """
states: {v: v_0, g: g_0}
parameters:
  {v_0: {value: V_0}, g_0: {value: 0.3}, tau: {value: 2}, D: {value: 0.4}, a: {value: 0.3}, v_th: {value: 3},
   c: {value: 0.5}}
equations: |
  dv/dt = (-v + FLOW - g + I)/tau
  dg/dt = a*v - g
spike: v > v_th
reset: v = 0; g += 0.2
outputs: {x: after(v) + 2*after(g)}
surrogate: {kind: none}
"""
CASES = {
    f"{name}, {v_0}, {length}": (UPSTROKE.replace("V_0", str(v_0)).replace("FLOW", flow), length)
    for name, flow in {"exponential": "c*D*exp((v - 1)/D)", "power": "c*v^4/D", "Riccati": "c*v^2/D"}.items()
    for v_0, length in ((0.4, 0.3), (2.5, 0.5), (3.5, 0.3))
}


@pytest.mark.parametrize("case", CASES)
def test_gradients_against_central_differences(case: str) -> None:
    """Of what two steps leave, below the threshold, at a blow-up and above; the event has no surrogate."""
    text, dt = CASES[case]
    model = neuron(text)
    program, x = model.program(dt=dt), {"I": np.array([0.5, 0.7]).reshape(2, 1, 1)}
    values = slots(model, dt, (1,))
    run = interpret.run(program, values, x)
    found = interpret.gradients(program, values, run, {"x": np.ones((2, 1, 1))}).parameters
    assert np.isfinite([*(np.abs(v).max() for v in run.trace.values())]).all()
    for p in program.parameters:
        high, low = (
            interpret.run(program, {**values, p.name: values[p.name] + d}, x).outputs["x"].sum() for d in (1e-6, -1e-6)
        )
        assert np.sum(found[p.name]) == pytest.approx((high - low) / 2e-6, rel=1e-6, abs=1e-8), p.name
