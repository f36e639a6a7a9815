"""The exact step of quadratic flows against solve_ivp, many digits, closed forms and the fact sheet of qif."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

import neuroode as no
from neuroode.program import interpret
from neuroode.program.values import slots

Array = np.ndarray
COEFFICIENTS = ("A", "B", "C", "v0")


def flow(**keys: object) -> no.Neuron:
    """dv/dt = A v^2 + B v + C from v0, each lane with its own numbers; v passes through infinity."""
    numbers = {n: no.Parameter(0.5, per="neuron") for n in COEFFICIENTS}
    given = {"equations": "dv/dt = A*v^2 + B*v + C + 0*I", "outputs": "v", "states": {"v": "v0"}, **keys}
    return no.Neuron("flow", dt=1.0, inputs={"I": "current"}, parameters=numbers, **given)


FLOW = flow(equations="dv/dt = A*v^2 + B*v + C*(1 + I)")


def step(numbers: Array, dt: float, dtype: type = np.float64) -> Array:
    """One step of FLOW for rows (A, B, C, v0)."""
    values = dict(zip(COEFFICIENTS, numbers.T, strict=True))
    if dtype == np.float64:
        return FLOW.simulate(np.zeros((1, 1, len(numbers))), dt=dt, size=len(numbers), parameters=values)["v"][0, 0]
    layer = FLOW.torch(len(numbers), dt=dt, dtype=torch.float32, init=values, schedule="eager")
    return layer(torch.zeros(1, 1, len(numbers)))[0].detach().numpy()[0, 0].astype(float)


def blow_up(numbers: Array) -> Array:
    """Time to infinity (qif.md (c)): the solution of u' = u^2 + D from u = A v + B/2."""
    A, B, C, v0 = numbers.T
    D, x = A * C - B**2 / 4, A * v0 + B / 2
    w = np.sqrt(abs(D))
    with np.errstate(all="ignore"):
        turning = (np.pi / 2 - np.arctan(x / w)) / w
        return np.where(D > 0, turning, np.where(x <= w, np.inf, np.arctanh(np.minimum(w / x, 1)) / w))


def mp_step(A: float, B: float, C: float, v0: float, h: float) -> tuple[mpmath.mpf, ...]:
    """v(h) in 60 digits, and the numerator and denominator that it is the quotient of."""
    with mpmath.workdps(60):
        A, B, C, v0, h = (mpmath.mpf(float(x)) for x in (A, B, C, v0, h))
        w = mpmath.sqrt(B**2 / 4 - A * C)
        c, s = mpmath.cosh(w * h), mpmath.sinh(w * h) / w if w else h
        top, bottom = (c + s * B / 2) * v0 + s * C, c - s * (A * v0 + B / 2)
        return mpmath.re(top / bottom), mpmath.re(top), mpmath.re(bottom)


def drawn(count: int, seed: int = 0) -> Array:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, 4)) * [1.0, 1.5, 1.5, 1.0]


def test_random_flows_against_an_integrator() -> None:
    numbers = drawn(300)
    numbers[:, :3] *= np.minimum(0.9 * blow_up(numbers), 1.5)[:, None]  # so that the step is 1
    found = step(numbers, 1.0)
    for (A, B, C, v0), ours in zip(numbers, found, strict=True):
        sol = solve_ivp(
            lambda t, v, A=A, B=B, C=C: A * v * v + B * v + C, (0, 1), [v0], "DOP853", rtol=1e-11, atol=1e-13
        )
        assert abs(ours - sol.y[0, -1]) < 1e-9 * max(1, abs(ours))


def test_values_of_the_fact_sheet() -> None:
    rows = [(0.25, -0.125, 0, 0.3), (0.25, -0.125, 0.5, 0.3), (1, -0.5, 0.0625, 0.1), (0.25, -0.125, 0, 0.7)]
    wanted = [0.2848301238490657, 0.8122486831723501, 0.11956521739130437, 0.739378860608113]
    assert np.abs(step(np.array(rows), 1.0) - wanted).max() < 1e-15


DEGENERATE = {
    "A to 0": [(10.0**-k, -0.1, 0.05, 0.7) for k in range(3, 100, 11)] + [(0, -0.1, 0.05, 0.7), (0, 0, 0.05, 0.7)],
    "D to 0": [(1, -0.5, 0.0625 + s * 10.0**-k, 0.1) for k in range(2, 18) for s in (-1, 1)] + [(1, -0.5, 0.0625, 0.1)],
    "turns": [(1, 0.3, w * w, -1 / np.tan(0.01 + w % np.pi) * w) for w in (0.9, 1.1, 1.5, 1.65, 3.1, 3.2, 4.8, 9.5)],
    "C = 0": [(0.25, -0.125, 0, 0.3), (-0.25, -0.125, 0, 0.3), (0.25, 0, 0, 0.3)],
    "stiff": [(1, -1e3, 0, 0.5), (1, -1e3, 1, 600), (-1e3, 0, 1e3, -0.5), (1e-12, -1e4, 1, 1)],
}  # fmt: skip


