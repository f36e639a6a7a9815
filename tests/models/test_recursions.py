"""Neurons that are recursions of their papers, written out by hand in numpy."""

from __future__ import annotations

import numpy as np
import pytest
from recursions import RNG, N, Row, T, close, zeros

import neuroode as no


@pytest.mark.parametrize("compat", [None, "hard"])
def test_da_lif(compat: str | None) -> None:
    alpha, beta = np.tanh(0.9), np.tanh(1.2)

    def step(z: Row, x: np.ndarray) -> Row:
        v = beta * z["v"] + alpha * x
        s = (v >= 1).astype(float)
        return {"v": v * (1 - s) if compat else v - s, "s": s}

    values = {"tau_a": 0.9, "tau_b": 1.2}
    close("da_lif", RNG.normal(0.5, 1, (T, N)), step, zeros("v", "s"), compat, parameters=values)


def test_the_gain_of_da_lif_is_a_gauge_of_its_threshold() -> None:
    """Scaling alpha and v_th together leaves every spike where it was (sheet, D4)."""
    x = RNG.normal(0.5, 1, (1000, 1, N))
    for compat in (None, "hard"):
        model = no.load("da_lif", compat=compat)
        one = model.simulate(x, parameters={"tau_a": np.arctanh(0.2)})
        more = model.simulate(x, parameters={"tau_a": np.arctanh(0.74), "v_th": 3.7})
        assert (one["s"] == more["s"]).all()
        assert 50 < one["s"].sum() < 4000


def test_da_lif_with_one_minus_beta_as_gain_is_plif() -> None:
    x = RNG.normal(0.7, 1, (1000, 1, N))
    values = {"tau_a": np.arctanh(0.3), "tau_b": np.arctanh(0.7)}
    ours = no.load("da_lif", compat="hard").simulate(x, parameters=values)
    plif = no.load("plif").simulate(x, parameters={"k": 0.3})
    assert (ours["s"] == plif["s"]).all()
    assert np.abs(ours["v"] - plif["v"]).max() < 1e-12


def test_slopes_of_da_lif_in_a_run_without_spikes() -> None:
    """dV/dalpha and dV/dbeta as sums over the input (sheet, section 4), against the trained gradient."""
    import torch

    steps, alpha, beta = 40, np.tanh(0.5), np.tanh(1.5)
    x = 0.01 * RNG.normal(0, 1, steps)
    layer = no.load("da_lif").add(outputs="v").torch(1, dtype=torch.float64, reset_gradient="detached")
    layer(torch.tensor(x)[:, None, None])[0][-1].sum().backward()
    k = np.arange(1, steps + 1)
    by_alpha = (beta ** (steps - k) * x).sum() * (1 - alpha**2)
    by_beta = alpha * ((steps - k) * beta ** (steps - k - 1.0) * x).sum() * (1 - beta**2)
    assert layer.tau_a.grad.item() == pytest.approx(by_alpha, rel=1e-10)
    assert layer.tau_b.grad.item() == pytest.approx(by_beta, rel=1e-10)


def test_ts_lif() -> None:
    l_gain, s_gain = RNG.normal(0, 1, (2, N))

    def step(z: Row, x: np.ndarray) -> Row:
        v_1 = 0.8 * z["v_1"] + 0.2 * x - 0.1 * z["v_2"]
        v_2 = 0.3 * z["v_2"] + 0.7 * x - 0.8 * v_1
        a, b = (v_1 >= 1).astype(float), (v_2 >= 1).astype(float)
        return {"v_1": v_1 - 0.5 * a, "v_2": v_2 - b, "l": a, "s": b, "output": s_gain * b + l_gain * a}

    start = zeros("v_1", "v_2", "l", "s", "output")
    close("ts_lif", RNG.normal(0.6, 1.5, (T, N)), step, start, parameters={"alpha_l": l_gain, "alpha_s": s_gain}, dt=1)


