"""Methods for differentials: which is taken and why, exact transitions against expm, stationary laws, refusals."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import expm
from transitions import stationary, transition, van_loan

import neuroode as no
from neuroode.spec.read_yaml import read_text

HARMONIC = """
neuron: harmonic
inputs: {I: current}
parameters:
  gamma: {value: 0.5, domain: nonnegative}
  T: {value: 1, domain: positive}
  k: {value: 1}
equations: |
  U = k*q^2/2
  dq = p*dt
  dp = (-grad(U, q) - gamma*p + I)*dt + sqrt(2*gamma*T)*dW
outputs: {q: q, p: p}
"""


def harmonic() -> no.Neuron:
    return no.Neuron.from_spec(read_text(HARMONIC))


def made(equations: str, **keys: object) -> no.Neuron:
    return no.Neuron("made", **{"equations": equations, "dt": 0.1, "parameters": {}, **keys})


def methods(neuron: no.Neuron, method: object = None) -> dict[str, str]:
    return {"".join(u.states): u.method for u in neuron.discretize(0.1, method).updates}


@pytest.mark.parametrize("gamma", [0.0, 1e-9, 0.3, 2.0, 2.000001, 5.0, 60.0], ids=str)
@pytest.mark.parametrize("h", [1e-3, 0.3, 4.0], ids=str)
def test_an_oscillator_has_the_transition_of_van_loan(gamma: float, h: float) -> None:
    """Under-, critically and over-damped; k = 1, so gamma = 2 is critical."""
    B, Q = np.array([[0, 1], [-1, -gamma]]), np.diag([0, 2 * gamma * 0.7])
    if gamma * h > 5:  # e^(-B h) grows: Van Loan's formula loses digits, the one by the stationary law none
        P = expm(B * h)
        S = 0.7 * (np.eye(2) - P @ P.T)
    else:
        P, S = van_loan(B, Q, h)
    A, _, found = transition(harmonic(), h, "exact", {"gamma": gamma, "T": 0.7})
    np.testing.assert_allclose(A, P, atol=1e-12)
    np.testing.assert_allclose(found, S, atol=1e-12)


@pytest.mark.parametrize("k", [-2.0, 0.0, 1e-7], ids=str)
def test_a_potential_without_a_stationary_law(k: float) -> None:
    B, Q = np.array([[0, 1], [-k, -0.5]]), np.diag([0, 1.0])
    A, _, S = transition(harmonic(), 0.4, "exact", {"k": k})
    P, wanted = van_loan(B, Q, 0.4)
    np.testing.assert_allclose(A, P, atol=1e-13)
    np.testing.assert_allclose(S, wanted, atol=1e-13)


def test_a_free_particle_keeps_small_variances_exact() -> None:
    """k = gamma = 0 has S = sigma^2 [[h^3/3, h^2/2], [h^2/2, h]]: relative to each entry."""
    free = made("dq = p*dt\ndp = -g*p*dt + 0.8*dW", states={"q": 0}, parameters={"g": no.Parameter(0.0)})
    h = 1e-4
    S = transition(free, h)[2]
    np.testing.assert_allclose(S, 0.64 * np.array([[h**3 / 3, h**2 / 2], [h**2 / 2, h]]), rtol=1e-12)


def test_three_states_and_two_noises() -> None:
    three = made("dx = (-x + y)*dt + 0.3*dW_a\ndy = (-2*y + z)*dt + 0.5*dW_a - 0.2*dW_b\ndz = (-z/2 - x/3)*dt")
    B = np.array([[-1, 1, 0], [0, -2, 1], [-1 / 3, 0, -0.5]])
    G = np.array([[0.3, 0], [0.5, -0.2], [0, 0]])
    P, wanted = van_loan(B, G @ G.T, 0.25)
    A, b, S = transition(three, 0.25)
    assert methods(three) == {"xyz": "exact"}
    np.testing.assert_allclose(A, P, atol=1e-14)
    np.testing.assert_allclose(S, wanted, atol=1e-14)
    assert not b.any()


def test_a_common_noise_makes_one_transition() -> None:
    two = made("dx = -x*dt + dW\ndy = -3*y*dt + 2*dW")
    P, wanted = van_loan(np.diag([-1.0, -3.0]), np.array([[1, 2], [2, 4.0]]), 0.2)
    A, _, S = transition(two, 0.2)
    np.testing.assert_allclose(A, P, atol=1e-14)
    np.testing.assert_allclose(S, wanted, atol=1e-14)
    assert [n.name for n in two.program().noise] == ["xi.x", "xi.y"]


def test_one_state_takes_its_own_increments() -> None:
    ou = made("dx = -x/tau*dt + s*dW_1 + 2*s*dW_2", parameters={"tau": 0.7, "s": 0.3})
    assert [(n.name, n.kind) for n in ou.program().noise] == [("dW_1", "wiener"), ("dW_2", "wiener")]
    A, _, S = transition(ou, 0.2)
    decay = np.exp(-0.2 / 0.7)
    np.testing.assert_allclose([A[0, 0], S[0, 0]], [decay, 0.45 * 0.7 / 2 * (1 - decay**2)], rtol=1e-14)


def test_what_noise_does_not_reach_stays_deterministic() -> None:
    chain = made("da/dt = -a\ndx = (-x + a)*dt + dW")
    assert [n.name for n in chain.program().noise] == ["dW"]
    assert transition(chain, 0.2)[2][0, 0] == 0


@pytest.mark.parametrize("h", [0.5, 0.25, 0.125, 0.0625], ids=str)
def test_stationary_laws_of_splittings(h: float) -> None:
    """k = 1, gamma = 1/2, T = 1: the fact sheet's table, and its closed forms."""
    baoab = stationary(*transition(harmonic(), h, "baoab")[::2])
    obabo = stationary(*transition(harmonic(), h, "obabo")[::2])
    np.testing.assert_allclose(baoab, np.diag([1, 1 - h**2 / 4]), atol=1e-10)
    np.testing.assert_allclose(obabo, np.diag([1 / (1 - h**2 / 4), 1]), atol=1e-10)
    exact = stationary(*transition(harmonic(), h, "exact")[::2])
    np.testing.assert_allclose(exact, np.eye(2), atol=1e-10)


