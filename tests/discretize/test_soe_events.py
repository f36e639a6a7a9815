"""Resets of states with several orders, where inner derivatives take part; events that read what others left; ramps."""

from __future__ import annotations

import mpmath as mp
import numpy as np
import pytest
import torch
from scipy.special import erfcx

import neuroode as no

DT, V0 = 0.02, 0.3


def run(memory: str, do: str, spike: float, end: float = 2.0, start: float = V0, **keys: object) -> np.ndarray:
    """v before resets at DT, 2 DT, ..., with one event, or none where `spike` is 0."""
    made = no.Neuron(
        "f", inputs={"I": "current", "k": "current"}, states={"v": start}, equations="4*D^1 v + D^0.5 v = -0.2*v + I",
        spike="k > 0.5", reset={"do": do, "memory": memory}, method="soe(tolerance=1e-4, steps=128)", **keys,
    )  # fmt: skip
    n = round(end / DT)
    k = np.zeros((n, 1, 1))
    k[round(spike / DT) - 1] = 1 if spike else 0
    trace = made.simulate({"I": np.ones((n, 1, 1)), "k": k}, DT)
    return trace.get("v.before", trace["v"])[:, 0, 0]


def test_an_impulse_is_divided_by_the_coefficient_of_the_highest_order() -> None:
    effect = run("impulse", "v -= 0.7", 0.5) - run("impulse", "v -= 0.7", 0.0)
    wanted = mp.invertlaplace(lambda s: 1 / (4 * s + mp.sqrt(s) + 0.2), 1.5, method="talbot")
    assert abs(effect[:25]).max() == 0
    assert abs(effect[-1] + 0.7 * float(wanted)) < 0.01  # falls like the root of DT: a singular inner derivative


def test_a_restart_starts_the_whole_chain_anew() -> None:
    again = run("restart", "v = 0.1", 1.0)[50:]
    assert abs(again - run("jump", "v -= 0", 0.0, 1.0, 0.1)).max() < 1e-12


def test_hold_rests_the_whole_chain() -> None:
    held = run("jump", "v -= 0.7", 0.5, refractory={"duration": 0.2, "hold": ["v"]})
    assert abs(held[35:] - run("jump", "v -= 0.7", 0.5)[25:-10]).max() < 1e-12


FEW = "soe(tolerance=1e-2, steps=64)"


def test_a_later_event_scales_what_an_earlier_one_left() -> None:
    both = {"a": no.Event(when="k > 0.5", reset="v = 0.2"), "b": no.Event(when="k > 0.4", reset="v *= 0.5")}
    made, once = (
        no.Neuron("f", inputs={"k": "current"}, states={"v": V0}, equations="D^0.5 v = -v", events=events, outputs="a",
                  method=FEW)
        for events in (both, {"a": no.Event(when="k > 0.5", reset="v = 0.1")})
    )  # fmt: skip
    k = np.zeros((30, 1, 1))
    k[9] = 1
    found, wanted = (n.simulate({"k": k}, DT)["v"] for n in (made, once))
    assert found[9, 0, 0] == pytest.approx(0.1, abs=1e-14)
    assert abs(found - wanted).max() < 1e-14


def test_coefficients_of_impulses_take_the_state_just_before() -> None:
    made = no.Neuron("f", inputs={"I": "current", "x": {"kind": "impulse"}}, states={"v": V0}, outputs={"u": "u"},
                     equations="D^0.5 v = -v + I\ndu/dt = v*x", method=FEW)  # fmt: skip
    x, current = np.random.default_rng(0).normal(size=(2, 20, 1, 1))
    trace = made.simulate({"I": current, "x": x}, DT)
    before = np.concatenate([[[[V0]]], trace["v"][:-1]])
    assert abs(trace["u"] - np.cumsum(before * x, 0)).max() < 1e-13


@pytest.mark.parametrize("memory", ["impulse", "current(3*dt)"])
def test_what_a_detached_reset_adds_to_the_right_side_passes_no_gradient(memory: str) -> None:
    """The slope of v behind a spike is that of the same run without a threshold."""
    slopes = []
    for gradient in ("detached", "through"):
        made = no.Neuron("f", equations="D^0.5 v = -v + I", spike="v > 0.4", reset_gradient=gradient, method=FEW,
                         reset={"do": "v -= 0.5", "memory": memory}, outputs={"v": "v"})  # fmt: skip
        x = torch.ones(20, 1, 1, dtype=torch.float64, requires_grad=True)
        out, _ = made.torch(1, dt=DT, schedule="eager", dtype=torch.float64)(x)
        slopes.append(torch.autograd.grad(out[-1].sum(), x)[0])
    quiet = no.Neuron("f", equations="D^0.5 v = -v + I", outputs={"v": "v"}, method=FEW)
    x = torch.ones(20, 1, 1, dtype=torch.float64, requires_grad=True)
    (wanted,) = torch.autograd.grad(quiet.torch(1, dt=DT, dtype=torch.float64)(x)[0][-1].sum(), x)
    assert abs(slopes[0] - wanted).max() < 1e-14
    assert abs(slopes[1] - wanted).max() > 1e-3


def test_two_events_add_to_one_right_side() -> None:
    """The areas of two impulses in one step add up."""

    def run(amounts: tuple[float, ...]) -> np.ndarray:
        reset = [{"do": f"v -= {a}", "memory": "impulse"} for a in amounts]
        events = {f"e{i}": no.Event(when="k > 0.5", reset=r) for i, r in enumerate(reset)}
        made = no.Neuron(
            "f", inputs={"k": "current"}, equations="D^0.5 v = -v", events=events, outputs="e0", method=FEW
        )
        k = np.zeros((20, 1, 1))
        k[4] = 1
        return made.simulate({"k": k}, DT)["v"]

    assert abs(run((0.2, 0.3)) - run((0.5,))).max() < 1e-14
    assert abs(run((0.5,))).max() > 0.5


def test_a_ramp_is_stepped_exactly() -> None:
    """Whatever the step is: t - 2 sqrt(t/pi) + 1 - erfcx(sqrt(t)) solves D^(1/2) v = -v + t."""
    made = no.Neuron("f", equations="D^0.5 v = -v + t", outputs={"v": "v"}, method="soe(tolerance=1e-6, steps=64)")
    v = made.simulate(dt=0.5, steps=12, batch=1)["v"].ravel()
    t = 0.5 * np.arange(1, 13)
    assert abs(v - (t - 2 * np.sqrt(t / np.pi) + 1 - erfcx(np.sqrt(t)))).max() < 1e-5
