"""Observation times: `layer(x, times=...)` of jax layers."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import neuroode as no
from neuroode._errors import RunError, Unsupported

jax.config.update("jax_enable_x64", True)
KEY = jax.random.key(0)
ODD_TIMES = np.cumsum([0.5, 2.0, 0.25, 1.0], 0)
LIF = {"schedule": "eager"}
DIFFRAX = {"solver": "diffrax", "solver_options": {"rtol": 1e-10, "atol": 1e-12}}


def drive(steps: int = 4) -> np.ndarray:
    return np.random.default_rng(0).normal(1.5, 1.0, (steps, 2, 3))


@pytest.mark.parametrize("options", [LIF, pytest.param(DIFFRAX, marks=pytest.mark.slow)], ids=["steps", "diffrax"])
def test_equal_times_are_the_ordinary_call(options: dict) -> None:
    layer = no.load("lif").jax(3, 1.0, key=KEY, **options)
    x = drive()
    for times in (np.arange(1.0, 5.0), np.arange(1.0, 5.0)[:, None].repeat(2, 1)):
        out, carry = layer(x, times=times)
        wanted, end = layer(x)
        np.testing.assert_allclose(out, wanted, rtol=1e-12)
        np.testing.assert_allclose(carry["v"], end["v"], rtol=1e-10)


def test_each_step_is_one_of_its_own_length() -> None:
    """A chain of layers at other steps, and samples with times of their own; solver layers agree."""
    neuron = no.load("li")
    layer = neuron.jax(3, 1.0, key=KEY, schedule="eager")
    x = drive()
    out, _ = layer(x, times=ODD_TIMES)
    carry = None
    for k, step in enumerate(np.diff(ODD_TIMES, prepend=0)):
        one = layer.at_dt(float(step))
        start = None if carry is None else type(carry)(dict(carry), one.init_carry(2).digest)
        row, carry = one(x[k : k + 1], start)
        np.testing.assert_allclose(out[k], row[0], rtol=1e-12)
    both = np.stack([ODD_TIMES, 2 * ODD_TIMES], 1)
    mixed, _ = layer(x, times=both, lengths=np.array([4, 2]))
    np.testing.assert_allclose(mixed[:, 0], out[:, 0], rtol=1e-12)
    np.testing.assert_allclose(mixed[:2, 1], layer(x, times=2 * ODD_TIMES)[0][:2, 1], rtol=1e-12)
    solved = neuron.jax(3, 1.0, key=KEY, **DIFFRAX)
    np.testing.assert_allclose(solved(x, times=both)[0][:, 1], layer(x, times=both)[0][:, 1], rtol=1e-8)


def test_gradients_reach_what_is_discretized_at_each_length() -> None:
    layer = no.load("li").jax(3, 1.0, key=KEY, schedule="eager")
    x = drive()

    def loss(layer: object, size: float = 0.0) -> object:
        return (layer(x, times=ODD_TIMES)[0] ** 2).sum() + size

    slope = jax.grad(loss)(layer).parameters_of_neuron.raw["tau"]
    raw = layer.parameters_of_neuron.raw["tau"]
    way = np.random.default_rng(1).normal(size=raw.shape)
    ends = [loss(jax.tree.map(lambda a, s=s: a + s * way if a.shape == raw.shape else a, layer)) for s in (1e-5, -1e-5)]
    np.testing.assert_allclose((slope * way).sum(), (ends[0] - ends[1]) / 2e-5, rtol=1e-6)


@pytest.mark.parametrize(
    ("times", "text"),
    [
        ([1.0, 2.0, 3.0], r"times has shape \(3,\), expected \(4,\) or \(4, 2\)"),
        ([1.0, 3.0, 2.0, 4.0], r"times\[2\] is 2 behind 3"),
        ([0.0, 1.0, 2.0, 3.0], r"times\[0\] is 0 behind 0"),
        ([1.0, 2.0, np.inf, 4.0], r"times\[2\] is inf behind 2"),
    ],
)
def test_wrong_times(times: list[float], text: str) -> None:
    layer = no.load("li").jax(3, 1.0, key=KEY, schedule="eager")
    with pytest.raises(RunError, match=text):
        layer(drive(), times=times)
    if len(times) == 4:
        with pytest.raises(Exception, match="times must increase from above 0"):
            jax.block_until_ready(jax.jit(lambda t: layer(drive(), times=t)[0])(np.array(times)))


def test_neurons_that_count_steps_and_schedules_are_refused() -> None:
    with pytest.raises(Unsupported, match="a refractory time, which counts steps"):
        no.load("lif_refractory").jax(3, key=KEY)(drive(), times=ODD_TIMES)
    with pytest.raises(Unsupported, match="takes all steps to be alike"):
        no.load("li").jax(3, 1.0, key=KEY, schedule="scan")(drive(), times=ODD_TIMES)
