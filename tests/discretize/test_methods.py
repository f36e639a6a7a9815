"""Measured orders of bilinear, heun and rk4, with held inputs and with ramps, and what they refuse or lose."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import scipy.integrate
import torch
from references import distance, neuron

SAMPLES, T_END = 8, 1.0
RNG = np.random.default_rng(3)
DRIVE = RNG.normal(size=SAMPLES)

#: equations, states, right side for scipy
PROBLEMS = {
    "pole": ("'dz/dt = (-1 + 6i)*z + (0.5 + 1i)*I : complex'\noutputs: real(z)\n", ["z"],
             lambda t, y, i: (-1 + 6j) * y + (0.5 + 1j) * i),
    "chain of pairs": (
        "|\n  dx/dt = -x - 4*y + I\n  dy/dt = 4*x - y\n  dv/dt = -3*v + x + 0.3*y - I\n", ["x", "y", "v"],
        lambda t, y, i: np.array([-y[0] - 4 * y[1] + i, 4 * y[0] - y[1], -3 * y[2] + y[0] + 0.3 * y[1] - i])),
    "full three": (
        "|\n  dx/dt = -x - 4*y + I\n  dy/dt = 4*x - v\n  dv/dt = -3*v + x\n", ["x", "y", "v"],
        lambda t, y, i: np.array([-y[0] - 4 * y[1] + i, 4 * y[0] - y[2], -3 * y[2] + y[0]])),
    "coupled complex": (
        "|\n  du/dt = (-1 + 3i)*u + 2*w + I : complex\n  dw/dt = 1i*u - w : complex\noutputs: real(u)\n", ["u", "w"],
        lambda t, y, i: np.array([(-1 + 3j) * y[0] + 2 * y[1] + i, 1j * y[0] - y[1]])),
    "pendulum": ("x'' = -sin(x) - 0.1*x' + 3*I\n", ["x", "x'"],
                 lambda t, y, i: np.array([y[1], -np.sin(y[0]) - 0.1 * y[1] + 3 * i])),
    "gate": (
        "|\n  dv/dt = -v*g + I\n  dg/dt = (1 - g)*exp(-v) - g/(1 + v^2)\n", ["v", "g"],
        lambda t, y, i: np.array([-y[0] * y[1] + i, (1 - y[1]) * np.exp(-y[0]) - y[1] / (1 + y[0] ** 2)])),
}  # fmt: skip
LINEAR = ("pole", "chain of pairs", "full three", "coupled complex")
ORDERS = {"bilinear": 2, "heun": 2, "rk4": 4}
RAMP = "inputs: {I: {kind: current, hold: linear}}\n"


def solution(name: str, ramp: bool) -> np.ndarray:
    """The state at the end, sample by sample: constant in each, or linear from the last (0 at first) to this."""
    _, states, f = PROBLEMS[name]
    y, width = np.zeros(len(states), complex if "complex" in PROBLEMS[name][0] else float), T_END / SAMPLES
    for k, now in enumerate(DRIVE):
        last = (DRIVE[k - 1] if k else 0.0) if ramp else now

        def right(t, y, last=last, now=now):
            return f(t, y, last + (now - last) * t / width)

        y = scipy.integrate.solve_ivp(right, (0, width), y, rtol=1e-12, atol=1e-13, method="DOP853").y[:, -1]
    return y


def errors(name: str, method: str, ramp: bool, finer: list[int]) -> list[float]:
    """Errors at the end with each sample of the drive divided into steps."""
    text, states, _ = PROBLEMS[name]
    wanted, found = solution(name, ramp), []
    for n in finer:
        ends = np.concatenate([[0.0], DRIVE])
        x = np.interp(np.arange(1, SAMPLES * n + 1) / n, np.arange(SAMPLES + 1), ends) if ramp else np.repeat(DRIVE, n)
        n_steps = T_END / (SAMPLES * n)
        trace = neuron((RAMP if ramp else "") + "equations: " + text).simulate(
            x.reshape(-1, 1, 1), n_steps, method=method
        )
        found.append(np.abs(np.array([trace[s][-1, 0, 0] for s in states]) - wanted).max())
    return found


@pytest.mark.parametrize("ramp", [False, True], ids=["held", "ramp"])
@pytest.mark.parametrize(
    ("name", "method"), [(n, m) for n in PROBLEMS for m in ORDERS if m != "bilinear" or n in LINEAR]
)
def test_the_order_for_inputs_as_they_are_held(name: str, method: str, ramp: bool) -> None:
    found = errors(name, method, ramp, [4, 8, 16])
    slopes = [np.log2(a / b) for a, b in pairwise(found)]
    assert abs(slopes[-1] - ORDERS[method]) <= 0.15, (found, slopes)


@pytest.mark.parametrize("name", LINEAR)
def test_the_exact_step_needs_no_small_steps_for_either_hold(name: str) -> None:
    assert max(errors(name, "exact", True, [1]) + errors(name, "exact", False, [1])) <= 1e-10


@pytest.mark.parametrize(("ramp", "order"), [(False, 1), (True, 2)], ids=["held", "ramp"])
@pytest.mark.parametrize("method", ["exact", "bilinear", "heun", "rk4"])
def test_a_sampled_smooth_input_costs_order(method: str, ramp: bool, order: int) -> None:
    """Held at its samples it is known to first order, and to second order between them (rf.md, section 2)."""
    text = "'dz/dt = (-1 + 10i)*z + I : complex'\noutputs: real(z)\n"
    f = lambda t, y: (-1 + 10j) * y + np.sin(7 * t)  # noqa: E731
    wanted = scipy.integrate.solve_ivp(f, (0, 1), np.zeros(1, complex), rtol=1e-11, atol=1e-12, method="DOP853").y[
        0, -1
    ]
    found = []
    for n in (400, 800, 1600):
        x = np.sin(7 * (np.arange(n) + ramp) / n).reshape(-1, 1, 1)  # a ramp ends where its sample is taken
        z = neuron((RAMP if ramp else "") + "equations: " + text).simulate(x, 1 / n, method=method)["z"]
        found.append(abs(z[-1, 0, 0] - wanted))
    assert abs(np.log2(found[1] / found[2]) - order) <= 0.1, found


def test_bilinear_is_the_formula_of_the_sheet() -> None:
    """(1 + z/2)/(1 - z/2), its angular velocity at omega = 10, 50, 85 (rf.md, section 2), and |A| < 1 for b < 0."""
    for w, speed in ((10.0, 9.99), (50.0, 49.00), (85.0, 80.38)):
        text = f"states: {{z: 1}}\nequations: 'dz/dt = (-1 + {w}i)*z + I : complex'\noutputs: real(z)\n"
        z = neuron(text).simulate(np.zeros((1, 1, 1)), 0.01, method="bilinear")["z"][0, 0, 0]
        half = 0.005 * (-1 + 1j * w)
        assert abs(z - (1 + half) / (1 - half)) <= 1e-15
        assert np.angle(z) / 0.01 == pytest.approx(speed, abs=6e-3)
        assert abs(z) < 1


def test_stages_and_their_formulas_are_shown() -> None:
    found = neuron(RAMP + "equations: dv/dt = -v + I\n").discretize(method="heun")
    assert (found.exact, found.convergence_order) == (False, 2)
    assert "k1(v) = I[t-1] - v" in str(found)
    assert "k2(v) = I[t] - dt*k1(v) - v" in str(found)
    assert list(found.to_json()[0]["stages"]) == ["k1(v)", "k2(v)"]


@pytest.mark.parametrize(
    ("text", "method", "order"),
    [
        ("dv/dt = -relu(v) + I", "rk4", 2), ("dv/dt = -relu(v) + I", "heun", 2),
        ("dv/dt = -where(v > 0, v, 2) + I", "rk4", 1),
        ("dv/dt = -v + floor(I)", "rk4", 4), ("dv/dt = -abs(v) + I", "heun", 2), ("dv/dt = -floor(v) + I", "heun", 1),
    ],
)  # fmt: skip
def test_jumps_and_kinks_cost_order(text: str, method: str, order: int) -> None:
    (update,) = neuron(f"equations: {text}\n").discretize(method=method).updates
    assert update.convergence_order == order
    assert (" cost the order " in update.why) == (order < ORDERS[method])


@pytest.mark.parametrize("method", ["euler", "exp_euler", "semi_implicit(v, w)"])
def test_methods_of_order_1_read_a_ramp_at_the_start_of_the_step(method: str) -> None:
    text = "equations: |\n  dv/dt = -v + I\n  dw/dt = v - w\n"
    x = np.arange(1.0, 6.0).reshape(-1, 1, 1)
    ramp = neuron(RAMP + text).simulate(x, 0.1, method=method)
    late = neuron(text).simulate(x - 1, 0.1, method=method)
    assert np.array_equal(ramp["w"], late["w"])


def test_rk4_by_state_moves_what_reads_each_other_together() -> None:
    text = "equations: |\n  dv/dt = -v^3 - w + I\n  dw/dt = v - w\n  dy/dt = -y + v\n"
    x = RNG.normal(size=(20, 1, 1))
    by_state = neuron(text).simulate(x, 0.1, method={"v": "rk4", "w": "rk4", "y": "exp_euler"})
    alone = neuron(text.replace("  dy/dt = -y + v\n", "")).simulate(x, 0.1, method="rk4")
    assert np.array_equal(by_state["v"], alone["v"])
    v = np.concatenate([[0.0], alone["v"].ravel()[:-1]])
    wanted = np.zeros(20)
    for t in range(20):
        wanted[t] = np.exp(-0.1) * (wanted[t - 1] if t else 0) + (1 - np.exp(-0.1)) * v[t]
    assert distance(by_state["y"].ravel(), wanted) <= 1e-14


# impulses


IMPULSES = """
inputs: {I: current, K: impulse, L: {kind: impulse, at: end}, R: {kind: current, hold: linear}}
parameters: {a: {value: 0.3, per: neuron}}
equations: |
  dv/dt = -a*v + w + I + (1 - v)*K + w*R*L
  dw/dt = -v - 0.5*w + v*K - 0.2*v*L
