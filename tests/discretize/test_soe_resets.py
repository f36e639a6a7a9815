"""What resets mean for a fractional state, against closed forms, with spikes at prescribed times."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import gamma

import neuroode as no
from tests.fractional_oracles import relaxation_half, response_half

TAU, V0, I = 0.8, 0.3, 1.2
LAM = 1 / TAU


def neuron(right: str, memory: str, do: str, **keys: object) -> no.Neuron:
    """Spikes where the input k is 1."""
    parameters = {"tau": no.Parameter(TAU, domain="positive"), "alpha": no.Parameter(0.5, domain="interval(0.05, 1)")}
    return no.Neuron(
        "f", inputs={"I": "current", "k": "current"}, states={"v": V0}, equations=f"D^alpha v = {right}",
        parameters={n: p for n, p in parameters.items() if n in right + "alpha"}, spike="k > 0.5",
        reset={"do": do, "memory": memory}, method="soe(tolerance=1e-5, steps=128)", **keys,
    )  # fmt: skip


def run(found: no.Neuron, dt: float, spikes: tuple[float, ...], T: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """Times, and v before this step's reset."""
    n = round(T / dt)
    k = np.zeros((n, 1, 1))
    k[[round(s / dt) - 1 for s in spikes]] = 1
    x = {"I": np.full((n, 1, 1), I), "k": k}
    trace = found.simulate(x, dt)
    return dt * np.arange(1, n + 1), trace.get("v.before", trace["v"])[:, 0, 0]


def free(t: np.ndarray) -> np.ndarray:
    return I + (V0 - I) * relaxation_half(t, LAM)


def later(t: np.ndarray, s: float) -> np.ndarray:
    return t > s + 1e-9


SPIKES = (0.5, 1.1)


def test_jump_is_a_shift_that_relaxes() -> None:
    t, v = run(neuron("(-v + I)/tau", "jump", "v -= 0.7"), 0.02, SPIKES)
    wanted = free(t) - 0.7 * sum(later(t, s) * relaxation_half(t - s, LAM) for s in SPIKES)
    assert abs(v - wanted).max() < 2e-5


def test_a_jump_to_a_value() -> None:
    t, v = run(neuron("(-v + I)/tau", "jump", "v = 0.1"), 0.02, (0.5,))
    height = 0.1 - free(np.array([0.5]))[0]
    assert abs(v - free(t) - height * later(t, 0.5) * relaxation_half(t - 0.5, LAM)).max() < 2e-5


def test_restart_forgets() -> None:
    t, v = run(neuron("(-v + I)/tau", "restart", "v = 0.1"), 0.02, SPIKES)
    since = t - np.where(later(t, 1.1), 1.1, np.where(later(t, 0.5), 0.5, 0.0))
    start = np.where(later(t, 0.5), 0.1, V0)
    assert abs(v - I - (start - I) * relaxation_half(since, LAM)).max() < 2e-5


def test_impulse_is_a_dirac_on_the_right_side() -> None:
    t, v = run(neuron("(-v + I)/tau", "impulse", "v -= 0.7"), 0.02, SPIKES)
    kicks = sum(np.where(later(t, s), response_half(np.where(later(t, s), t - s, 1.0), LAM), 0) for s in SPIKES)
    assert abs(v - free(t) + 0.7 * kicks).max() < 1e-4


@pytest.mark.parametrize(
    ("duration", "text"), [(0.02, "current(dt)"), (0.25, "current(0.25)"), (0.06, "current(3*dt)")]
)
def test_current_lasts_its_duration(duration: float, text: str) -> None:
    """0.25 is 12 steps and a half: the last one has the mean of what is left, so the area is right."""
    t, v = run(neuron("(-v + I)/tau", text, "v -= 0.7"), 0.02, SPIKES)

    def answer(t: np.ndarray, s: float) -> np.ndarray:
        return np.where(later(t, s), 1 - relaxation_half(t - s, LAM), 0.0)

    wanted = free(t) - 0.7 * TAU * sum(answer(t, s) - answer(t, s + duration) for s in SPIKES)
    tolerance = 2e-5 if duration != 0.25 else 0.03
    assert abs(v - wanted).max() < tolerance
    assert abs(v - wanted)[-1] < (2e-5 if duration != 0.25 else 5e-5)


