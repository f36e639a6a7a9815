"""Spikes of quadratic neurons: blow-up within a step, peaks at infinity, the interval between spikes; qif.md (e)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

import neuroode as no

Array = np.ndarray
THETA = {"inputs": {"I": "current"}, "equations": "dv/dt = v^2 + I", "spike": "v >= inf", "reset": "v = -inf"}
QIF = no.load("qif")


def own(**changes: object) -> no.Neuron:
    """A theta neuron with other keys."""
    return no.Neuron("own", dt=1.0, **{**THETA, **changes})


def reach(A: Array, B: Array, C: Array, v0: Array, level: Array) -> Array:
    """First time at which v exceeds a level above v0, inf for never (qif.md (c)); level inf: blow-up."""
    D, w = A * C - B**2 / 4, np.sqrt(abs(A * C - B**2 / 4))
    with np.errstate(all="ignore"):
        finite = (level - v0) / (A * v0 * level + B * (level + v0) / 2 + C)
        q = np.where(np.isinf(level), 1 / (A * v0 + B / 2), finite)
        turning = np.arctan(w * q) / w
        turning = np.where(turning < 0, turning + np.pi / w, turning)
        creeping = np.where((w * q > 0) & (w * q < 1), np.arctanh(np.clip(w * q, 0, 1)) / w, np.inf)
    return np.where(D > 0, turning, creeping)


def drawn(count: int, seed: int) -> tuple[Array, ...]:
    rng = np.random.default_rng(seed)
    A, B, C = np.exp(rng.normal(size=count) - 1), rng.normal(size=count), 1.5 * rng.normal(size=count)
    v0 = rng.uniform(-1, 1, count)
    return A, B, C, v0, v0 + np.exp(rng.normal(size=count))


def test_times_of_thresholds_against_an_integrator() -> None:
    """The oracle of the next test: closed form and event location agree, also on `never`."""
    spikes = 0
    for A, B, C, v0, level in zip(*drawn(220, 0), strict=True):

        def above(t: float, v: Array, level: float = level) -> float:
            return v[0] - level

        above.terminal = True
        run = solve_ivp(lambda t, v, A=A, B=B, C=C: A * v * v + B * v + C, (0, 20), [v0], "DOP853",
                        events=above, rtol=1e-11, atol=1e-12)  # fmt: skip
        found, wanted = reach(A, B, C, v0, level), run.t_events[0]
        spikes += wanted.size
        assert abs(found - wanted[0]) < 1e-9 * max(1, found) if wanted.size else found > 20
    assert spikes >= 100


def test_a_step_fires_where_the_threshold_is_reached_within_it() -> None:
    """Also where v has passed infinity; v moves one way within a step, so its end tells."""
    A, B, C, v0, level = drawn(3000, 1)
    one = {n: no.Parameter(1.0, per="neuron") for n in ("A", "B", "C", "v0", "level")}
    one["A"] = no.Parameter(1.0, domain="positive", per="neuron")
    neuron = no.Neuron("one", dt=1.0, inputs={"I": "current"}, parameters=one, states={"v": "v0"},
                       equations="dv/dt = A*v^2 + B*v + C + I", spike="v >= level", reset="v = v0")  # fmt: skip
    found = neuron.simulate(np.zeros((1, 1, 3000)), dt=1.0, size=3000,
                            parameters={"A": A, "B": B, "C": C, "v0": v0, "level": level})  # fmt: skip
    wanted = reach(A, B, C, v0, level) <= 1
    assert 300 < wanted.sum() < 2700
    assert (reach(A, B, C, v0, np.full(3000, np.inf)) <= 1).sum() > 150  # blow up within the step
    assert np.array_equal(found["s"][0, 0].astype(bool), wanted)
    assert np.isfinite(found["v.before"]).all()
    assert (found["v.before"][0, 0][wanted] >= np.minimum(level, 1e6 / A)[wanted]).all()


@pytest.mark.parametrize("when", ["v > 1e9", "v >= 1e9 and I > 0", "v >= inf", "2*v > 3 + v[t-1]"])
def test_no_threshold_lies_beyond_the_peak(when: str) -> None:
    """However high it is: a step in which v passes infinity is a spike, three half turns too."""
    neuron = own(spike=when, reset="v = 0")
    x = np.array([0.5, 3.0, 20.0, 36.0, 80.0, 1e4])
    found = neuron.simulate(x.reshape(1, 1, -1), size=6)
    assert list(found["s"].ravel()) == [0, 1, 1, 1, 1, 1]
    assert np.isfinite(found["v.before"]).all()


@pytest.mark.parametrize("schedule", ["eager", "sequential"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("compat", [None, "theta"])
def test_values_and_gradients_are_finite_whatever_the_drive(
    compat: str | None, dtype: torch.dtype, schedule: str
) -> None:
    layer = no.load("qif", compat=compat).torch(40, dtype=dtype, schedule=schedule, surrogate="fast_sigmoid")
    size = torch.logspace(-3, 4, 40, dtype=dtype)
    x = (size * torch.randn(20, 1, 40, generator=torch.Generator().manual_seed(0), dtype=dtype)).requires_grad_()
    trace = layer.trace(x)
    assert all(v.isfinite().all() for v in trace.values())
    assert trace["s"].mean() > 0.1
    trace["s"].sum().backward()
    assert x.grad.isfinite().all()
    assert all(p.grad.isfinite().all() for p in layer.parameters())


def fine_theta(x: Array, dt: float, parts: int) -> Array:
    """Spikes of the phase phi with v = tan(phi/2), by Runge and Kutta in small steps (Ermentrout and Kopell)."""
    phase, h = np.zeros(x.shape[1]), dt / parts

    def slope(p: Array, current: Array) -> Array:
        return 1 - np.cos(p) + (1 + np.cos(p)) * current

    rows = []
    for current in x:
        before = np.floor((phase + np.pi) / (2 * np.pi))
        for _ in range(parts):
            a = slope(phase, current)
            b = slope(phase + h / 2 * a, current)
            c = slope(phase + h / 2 * b, current)
            phase = phase + h / 6 * (a + 2 * b + 2 * c + slope(phase + h * c, current))
        rows.append(np.floor((phase + np.pi) / (2 * np.pi)) - before)
    return np.stack(rows)


def test_spikes_of_the_theta_neuron_are_those_of_its_phase() -> None:
    x = np.random.default_rng(3).uniform(-1, 6, (400, 20))
    wanted = fine_theta(x, 0.1, 20)
    found = own().simulate(x[:, None], dt=0.1, size=20)["s"][:, 0]
    assert wanted.sum() > 400
    assert np.array_equal(found, wanted)


def test_the_interval_between_spikes_is_that_of_the_closed_form() -> None:
    """ISI = pi/sqrt(I); the first spike comes half an interval after v = 0, the last phase is read off v."""
    current = np.array([0.5, 1.0, 2.0, 8.0])
    found = own().simulate(np.broadcast_to(current, (500, 1, 4)), dt=0.25, size=4)
    root, count = np.sqrt(current), found["s"].sum(axis=(0, 1))
    since = (np.pi / 2 + np.arctan(found["v"][-1, 0] / root)) / root
    interval = (125.0 - np.pi / 2 / root - since) / (count - 1)
    assert np.abs(interval - np.pi / root).max() < 1e-8
    assert np.abs(interval[2] - 2.2214414691) < 1e-8


def test_more_than_half_a_turn_in_a_step_is_one_spike_and_the_right_phase() -> None:
    """I = 100: w = 10, three passages in a step of 1."""
    found = own().simulate(np.full((5, 1, 1), 100.0), dt=1.0)
    assert found["s"].sum() == 5
    assert np.abs(found["v"].ravel() - 10 * np.tan(10.0 * np.arange(1, 6))).max() < 1e-10


def test_a_passage_counts_at_a_finite_threshold_without_reset() -> None:
    """Nothing stops v, so it comes back from -inf; the guard has seen it beyond 1."""
    found = own(spike="v >= 1", reset=None).simulate(np.full((40, 1, 1), 2.0), dt=0.5)
    peak = own().simulate(np.full((40, 1, 1), 2.0), dt=0.5)
    assert np.array_equal(found["v"], peak["v"])
    above = (found["v"] >= 1) | (peak["s"] == 1)
    assert np.array_equal(found["s"], above.astype(float))
    assert (found["v"][peak["s"] == 1] < 1).any()


def test_a_pole_at_the_very_end_of_a_step() -> None:
    """v0 = 1, I = 0: the denominator is 0 at t = 1. Numbers stay finite, and the spike is there once."""
    for dtype in (torch.float64, torch.float32):
        layer = own(states={"v": 1}).torch(1, dt=1.0, dtype=dtype, schedule="eager")
        trace = layer.trace(torch.zeros(5, 1, 1, dtype=dtype))
        assert trace["v"].isfinite().all()
        assert trace["s"].sum() == 1


REFUSED = [
    ({"equations": "dv/dt = -v + I"}, "needs the exact step of a Riccati flow; v is stepped by exact"),
    ({"method": "euler"}, "needs the exact step of a Riccati flow; v is stepped by euler"),
    ({"equations": "dv/dt = v^2 + u + I\ndu/dt = -u + v"}, "needs the exact step of a Riccati flow"),
    ({"equations": "dv/dt = -v^2 + I"}, "goes to that infinity only where -1 is positive"),
    ({"equations": "dv/dt = a*v^2 + I", "parameters": {"a": no.Parameter(1.0)}}, "only where a is positive"),
    ({"reset": "v = inf"}, "sets v to inf, which is no passage through infinity"),
    ({"spike": "v >= 10"}, "sets v to -inf, which is no passage through infinity"),
    ({"spike": "v > inf"}, "the guard 'v > inf' is the same for every number"),
    ({"spike": "v >= -inf"}, "the guard 'v >= -inf' is the same for every number"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "message"), REFUSED, ids=lambda c: str(c)[:40])
def test_infinity_is_refused_where_it_means_nothing(changes: dict[str, object], message: str) -> None:
    with pytest.raises(no.NeuroodeError) as caught:
        own(**changes).program()
    assert message in str(caught.value)


def test_the_mirrored_neuron() -> None:
    """v -> -v: a flow that falls to -inf."""
    x = np.random.default_rng(3).uniform(-1, 6, (100, 1, 1))
    mirrored = own(equations="dv/dt = -v^2 - I", spike="v <= -inf", reset="v = inf").simulate(x, dt=0.1)
    found = own().simulate(x, dt=0.1)
    assert np.array_equal(mirrored["v"], -found["v"])
    assert np.array_equal(mirrored["s"], found["s"])


def edge(inside: float, outside: float) -> float:
    """The start of the Euler map between one that stays and one that runs away, by bisection."""
    free = no.load("qif", compat="euler_map").replace(parameters={"v_th": 1e6}).add(
        states={"v": "v0"}, parameters={"v0": no.Parameter(0.0, per="neuron")}
    )  # fmt: skip
    for _ in range(4):
        starts = np.linspace(inside, outside, 41)
        ran = free.simulate(np.zeros((300, 1, 41)), size=41, parameters={"v0": starts})["s"].any(axis=(0, 1))
        first = int(ran.argmax())
        inside, outside = starts[first - 1], starts[first]
    return float((inside + outside) / 2)


def test_the_basin_of_the_euler_map() -> None:
    """[u_1 - 1/a, u_2] (qif.md (c)); the exact flow has no left end: from any start below it comes to rest."""
    assert abs(edge(0.2, 0.9) - 0.5) < 1e-6
    assert abs(edge(-3.0, -4.7) + 4.0) < 1e-6
    exact = QIF.replace(parameters={"v_th": 10}).add(states={"v": -1e3})
    assert exact.simulate(np.zeros((100, 1, 1)))["s"].sum() == 0


def test_the_error_of_euler_is_of_first_order() -> None:
    free = QIF.replace(parameters={"v_th": 100}).add(states={"v": 0.3})
    exact = free.simulate(np.full((4, 1, 1), 0.05), dt=1.0)["v"][-1].item()
    errors = [abs(free.simulate(np.full((4 * n, 1, 1), 0.05), dt=1 / n, method="euler")["v"][-1].item() - exact)
              for n in (8, 16, 32, 64)]  # fmt: skip
    assert np.abs(np.log2(np.divide(errors[:-1], errors[1:])) - 1).max() < 0.1


def test_gradcheck_where_the_discriminant_is_zero() -> None:
    """dv/dt = v^2 - v/2 + 1/16 + I at I = 0: eager text and kernel."""
    still = own(equations="dv/dt = v^2 - 0.5*v + 0.0625 + I", spike=None, reset=None, states={"v": 0.1}, outputs="v")
    for schedule in ("eager", "sequential"):
        layer = still.torch(2, dtype=torch.float64, schedule=schedule)
        x = torch.zeros(3, 1, 2, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(lambda x, layer=layer: layer(x)[0], x, atol=1e-8, rtol=1e-8)


@pytest.mark.slow
def test_a_small_network_trains_as_with_leaky_neurons() -> None:
    """qif.md (e) 10: digits, 64 hidden neurons, T = 4; exact and Euler steps within 2 % of a LIF, gradients finite."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    x, y = torch.tensor(digits.data / 16, dtype=torch.float32), torch.tensor(digits.target)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    x, y = x[order], y[order]
    found = {}
    for name, compat, gain in (("qif", None, 2.0), ("qif", "euler_map", 2.0), ("lif", None, 20.0)):
        torch.manual_seed(0)
        first, last = torch.nn.Linear(64, 64), torch.nn.Linear(64, 10)
        hidden = no.load(name, compat=compat).torch(64, surrogate="fast_sigmoid")
        weights = [*first.parameters(), *last.parameters()]
        optimizer = torch.optim.Adam(weights, 3e-3)

        def scores(x: torch.Tensor, first=first, last=last, hidden=hidden, gain=gain) -> torch.Tensor:
            return last(hidden((gain * first(x)).expand(4, *x.shape).contiguous())[0].mean(0))

        for batch in [b for _ in range(15) for b in torch.randperm(1400).split(64)]:
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(scores(x[batch]), y[batch]).backward()
            assert all(w.grad.isfinite().all() for w in weights)
            optimizer.step()
        found[name, compat] = (scores(x[1400:]).argmax(1) == y[1400:]).float().mean().item()
    assert min(found.values()) > max(found.values()) - 0.02
    assert min(found.values()) > 0.94
