"""Moebius maps: found by structure, composed without a loop, with the spikes of the theta neuron inside the scan."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from oracles import assert_same, by_interpreter, by_layer, distance

import neuroode as no
from neuroode.program import interpret
from neuroode.program.moebius import BROKEN
from neuroode.program.partition import partition

Array = np.ndarray
THETA = no.load("qif", compat="theta")
FREE = no.Neuron("free", dt=0.1, inputs={"I": "current"}, outputs="v", states={"v": "0.3"},
                 parameters={"a": no.Parameter(0.4, domain="positive", per="neuron"), "b": no.Parameter(-0.7)},
                 equations="dv/dt = a*v^2 + b*v + 0.1*I")  # fmt: skip


def mapped(right: str, **keys: object) -> no.Neuron:
    return no.Neuron("mapped", dt=1.0, inputs={"I": "current"}, outputs="v", equations="v[t] = " + right, **keys)


FOUND = [
    "(0.3*v[t-1] + I)/(2 + v[t-1])",
    "1/(3 + I + 1/(2 + v[t-1]))",
    "I - (v[t-1] - 1)/(4 - v[t-1]*I/9)*0.5",
    "where(I > 0, v[t-1]/(3 + v[t-1]), 0.5*v[t-1] + I)",
    "-(2*v[t-1]/(3 + v[t-1]) - I/(3 + v[t-1]))/((1 + v[t-1])/(3 + v[t-1]) + 4)",
]
OTHERS = [
    ("I*v[t-1]/(3 + v[t-1]) + 0.1*v[t-1]", "a division by a state"),
    ("0.1*v[t-1]^2 + I", "a product of states"),
    ("I*sin(v[t-1])/(3 + v[t-1])", "sin of a state"),
    ("where(v[t-1] > 0, v[t-1]/(3 + v[t-1]), I)", BROKEN),
]  # fmt: skip


@pytest.mark.parametrize("right", FOUND)
def test_a_map_and_its_matrix(right: str) -> None:
    """The entries, put together by hand, are the step."""
    program = mapped(right).program()
    (stage,) = partition(program).stages
    assert stage.kind == "moebius"
    assert stage.matrix is not None
    v, current = np.random.default_rng(0).normal(size=(2, 50))
    env = interpret.prologue(program, {"dt": np.asarray(1.0)})
    now = interpret.evaluate(stage.matrix.body, env | {"x.I": current}, stage.matrix)
    a, b, c, d = (now.get(value, env.get(value)) for _, value in stage.matrix.outputs)
    wanted = interpret.run(program, {"dt": np.asarray(1.0)}, {"I": current[None, None]}, {"v": v[None]})
    assert np.abs((a * v + b) / (c * v + d) - wanted.outputs["v"][0, 0]).max() < 1e-13


@pytest.mark.parametrize(("right", "why"), OTHERS)
def test_what_is_almost_one(right: str, why: str) -> None:
    (stage,) = partition(mapped(right).program()).stages
    assert stage.kind == "loop"
    assert why in stage.reason
    with pytest.raises(no.Unsupported, match="nothing to scan"):
        mapped(right).program(schedule="scan")


def test_with_its_spikes_known_it_is_one() -> None:
    """A reset by an own event: no scan, but a Moebius map once the spikes are known."""
    (stage,) = partition(mapped("(v[t-1] + I)/(2 + v[t-1])", spike="v > 1", reset="v = 0.1").program()).stages
    assert (stage.kind, stage.events) == ("spiking", ("s",))


def test_a_finite_threshold_and_reset_break_the_group() -> None:
    with pytest.raises(no.Unsupported, match="acts on v, and even with them known there is a Moebius map that stops"):
        no.load("qif").torch(3, schedule="scan")


def layers(neuron: no.Neuron, size: int = 4, schedules: tuple[str, ...] = ("scan", "sequential")) -> list:
    made = [neuron.torch(size, dtype=torch.float64, schedule=s, surrogate="atan") for s in schedules]
    for layer in made:
        layer.set(a=torch.linspace(0.3, 1.5, size, dtype=torch.float64))
    return made


@pytest.mark.parametrize("steps", [1, 17, 200])
@pytest.mark.parametrize("neuron", [FREE, THETA], ids=["free", "theta"])
def test_a_scan_is_the_loop(neuron: no.Neuron, steps: int) -> None:
    """Values, spikes bit for bit, the carry, and gradients, which are those of the interpreter."""
    scanned, looped = layers(neuron)
    x = {"I": 1.2 * torch.randn(steps, 3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 0.3}
    found, wanted = by_layer(scanned, x), by_layer(looped, x)
    if neuron is THETA:
        assert np.array_equal(found.outputs["s"], wanted.outputs["s"])
        assert steps < 17 or wanted.outputs["s"].mean() > 0.1
    assert_same(found, wanted, 1e-11, 1e-10)
    assert_same(found, by_interpreter(scanned, x), 1e-11, 1e-10)


def test_a_long_scan_has_every_spike() -> None:
    """4,096 steps at random drive, with chunks of several levels; lengths end samples where they end."""
    scanned, looped = layers(THETA)
    x = 0.6 * torch.rand(4096, 1, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64) - 0.05
    (found, _), (wanted, _) = scanned(x), looped(x)
    assert torch.equal(found, wanted)
    assert 500 < wanted.sum() < 8000
    lengths = torch.tensor([1000])
    (found, end), (wanted, last) = (layer(x[:1500], lengths=lengths) for layer in (scanned, looped))
    assert torch.equal(found, wanted)
    assert distance(end["v"].detach(), last["v"].detach()) < 1e-10


def test_the_product_of_200_matrices_is_the_run_and_has_determinant_one() -> None:
    """qif.md (e) 3, from the entries as they are: each has determinant e^(-2 sqrt(d)), which is divided out here."""
    program = FREE.program()
    (stage,) = partition(program).stages
    x = np.random.default_rng(0).normal(size=200)
    values = {"p.a": np.asarray(0.4), "p.b": np.asarray(-0.7), "dt": np.asarray(0.1)}
    env = interpret.prologue(program, values)
    now = interpret.evaluate(stage.matrix.body, env | {"x.I": x}, stage.matrix)
    rows = [np.broadcast_to(now.get(v, env.get(v, values.get(v))), 200) for _, v in stage.matrix.outputs]
    product = np.eye(2)
    for a, b, c, d in zip(*rows, strict=True):
        product = np.array([[a, b], [c, d]]) / np.sqrt(a * d - b * c) @ product
    top, bottom = product @ [0.3, 1.0]
    wanted = interpret.run(program, values, {"I": x[:, None, None]}).outputs["v"][-1].item()
    assert abs(top / bottom - wanted) < 1e-12
    assert abs(np.linalg.det(product) - 1) < 1e-9