outputs: {v: v, w: w}
"""


def test_coefficients_of_impulses_are_taken_just_before_all_impulses_of_that_moment() -> None:
    x = {n: RNG.normal(size=(30, 1, 1)) for n in "IKLR"}
    found = neuron(IMPULSES).simulate(x, 0.2)
    A = np.array([[-0.3, 1.0], [-1.0, -0.5]])
    Phi = scipy.linalg.expm(A * 0.2)
    gain = np.linalg.solve(A, Phi - np.eye(2))[:, 0]
    v = w = 0.0
    for t in range(30):
        I, K, L, R = (x[n][t, 0, 0] for n in "IKLR")
        v, w = v + (1 - v) * K, w + v * K
        v, w = Phi @ [v, w] + gain * I
        v, w = v + w * R * L, w - 0.2 * v * L
        assert abs(found["v"][t, 0, 0] - v) + abs(found["w"][t, 0, 0] - w) <= 1e-12


def test_gradients_of_impulse_coefficients_and_stages_through_the_kernel() -> None:
    x = {n: torch.tensor(RNG.normal(size=(12, 2, 3))) for n in "IKLR"}
    for method in ("exact", "bilinear", "rk4"):
        found = []
        for schedule in ("eager", "sequential"):
            layer = neuron(IMPULSES).torch(3, dt=0.2, dtype=torch.float64, schedule=schedule, method=method)
            given = {n: v.clone().requires_grad_() for n, v in x.items()}
            out, _ = layer(given)
            (out["v"] * torch.cos(torch.arange(72.0)).reshape(12, 2, 3) + out["w"] ** 2).sum().backward()
            found.append([out["v"].detach(), *(v.grad for v in given.values()), *(p.grad for p in layer.parameters())])
        for a, b in zip(*found, strict=True):
            assert distance(b, a) <= 1e-12


def test_a_ramp_in_a_recurrent_layer_and_in_chunks() -> None:
    """The carry holds the last drive, the recurrent part included."""
    text = (
        RAMP
        + "parameters: {tau: {value: 3, per: neuron}}\nequations: dv/dt = (-v + I)/tau\nspike: v > 0.4\nreset: v = 0\n"
    )
    x = torch.tensor(RNG.normal(1.0, 1.0, size=(40, 2, 5)))
    runs = []
    for schedule in ("eager", "sequential"):
        torch.manual_seed(0)
        layer = neuron(text).torch(5, dt=1.0, dtype=torch.float64, schedule=schedule, recurrent=True)
        given = x.clone().requires_grad_()
        whole, _ = layer(given)
        first, carry = layer(x[:17])
        assert torch.equal(whole, torch.cat([first, layer(x[17:], carry)[0]]))
        whole.cumsum(0).pow(2).sum().backward()
        runs.append([whole.detach(), given.grad, *(p.grad for p in layer.parameters())])
    assert runs[0][0].sum() > 20
    for a, b in zip(*runs, strict=True):
        assert distance(b, a) <= 1e-11


# linear over the real numbers only


REAL_FORMS = {
    "a readout": (
        "  du/dt = (-1 + 2i)*u + I : complex\n  dv/dt = -0.5*v + real((0.3 + 1i)*u)\n  dw/dt = v - w\n",
        [[-1, -2, 0, 0], [2, -1, 0, 0], [0.3, -1, -0.5, 0], [0, 0, 1, -1]], ["u", "v", "w"]),
    "conj": ("  du/dt = (-1 + 2i)*u + 0.3*conj(u) + I : complex\n", [[-0.7, -2], [2, -1.3]], ["u"]),
    "both ways": ("  du/dt = (-1 + 2i)*u - 2*v + I : complex\n  dv/dt = -v + 0.7*imag(u)\n",
                  [[-1, -2, -2], [2, -1, 0], [0, 0.7, -1]], ["u", "v"]),
}  # fmt: skip


@pytest.mark.parametrize("name", REAL_FORMS)
def test_real_and_imaginary_parts_are_linear_too(name: str) -> None:
    text, A, states = REAL_FORMS[name]
    n = neuron(f"equations: |\n{text}outputs: real(u)\n")
    (update,) = n.discretize().updates
    assert update.exact
    assert "real and imaginary parts" in update.why
    x, size = RNG.normal(size=6), len(A)
    Z = np.zeros((2 * size, 2 * size))
    Z[:size, :size], Z[:size, size:] = A, np.eye(size)
    E, y = scipy.linalg.expm(Z * 0.4), np.zeros(size)
    found = n.simulate(x.reshape(-1, 1, 1), 0.4)
    for t, i in enumerate(x):
        y = E[:size, :size] @ y + E[:size, size] * i
        now = [found[s][t, 0, 0] for s in states]
        ours = [part for z in now for part in ([z.real, z.imag] if np.iscomplexobj(z) else [z])]
        assert distance(ours, y) <= 1e-13


def test_a_modulus_is_not_linear() -> None:
    found = neuron(
        "equations: |\n  du/dt = (-1 + 2i)*u + I : complex\n  dv/dt = -v + abs(u)\noutputs: v\n"
    ).discretize()
    assert [(u.states, u.method) for u in found.updates] == [(("u",), "exact"), (("v",), "strang")]


def test_what_would_be_too_large_over_real_numbers_keeps_its_own_exact_steps() -> None:
    rows = "".join(f"  du{k}/dt = (-1 + {k}i)*u{k} + I : complex\n" for k in range(5))
    text = f"equations: |\n{rows}  dv/dt = -v + " + " + ".join(f"real(u{k})" for k in range(5)) + "\noutputs: v\n"
    methods = {s: u.method for u in neuron(text).discretize().updates for s in u.states}
    assert methods == {f"u{k}": "exact" for k in range(5)} | {"v": "strang"}