def test_ts_lif_settles_at_minus_a_third_of_a_constant_input() -> None:
    """DC gains 1.1667 and -0.3333: held input below the dendrite's threshold never makes the soma spike (S1, S5)."""
    found = no.load("ts_lif").simulate(np.full((300, 1, 1), 0.8), dt=1)
    assert found["v_1"][-1].item() == pytest.approx(0.8 * 7 / 6, abs=1e-9)
    assert found["v_2"][-1].item() == pytest.approx(-0.8 / 3, abs=1e-9)
    assert found["l"].sum() == found["s"].sum() == 0


DELTA, THETA = np.array([0.02, 0.1, 0.3, 0.05, 0.8]), np.array([0.3, 1.0, 2.0, 5.0, 0.7])


@pytest.mark.parametrize("compat", [None, "paper", "reset", "code_reset"])
def test_prf(compat: str | None) -> None:
    pole = DELTA * (-0.5 + 1j * THETA)
    A = np.exp(pole)
    gain = DELTA if compat else DELTA * (A - 1) / pole

    def step(z: Row, x: np.ndarray) -> Row:
        u = A * z["u"] + gain * x
        q = A.real * (z["q"] + z["s"])
        s = (u.real >= 1 + q * (compat == "code_reset")).astype(float)
        return {"u": u - s * (compat == "reset"), "q": q, "s": s}

    def state(z: Row, x: np.ndarray) -> Row:
        row = step(z | {"q": z.get("q", np.zeros(N))}, x)
        return row if compat == "code_reset" else {k: v for k, v in row.items() if k != "q"}

    x = 40 * np.cos(np.outer(np.arange(T), DELTA * THETA))
    start = zeros("u", dtype=complex) | zeros("s") | (zeros("q") if compat == "code_reset" else {})
    close("prf", x, state, start, compat, parameters={"delta": DELTA, "theta": THETA})


def test_the_released_reset_of_prf_is_no_soft_reset() -> None:
    """A threshold raised by V*Re(acc), acc <- A*(acc + s), is the soft reset; with Re(A) for A it is another neuron."""
    x = RNG.normal(0, 30, (2000, 1, N))
    values = {"delta": DELTA, "theta": THETA}
    reset = no.load("prf", compat="reset").simulate(x, parameters=values)["s"]
    code = no.load("prf", compat="code_reset").simulate(x, parameters=values)["s"]
    right = no.load("prf", compat="code_reset").replace(
        equations="q[t] = exp(delta*(-1/tau + i*theta))*(q[t-1] + s[t-1]) : complex",
        spike="real(u) >= v_th*(1 + real(q))",
    )
    assert (right.simulate(x, parameters=values)["s"] == reset).all()
    assert (code != reset).mean() > 0.01
    assert 0.01 < reset.mean() < 0.5


def test_the_decoupled_reset_of_the_prf_paper_needs_the_decay_of_algorithm_2() -> None:
    """Equations 7 to 11 leave the decay of A out and give other spikes; Algorithm 2 gives those of the soft reset."""
    text = {"algorithm_2": "A[t] = 0.9*(A[t-1] + s[t-1])", "equations_7_to_11": "A[t] = A[t-1] + s[t-1]"}
    plain = no.Neuron("soft", dt=1, equations="u[t] = 0.9*u[t-1] + I", spike="u >= 1", reset="u -= 1")
    x = RNG.normal(0.3, 0.5, (1024, 1, 20))
    wanted = plain.simulate(x)["s"]
    wrong = {}
    for name, line in text.items():
        threshold = "1 + A" if name == "algorithm_2" else "1 + 0.9*A"
        made = no.Neuron(name, dt=1, equations=f"u[t] = 0.9*u[t-1] + I; {line}", spike=f"u >= {threshold}")
        wrong[name] = (made.simulate(x)["s"] != wanted).mean()
    assert wrong["algorithm_2"] == 0
    assert wrong["equations_7_to_11"] > 0.1


