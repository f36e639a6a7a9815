"""Separable flows: closed forms against DOP853 and many digits, blow-up, coincidences, gradients, what is refused."""

from __future__ import annotations

from collections.abc import Callable

import mpmath
import numpy as np
import pytest
import sympy as sp
from references import neuron, slots
from scipy.integrate import solve_ivp

import neuroode as no
from neuroode.discretize import separable
from neuroode.program import interpret

Array = np.ndarray

#: flow, the same for scipy, start, way
FLOWS: dict[str, tuple[str, Callable[[float, Array], Array], float, str]] = {
    "exponential": ("0.5*exp(2*(v - 1))", lambda i, v: 0.5 * np.exp(2 * (v - 1)), 0.3, "an exponential"),
    "falling": ("I*exp(-v/0.7)", lambda i, v: i * np.exp(-v / 0.7), 0.3, "an exponential"),
    "with a constant": ("I + exp(v - 1)", lambda i, v: i + np.exp(v - 1), 0.3, "linear in exp(-v)"),
    "cube": ("-v^3/3", lambda i, v: -(v**3) / 3, 1.4, "Bernoulli"),
    "Bernoulli": ("I*v - 2*v^4", lambda i, v: i * v - 2 * v**4, 0.4, "Bernoulli"),
    "shifted": ("-(v - 2)^3 + I*(v - 2)", lambda i, v: -((v - 2) ** 3) + i * (v - 2), 0.4, "Bernoulli"),
    "reciprocal": ("I/v", lambda i, v: i / v, 0.4, "quadrature"),
    "root": ("I*sqrt(v + 1)", lambda i, v: i * np.sqrt(v + 1), 0.4, "quadrature"),
    "negative start": ("-v^5", lambda i, v: -(v**5), -1.2, "Bernoulli"),
}


@pytest.mark.parametrize("name", FLOWS)
def test_against_an_integrator(name: str) -> None:
    text, f, start, way = FLOWS[name]
    model = neuron(f"states: {{v: {start}}}\nequations: dv/dt = {text} + 0*I\noutputs: v\n")
    (update,) = model.discretize(method="exact").updates
    assert update.exact
    assert way in update.why
    x, v = np.array([0.3, 0.7, 0.2, 0.4]), start
    found = model.simulate(x.reshape(-1, 1, 1), dt=0.25)["v"].ravel()
    for now, i in zip(found, x, strict=True):
        v = solve_ivp(lambda t, y, i=i: f(i, y), (0, 0.25), [v], "DOP853", rtol=1e-12, atol=1e-13).y[0, -1]
        assert now == pytest.approx(v, rel=1e-10)


UPSTROKE = """
states: {v: v_0}
parameters: {v_0: {value: -0.2}, c: {value: 0.5}, D: {value: 0.3}, p: {value: 0.1}, v_th: {value: 2}}
equations: dv/dt = p + c*exp(v/D) + 0*I
spike: v >= v_th
reset: v = -0.5
surrogate: {kind: none}
outputs: {x: after(v)}
"""


def upstroke(h: float, v: float = -0.2, c: float = 0.5, D: float = 0.3, p: float = 0.1) -> mpmath.mpf:
    """v(h) in many digits: e^(-v/D) is linear."""
    with mpmath.workdps(50):
        v, c, D, p, h = (mpmath.mpf(str(z)) for z in (v, c, D, p, h))
        u, rate = mpmath.e ** (-v / D), -p / D
        grown = u * mpmath.e ** (rate * h) - (c / D) * ((mpmath.e ** (rate * h) - 1) / rate if rate else h)
        return -D * mpmath.log(grown)


@pytest.mark.parametrize("p", [0.0, 1e-18, 1e-9, 0.1, -0.3, 2.0])
def test_removable_coincidences_in_many_digits(p: float) -> None:
    found = neuron(UPSTROKE).simulate(np.zeros((1, 1, 1)), dt=0.2, parameters={"p": p})["v"].item()
    assert found == pytest.approx(float(upstroke(0.2, p=p)), rel=1e-14)


@pytest.mark.parametrize("dt", [0.3, 0.9, 1.1, 3.0, 100.0])
def test_infinity_within_a_step_is_a_spike_and_finite(dt: float) -> None:
    """The argument of the logarithm has passed 0 where it is complex; v stops at the threshold at least."""
    found = neuron(UPSTROKE).simulate(np.zeros((1, 1, 1)), dt=dt)
    blown = mpmath.im(upstroke(dt)) != 0
    assert found["s"].item() == float(blown or upstroke(dt) >= 2)
    assert np.isfinite(found["v.before"]).all()
    assert found["v.before"].item() >= 2 if blown else True