def test_stationary_laws_of_euler_maruyama() -> None:
    for h, wanted in ((0.25, (1.03, 1.10)), (0.125, (0.34, 0.37)), (0.0625, (0.14, 0.16))):
        V = stationary(*transition(harmonic(), h, "euler_maruyama")[::2])
        np.testing.assert_allclose(np.diag(V) - 1, wanted, atol=0.006)
    A = transition(harmonic(), 0.5, "euler_maruyama")[0]
    assert abs(np.linalg.eigvals(A)).max() >= 1  # no stationary law


def test_what_auto_takes() -> None:
    assert methods(harmonic()) == {"qp": "exact"}
    well = "dq = p*dt\ndp = (q - q^3 - p)*dt + dW"
    assert methods(made(well)) == {"qp": "baoab"}
    assert methods(made("dx = (x - x^3)*dt + dW")) == {"x": "euler_maruyama"}
    assert methods(made("dx = (x - x^3)*dt + x*dW", calculus="stratonovich")) == {"x": "heun_stratonovich"}
    assert methods(made(f"{well}\ndx = -x*dt + dW_x\ndv/dt = -v")) == {"qp": "baoab", "x": "exact", "v": "exact"}
    mixed = made("de = -e*dt + dW\ndv/dt = v - v^3 + e")
    assert methods(mixed) == {"e": "exact", "v": "euler_maruyama"}
    assert "no exact transition: v is nonlinear" in str(mixed.discretize())
    assert methods(mixed, {"e": "euler_maruyama", "v": "euler_maruyama"}) == {"ev": "euler_maruyama"}
    assert methods(made(f"{well}\ndv/dt = -v"), {"q": "obabo", "p": "obabo", "v": "euler"}) == {
        "qp": "obabo",
        "v": "euler",
    }