@pytest.mark.parametrize("name", DEGENERATE)
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-13), (np.float32, 1e-5)])
def test_coincidences_in_many_digits(name: str, dtype: type, tolerance: float) -> None:
    """Errors at the numbers as they are stored, relative to v(h) and to the largest coefficient times the step."""
    numbers = np.array(DEGENERATE[name])
    rounded = numbers.astype(dtype).astype(float)
    wanted = np.array([float(mp_step(*row, 1.0)[0]) for row in rounded])
    found = step(numbers, 1.0, dtype)
    assert np.isfinite(found).all()
    bound = tolerance * np.maximum(1, abs(wanted)) * np.maximum(1, abs(rounded).max(axis=1))
    assert (abs(found - wanted) <= bound).all()


def test_without_a_square_it_is_the_exact_leaky_step() -> None:
    tau = 7.0
    lif = no.Neuron("lif", dt=1.0, inputs={"I": "current"}, states={"v": 0.4}, parameters={"tau": tau},
                    equations="dv/dt = (-v + I)/tau", outputs="v")  # fmt: skip
    wanted = lif.simulate(np.zeros((1, 1, 1)), dt=1.0)["v"].item()
    assert abs(step(np.array([(0.0, -1 / tau, 0.0, 0.4)]), 1.0)[0] - wanted) < 5e-16
    assert abs(step(np.array([(1e-12, -1 / tau, 0.0, 0.4)]), 1.0)[0] - wanted) < 1e-12


ROWS = [
    (0.3, -0.2, 0.4, 0.5), (1.0, -0.5, 0.0625, 0.1), (0.3, -0.9, 0.1, 0.5), (0.0, -0.2, 0.4, 0.5), (0.0, 0.0, 0.4, 0.5),
    (-0.5, 0.1, 0.3, 0.2), (0.2, -3.0, 0.1, 0.5), (1.5, 0.1, 2.0, -2.5), (1.0, 0.0, 30.0, -2.0),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS)
def test_gradients_in_many_digits(row: tuple[float, ...]) -> None:
    """Both sides of and at D = 0 and A = 0, in the coefficients and in the state."""
    program = FLOW.program(dt=1.0)
    values = slots(FLOW.spec, dict(zip(COEFFICIENTS, np.array(row)[:, None], strict=True)), (1,))
    values |= {"dt": np.asarray(1.0)}
    run = interpret.run(program, values, {"I": np.zeros((1, 1, 1))})
    found = interpret.gradients(program, values, run, {"v": np.ones((1, 1, 1))}).parameters
    for i, name in enumerate(COEFFICIENTS):
        with mpmath.workdps(60):
            moved = [list(map(mpmath.mpf, row)) for _ in range(2)]
            moved[0][i] -= mpmath.mpf("1e-20")
            moved[1][i] += mpmath.mpf("1e-20")
            low, high = (_mp_value(*m) for m in moved)
            wanted = float(mpmath.re((high - low) / mpmath.mpf("2e-20")))
        assert abs(found[f"p.{name}"].item() - wanted) < 1e-12 * max(1, abs(wanted)), name


def _mp_value(A: mpmath.mpf, B: mpmath.mpf, C: mpmath.mpf, v0: mpmath.mpf) -> mpmath.mpf:
    w = mpmath.sqrt(B**2 / 4 - A * C)
    c, s = mpmath.cosh(w), mpmath.sinh(w) / w if w else mpmath.mpf(1)
    return ((c + s * B / 2) * v0 + s * C) / (c - s * (A * v0 + B / 2))


def test_the_analysis_names_the_map_and_its_limits() -> None:
    facts = {f.claim: f for f in no.load("qif").analyse(brief=True).facts}
    found = facts["Riccati: one Moebius map"]
    assert found.evidence == "proved"
    assert "discriminant B^2/4 - A C = -I[t]*a + a^2*(u_1 - u_2)^2/4: fixed points where" in found.detail
    assert "dt^2*(I[t]*a - a^2*(u_1 - u_2)^2/4) < pi^2" in found.detail


NOT_RICCATI = [
    "dv/dt = v^3 + I", "dv/dt = v^2 + w + I\ndw/dt = -w", "dv/dt = v^2 + detach(v) + I", "dv/dt = v^2*abs(v)/v + I",
]  # fmt: skip


@pytest.mark.parametrize("text", NOT_RICCATI)
def test_flows_that_are_not_quadratic_in_themselves_alone(text: str) -> None:
    neuron = no.Neuron("other", dt=1.0, inputs={"I": "current"}, equations=text, outputs="v")
    assert "Moebius" not in str(neuron.analyse(brief=True))
    (update,) = (u for u in neuron.discretize().updates if "v" in u.states)
    assert update.method not in ("exact", "riccati")
    assert update.why  # what it takes instead, and the reason
    with pytest.raises(no.Unsupported, match="does not apply to v"):
        neuron.discretize(method={"v": "exact"})