@pytest.mark.parametrize("compat", [None, "zoh", "polar"])
def test_s5_rf(compat: str | None) -> None:
    b, omega = RNG.uniform(0.3, 0.8, N), RNG.uniform(-4, 4, N)
    pole = DELTA * (-b + 1j * omega)
    gain = DELTA * (np.exp(pole) - 1) / pole if compat == "zoh" else DELTA

    def step(z: Row, x: np.ndarray) -> Row:
        u = np.exp(pole) * z["u"] + gain * x
        return {"u": u, "s": ((abs(u) if compat == "polar" else u.real) > 1).astype(float)}

    x = 30 * np.cos(np.outer(np.arange(T), DELTA * omega))
    start = zeros("u", dtype=complex) | zeros("s")
    close("s5_rf", x, step, start, compat, parameters={"b": b, "omega": omega, "eta": DELTA})


@pytest.mark.parametrize("compat", [None, "euler"])
def test_harmonic_rf(compat: str | None) -> None:
    """Exact: both states rotate with the complex amplitude v' + (xi + i*Omega)*v, Omega^2 = omega^2 - xi^2."""
    omega, xi, d = RNG.uniform(5, 25, N), RNG.uniform(0.3, 2, N), 0.01
    pole = -xi + 1j * np.sqrt(omega**2 - xi**2)

    def exact(z: Row, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        w = np.exp(pole * d) * (z["u"] - pole.conj() * z["v"]) + (np.exp(pole * d) - 1) / pole * x
        v = w.imag / pole.imag
        return w.real - xi * v, v

    def euler(z: Row, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return z["u"] + d * (x - 2 * xi * z["u"] - omega**2 * z["v"]), z["v"] + d * z["u"]

    def step(z: Row, x: np.ndarray) -> Row:
        u, v = (euler if compat else exact)(z, x)
        return {"u": u, "v": v, "s": (v > 1).astype(float)}

    x = 300 * np.cos(0.01 * np.outer(np.arange(T), omega))
    close("harmonic_rf", x, step, zeros("u", "v", "s"), compat, parameters={"omega": omega, "xi": xi})


def test_izhikevich_script() -> None:
    """The published program: spikes and resets first, then two half steps of v and one of u with the new v."""
    x = np.random.default_rng(11).normal(8, 4, (100, N))  # short, since differences grow with each spike
    found = no.load("izhikevich", compat="script").simulate(x[:, None], dt=1)
    v, u, rows = np.full(N, -65.0), np.full(N, -13.0), []
    for now in x:
        fired = v >= 30
        v, u = np.where(fired, -65, v), np.where(fired, u + 8, u)
        v = v + 0.5 * (0.04 * v**2 + 5 * v + 140 - u + now)
        v = v + 0.5 * (0.04 * v**2 + 5 * v + 140 - u + now)
        u = u + 0.02 * (0.2 * v - u)
        rows.append((v, u))
    assert found["v.before"][:, 0] == pytest.approx(np.array([v for v, _ in rows]), abs=1e-6)
    assert found["u.before"][:, 0] == pytest.approx(np.array([u for _, u in rows]), abs=1e-6)
    assert found["s"].sum() >= 5


def _glif(z: Row, x: np.ndarray, p: dict[str, np.ndarray], t: int) -> Row:
    """The released step of the gated LIF; z["s"] is the spike of the step before."""
    al, be, ga = (1 / (1 + np.exp(-p[k])) for k in "abc")
    decayed = (1 - al * (1 - p["tau"])) * z["u"] * (1 - ga * z["s"]) - (1 - al) * p["leak"]
    u = decayed + x * (1 - be * (1 - p["g"][..., t])) - (1 - ga) * p["drop"] * z["s"]
    return {"u": u, "s": (u > p["v_th"]).astype(float)}


@pytest.mark.parametrize("gates", [(0.3, -0.5, 0.8), (40, 0, 40), (-40, -40, -40)], ids=["mixed", "hard", "linear"])
def test_glif(gates: tuple[float, float, float]) -> None:
    """Also the corners: al = ga = 1 is a LIF with hard reset, al = 0 leaks a constant and ga = 0 subtracts (L7)."""
    p = dict(zip("abc", (np.full(N, float(g)) for g in gates), strict=True))
    p |= {"tau": np.full(N, 0.25), "v_th": np.full(N, 0.5), "drop": np.full(N, 0.4), "leak": np.full(N, 0.05)}
    p["g"] = RNG.uniform(0.1, 0.9, (N, 64))
    x, state, rows = RNG.normal(0.4, 0.4, (64, N)), zeros("u", "s"), []
    for t, row in enumerate(x):
        state = _glif(state, row, p, t)
        rows.append(state)
    found = no.load("glif").simulate(x[:, None], parameters=p)
    for key in ("u", "s"):
        assert np.abs(found[key][:, 0] - np.array([r[key] for r in rows])).max() <= 1e-12
    assert 0.05 < found["s"].mean() < 0.95


def test_ce_lif() -> None:
    """The threshold reads the potential before this step's update and before the reset."""
    E, x = RNG.normal(0.01, 0.05, (N, 784)), RNG.normal(0.3, 0.4, (T, N))
    v, th, y, rows = np.zeros(N), np.full(N, 0.5), np.zeros(N), []
    for t, row in enumerate(x):
        th = th + E[:, t] * v - 0.02 * (th - 0.5)
        v = 0.5 * v * (1 - y) + row
        y = (v > th).astype(float)
        rows.append((th, v, y))
    found = no.load("ce_lif").simulate(x[:, None], parameters={"E": E})
    for k, name in enumerate(("th", "v", "y")):
        assert np.abs(found[name][:, 0] - np.array([r[k] for r in rows])).max() <= 1e-12
    assert 0.05 < found["y"].mean() < 0.95


def test_memory_of_ce_lif_decays_like_its_threshold() -> None:
    """d th[T]/d v[k] = E[k+1]*0.98^(T-k-1) without spikes: slow, and no preservation (C4)."""
    E = 0.01 + 0.005 * np.sin(np.arange(784.0))[None]
    x = np.zeros((60, 1, 1))
    base = no.load("ce_lif").simulate(x, parameters={"E": E})["th"].ravel()
    x[10] = 1e-3
    moved = no.load("ce_lif").simulate(x, parameters={"E": E})["th"].ravel()
    k = np.arange(10, 59)
    by_v = [sum(E[0, j + 1] * 0.98 ** (t - j - 1) * 0.5 ** (j - 10) for j in range(10, t)) for t in k + 1]
    assert moved[11:] - base[11:] == pytest.approx(1e-3 * np.array(by_v), rel=1e-9)


@pytest.mark.parametrize("name", ["glif", "ce_lif"])
def test_a_table_ends_at_its_horizon_and_trains(name: str) -> None:
    import torch

    from neuroode._errors import RunError

    layer = no.load(name).torch(3, dtype=torch.float64)
    steps = layer.neuron.spec.horizon
    assert steps is not None
    x = torch.tensor(RNG.normal(0.4, 0.4, (40, 2, 3)))
    out, carry = layer(x)
    out.sum().backward()
    table = {"glif": "g", "ce_lif": "E"}[name]
    grad = dict(layer.named_parameters())[f"parameters_of_neuron.raw_{table}"].grad
    assert grad is not None
    assert grad.shape == (3, steps)
    assert grad[:, 1:39].abs().sum() > 0
    assert not grad[:, 40:].any()
    with pytest.raises(RunError, match="horizon"):
        layer(torch.zeros(steps, 2, 3, dtype=torch.float64), carry)