@pytest.mark.parametrize(
    ("equations", "method", "message"),
    [
        ("dx = (x - x^3)*dt + dW", "exact", "method 'exact' does not apply to x: x is nonlinear"),
        ("dx = -x*dt + x*dW", "exact", "the noise of x reads what moves within the step"),
        ("dx = -x*dt + dW", "baoab", "no pair dq = p\\*dt"),
        ("dq = p*dt\ndp = (-q - p^3)*dt + dW", "baoab", "the friction of p is 3\\*p\\^2, which moves"),
        ("dq = p*dt\ndp = (-q - p)*dt + q*dW", "baoab", "the noise of p reads states"),
        ("dx = -x*dt + dW", "rk4", "method 'rk4' does not apply to x: it is for flows without noise"),
        (
            "dx = -x*dt + dW\ndy = (x - y)*dt",
            {"x": "exact"},
            "the states y, x are coupled, some by noise|x, y are coupled",
        ),
        ("dx = -x*dt + floor(x)*dW", "heun_stratonovich", "the noise of x has no derivative in x"),
    ],
)
def test_what_does_not_apply_is_refused_with_the_reason(equations: str, method: object, message: str) -> None:
    with pytest.raises(no.Unsupported, match=message):
        made(equations).discretize(method=method)


def test_noise_has_no_time_inside_the_step_and_no_ordinary_solver() -> None:
    spiking = made("dv = -v*dt + dW", spike="v > 1", within_step="locate")
    with pytest.raises(no.Unsupported, match="a path of v has noise"):
        spiking.program()
    with pytest.raises(no.Unsupported, match="has noise in v"):
        made("dv = -v*dt + dW").torch(1, solver="torchdiffeq")


def test_each_scheme_converts_the_other_calculus() -> None:
    """Geometric Brownian motion: Stratonovich dX = a X dt + b X dW is Ito with the drift a + b^2/2."""
    line = "dx = a*x*dt + b*x*dW"
    numbers = {"a": 0.3, "b": 0.4}
    ito, stratonovich = (made(line, parameters=numbers, calculus=c) for c in ("ito", "stratonovich"))
    same = made("dx = (a + b^2/2)*x*dt + b*x*dW", parameters=numbers)
    noise = {"dW": np.random.default_rng(0).normal(0, 0.1**0.5, (20, 3, 1))}

    def path(neuron: no.Neuron, method: str) -> np.ndarray:
        return neuron.replace(states={"x": 1}).simulate(steps=20, batch=3, method=method, noise=noise)["x"]

    def started(neuron: no.Neuron) -> no.Neuron:
        return neuron.add(states={"x": 1})

    for method in ("euler_maruyama", "heun_stratonovich"):
        rows = [started(n).simulate(steps=20, batch=3, method=method, noise=noise)["x"] for n in (stratonovich, same)]
        np.testing.assert_allclose(rows[0], rows[1], rtol=1e-13)
        other = started(ito).simulate(steps=20, batch=3, method=method, noise=noise)["x"]
        assert abs(other - rows[0]).max() > 0.01


@pytest.mark.parametrize(("s", "r", "w"), [(0.0, 0.0, 0.3), (0.0, 0.4, 0.3), (0.4, 0.0, 0.3), (0.3, 0.2, 0.0)])
@pytest.mark.parametrize("third", ["", "\ndz = (w*p - z)*dt"])
def test_coefficients_that_are_0_leave_a_transition_with_slopes(s: float, r: float, w: float, third: str) -> None:
    """A state whose variance is 0 once divided 0 by 0."""
    rows = {"s": s, "r": r, "w": w}
    n = no.Neuron(
        "still", dt=0.3, parameters={k: {"value": v, "trainable": True} for k, v in rows.items()}, method="exact",
        equations="dp = (-p + w*q)*dt + s*dW\ndq = (-2*q + w*p)*dt + r*dW_1" + third,
        outputs={x: x for x in "pqz"[: 3 if third else 2]},
    )  # fmt: skip
    A = np.array([[-1, w, 0], [w, -2, 0], [w, 0, -1]])
    size = 3 if third else 2
    _, _, S = transition(n, 0.3)
    wanted = van_loan(A[:size, :size], np.diag([s**2, r**2, 0])[:size, :size], 0.3)[1]
    np.testing.assert_allclose(S, wanted, atol=1e-13)
    layer = n.torch(1, dtype=torch.float64)
    found, _ = layer(steps=3, batch=2, seed=0)
    sum(y.square().sum() for y in found.values()).backward()
    assert all(p.grad.isfinite() for p in layer.parameters())