@pytest.mark.parametrize(("dt", "v_0"), [(0.1, -0.2), (0.3, 1.0), (3.0, 1.0), (0.1, 50.0)])
def test_gradients_are_finite_and_those_of_differences(dt: float, v_0: float) -> None:
    model, x = neuron(UPSTROKE), {"I": np.zeros((2, 1, 1))}
    program, values = model.program(dt=dt), slots(model, dt, (1,), v_0=v_0)
    run = interpret.run(program, values, x)
    found = interpret.gradients(program, values, run, {"x": np.ones((2, 1, 1))}).parameters
    for p in program.parameters:
        high, low = (
            interpret.run(program, {**values, p.name: values[p.name] + d}, x).outputs["x"].sum() for d in (1e-6, -1e-6)
        )
        assert np.sum(found[p.name]) == pytest.approx((high - low) / 2e-6, rel=1e-6, abs=1e-8), p.name


def test_a_wrong_closed_form_is_not_taken() -> None:
    """The check: v(s) that solves another flow is refused."""
    c = sp.Symbol("(c0)", positive=True)
    right = separable.solve(c * separable.V**3)
    assert right is not None
    assert not separable._holds(2 * c * separable.V**3, right)
    assert separable._holds(c * separable.V**3, right)


NOT_SEPARABLE = ["-sin(v) + v^2 + I", "v - v^3 + I", "exp(v) + exp(2*v) + I", "-v^3*abs(v)", "-v^2*where(v > 0, 1, 2)"]


@pytest.mark.parametrize("text", NOT_SEPARABLE)
def test_what_has_no_closed_form_within_the_budget(text: str) -> None:
    model = neuron(f"equations: dv/dt = {text} + 0*I\noutputs: v\n")
    with pytest.raises(no.Unsupported, match="does not apply to v"):
        model.discretize(method="exact")


@pytest.mark.parametrize(
    "text", ["v^6*(v + 1)^6", "(1 + v^2 + sin(v))^4", "sin(sin(1 + exp(v)))", "exp(exp(v))", "1 + 2*v^-3"]
)
def test_sympy_is_not_asked_what_would_keep_it_busy(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(separable, "manualintegrate", lambda *_: pytest.fail("asked"))
    separable.solve.cache_clear()
    with pytest.raises(no.Unsupported):
        neuron(f"equations: dv/dt = {text} + 0*I\noutputs: v\n").discretize(method="exact")


def test_a_large_flow_is_left_alone_soon() -> None:
    terms = " + ".join(f"exp({k}*v)*v^{k}" for k in range(2, 30))
    model = neuron(f"equations: dv/dt = {terms} + I\noutputs: v\n")
    assert model.discretize().updates[0].method in ("rk4", "implicit_midpoint")


SLOPES = [  # start, p, q, k
    (0.0, 0.5, 1.0, 0.0), (0.3, 0.0, 1.0, 0.0), (0.3, 0.5, 1.0, 1e-12), (1.0, 0.7, -1.0, 100.0),
    (1.0, 0.7, -1.0, 250.0),
    (-100.0, 0.7, 1.0, -1.4), (100.0, 0.0, -1.0, 3.0), (0.2, 0.3, 0.4, 2.0),
]  # fmt: skip


@pytest.mark.parametrize(("v", "p", "q", "k"), SLOPES)
def test_an_exponential_of_any_slope_and_size_in_many_digits(v: float, p: float, q: float, k: float) -> None:
    """Also where its slope is 0, and where a flow that brakes itself starts beyond the range of numbers."""
    rows = ", ".join(f"{n}: {{value: {x}}}" for n, x in {"v_0": v, "p": p, "q": q, "k": k}.items())
    model = neuron(f"states: {{v: v_0}}\nparameters: {{{rows}}}\nequations: dv/dt = p + q*exp(k*v) + 0*I\noutputs: v\n")
    program, x = model.program(dt=0.2), {"I": np.zeros((1, 1, 1))}
    run = interpret.run(program, slots(model, 0.2, (1,)), x)
    assert run.outputs["v"].item() == pytest.approx(float(exponential(v, p, q, k)), rel=1e-13)
    slopes = interpret.gradients(program, slots(model, 0.2, (1,)), run, {"v": np.ones((1, 1, 1))}).parameters
    for place, name in enumerate(("v_0", "p", "q", "k")):
        with mpmath.workdps(50):
            wanted = mpmath.diff(exponential, (v, p, q, k), tuple(int(i == place) for i in range(4)))
        assert np.sum(slopes[f"p.{name}"]) == pytest.approx(float(wanted), rel=1e-9, abs=1e-12), name


def exponential(*given: float) -> mpmath.mpf:
    """v(0.2) in many digits: e^(-k v) is linear."""
    with mpmath.workdps(200):
        v, p, q, k, h = (mpmath.mpf(z) for z in (*given, 0.2))
        if k == 0:
            return v + (p + q) * h
        u, rate = mpmath.e ** (-k * v), -p * k
        return -mpmath.log(u * mpmath.e ** (rate * h) - q * k * (mpmath.expm1(rate * h) / rate if rate else h)) / k