@pytest.mark.parametrize("memory", ["jump", "impulse", "restart", "current(0.2)"])
def test_without_a_leak(memory: str) -> None:
    """v0 + I t^a/Gamma(1 + a), and what one spike at 1 adds to it."""
    do = "v = 0.1" if memory == "restart" else "v -= 0.7"
    t, v = run(neuron("I", memory, do), 0.02, (1.0,))
    u = np.where(later(t, 1.0), t - 1.0, 1.0)

    def grown(t: np.ndarray) -> np.ndarray:
        return np.maximum(t, 0.0) ** 0.5 / gamma(1.5)

    wanted = V0 + I * grown(t)
    after = {
        "jump": wanted - 0.7, "restart": 0.1 + I * grown(t - 1), "impulse": wanted - 0.7 * u**-0.5 / gamma(0.5),
        "current(0.2)": wanted - 0.7 * (grown(t - 1) - grown(t - 1.2)),
    }  # fmt: skip
    assert abs(v - np.where(later(t, 1.0), after[memory], wanted)).max() < 1e-4


def test_a_jump_does_not_depend_on_the_step() -> None:
    """papers/fspikede.md: published resets vanish as the step does; a jump of 1 stays 1."""
    found = neuron("0.5*I", "jump", "v -= 1")
    effect = []
    for dt in (0.01, 0.001):
        v = [run(found, dt, spikes)[1][-1] for spikes in ((1.0,), ())]
        effect.append(v[0] - v[1])
    assert abs(effect[0] + 1) < 1e-12
    assert abs(effect[0] - effect[1]) < 1e-6


def test_two_events_act_in_order() -> None:
    """= sets, then += acts on what is left: the modes follow the sum."""
    events = {
        "a": no.Event(when="k > 0.5", reset="v = 0.2"),
        "b": no.Event(when="k > 0.4", reset="v += 0.5*v"),
    }
    made = no.Neuron(
        "f", inputs={"I": "current", "k": "current"}, states={"v": V0}, equations="D^0.5 v = (-v + I)/0.8",
        events=events, outputs="a", method="soe(tolerance=1e-5, steps=128)",
    )  # fmt: skip
    t, v = run(made, 0.02, (0.5,))
    old = free(np.array([0.5]))[0]
    height = 0.2 + 0.5 * old - old  # both read v[t]
    assert abs(v - free(t) - height * later(t, 0.5) * relaxation_half(t - 0.5, LAM)).max() < 2e-5


def test_a_reset_in_the_next_step() -> None:
    late = neuron("(-v + I)/tau", "jump", "v -= 0.7").replace(
        reset=no.Reset(do="v -= 0.7", when="next_step")
    )  # fmt: skip
    t, v = run(late, 0.02, (0.5,))
    assert abs(v - free(t) + 0.7 * later(t, 0.5) * relaxation_half(np.maximum(t - 0.52, 0), LAM)).max() < 2e-5
    with pytest.raises(no.Unsupported, match="next step"):
        neuron("(-v + I)/tau", "jump", "v -= 0.7").replace(
            reset=no.Reset(do="v = 0.7", when="next_step")
        ).discretize(0.02)  # fmt: skip


def test_hold_rests_the_memory() -> None:
    made = neuron("(-v + I)/tau", "jump", "v -= 0.7", refractory={"duration": 0.2, "hold": ["v"]})
    t, v = run(made, 0.02, (0.5,))
    resting = later(t, 0.5) & ~later(t, 0.7)
    start = free(np.array([0.5]))[0] - 0.7
    assert np.ptp(v[resting]) == 0
    assert abs(v[resting] - start).max() < 2e-5
    own = t - 0.2  # its time stood still
    wanted = free(own) - 0.7 * relaxation_half(own - 0.5, LAM)
    assert abs(v - wanted)[later(t, 0.7)].max() < 2e-5