def test_a_coefficient_that_all_noise_shares_has_a_slope_at_0() -> None:
    n = no.Neuron("alike", dt=0.3, parameters={"s": {"value": 0.0, "trainable": True}}, method="exact",
                  equations="da = -a*dt + s*dW\ndb = -2*b*dt + s*dW", outputs={"a": "a", "b": "b"})  # fmt: skip
    layer = n.torch(1, dtype=torch.float64)
    layer(steps=1, batch=1, seed=0)[0]["a"].sum().backward()
    at_1 = layer.set(s=1.0)(steps=1, batch=1, seed=0)[0]["a"].sum()
    assert next(layer.parameters()).grad.item() == pytest.approx(at_1.item(), abs=1e-12)


@pytest.mark.parametrize("off", [1e-10, -1e-7, 1e-4, -1e-3, 0.1])
def test_small_variances_keep_their_digits_near_the_critical_point(off: float) -> None:
    """(C - phi_1)/D by its quotient would lose as many digits as D is small."""
    gamma, h = 2 + off, 0.01
    B, Q = np.array([[0, 1], [-1, -gamma]]), np.diag([0, 2 * gamma * 0.7])
    _, _, S = transition(harmonic(), h, "exact", {"gamma": gamma, "T": 0.7})
    np.testing.assert_allclose(S, van_loan(B, Q, h)[1], rtol=1e-10)


@pytest.mark.parametrize("ratio", [1.0, 4 / 3, 0.1, 7.7])
def test_noise_of_fewer_dimensions_than_states_has_a_root_with_slopes(ratio: float) -> None:
    """Equal leaks that read one noise: the second pivot is rounding, of either sign."""
    for s in np.linspace(0.1, 0.5, 7):
        n = made("da = -a*dt + s*dW\ndb = -b*dt + r*s*dW", method="exact", outputs={"a": "a", "b": "b"},
                 parameters={"s": {"value": float(s), "trainable": True}, "r": ratio})  # fmt: skip
        layer = n.torch(1, dtype=torch.float64, schedule="eager")
        y, _ = layer(steps=2, batch=3, seed=0)
        torch.testing.assert_close(y["b"], ratio * y["a"], atol=1e-6, rtol=0)
        y["b"].square().sum().backward()
        assert next(layer.parameters()).grad.isfinite()


@pytest.mark.parametrize(
    ("equations", "reason", "keys"),
    [
        ("dz = (-0.3 + 2*i)*z*dt + 0.2*dW : complex", "its states are complex: their noise has two", {}),
        ("dx = -x*dt + (1 + t)*dW", "the noise of x reads what moves within the step", {}),
        (
            "dq = p*dt\ndp = (-(1 + I)*q - p + z)*dt + dW\ndz = -z*dt + 0.5*dW_2",
            "noise reaches 3 coupled states, whose coefficients change from step to step, more than 2",
            {"inputs": {"I": "current"}},
        ),
    ],
)
def test_linear_neurons_without_a_transition_say_why(equations: str, reason: str, keys: dict[str, object]) -> None:
    (update,) = made(equations, **keys).discretize().updates
    assert update.method == "euler_maruyama"
    assert reason in update.why


@pytest.mark.parametrize(
    ("equations", "message"),
    [
        ("dq = p*dt\ndr = p*dt\ndp = (-q^3 - r - p)*dt + dW", "velocity of two positions"),
        ("dq = p*dt\ndp = (-q^3 - p - b)*dt + dW\nda = b*dt\ndb = (-a - b)*dt + dW_2", "the force on p reads b"),
        ("dq = p*dt\ndp = (-q^3 - p + z)*dt + dW\ndz = -z*dt + dW_2", "z: no pair"),
    ],
)
def test_what_is_no_langevin_equation(equations: str, message: str) -> None:
    with pytest.raises(no.Unsupported, match=message):
        made(equations).discretize(method="baoab")
    assert "euler_maruyama" in methods(made(equations)).values()


def test_noise_that_a_nonlinear_state_shares_stays_one_noise() -> None:
    """An exact transition of q, p would draw numbers of its own."""
    shared = made("dq = p*dt\ndp = (-q - p)*dt + dW\ndv = (v - v^3)*dt + 0.5*dW")
    assert methods(shared) == {"qpv": "euler_maruyama"}
    apart = made("dq = p*dt\ndp = (-q - p)*dt + dW\ndv = (v - v^3)*dt + 0.5*dW_v")
    assert methods(apart) == {"qp": "exact", "v": "euler_maruyama"}
