"""`layer.spike_times` and gradient="event": every target finds the same times, with exact derivatives."""

from __future__ import annotations

import copy
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from located import neuron, slots, with_times

import neuroode as no
from neuroode.program import interpret

jax.config.update("jax_enable_x64", True)
SCHEDULES = ["eager", "sequential"]
STEPS, DT = 30, 1.0


def layer(name: str, schedule: str = "auto", **options: object) -> no.nn.NeuronLayer:
    return neuron(name).torch(3, dt=DT, dtype=torch.float64, schedule=schedule, **options)


def drive(mean: float = 2.5, requires: bool = False) -> torch.Tensor:
    x = mean + 0.5 * torch.randn(STEPS, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return x.requires_grad_(requires)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_known_derivative(schedule: str) -> None:
    """LIF at I = 1.5: t* = 1.0986123 tau, dt*/dI = -1.3333333 tau."""
    x = torch.full((STEPS, 1, 3), 1.5, dtype=torch.float64, requires_grad=True)
    times, _ = layer("lif", schedule, gradient="event").spike_times(x)
    first = times.amin(0)
    (slope,) = torch.autograd.grad(first.sum(), x)
    assert first[0, 0].item() == pytest.approx(20 * np.log(3), rel=1e-12)
    assert slope.sum(0)[0, 0].item() == pytest.approx(-20 * 4 / 3, rel=1e-12)


def test_the_known_derivative_in_jax() -> None:
    made = neuron("lif").jax(1, dt=DT, key=jax.random.key(0), gradient="event")

    def first(current: jax.Array) -> jax.Array:
        return made.spike_times(jnp.full((STEPS, 1, 1), current))[0].min()

    time, slope = jax.jit(jax.value_and_grad(first))(1.5)
    assert float(time) == pytest.approx(20 * np.log(3), rel=1e-12)
    assert float(slope) == pytest.approx(-20 * 4 / 3, rel=1e-12)


@pytest.mark.parametrize("name", ["lif", pytest.param("qif", marks=pytest.mark.slow)])
def test_every_target_agrees_with_the_interpreter(name: str) -> None:
    """Times, carry and the gradients of a loss on both, after several events."""
    x, n = drive(requires=True), neuron(name)
    program, values = with_times(n, DT), slots(n, DT)
    run = interpret.run(program, values, {"I": x.detach().numpy()})
    fired = run.outputs["s"] > 0
    wanted = np.where(fired, DT * np.arange(STEPS)[:, None, None] + run.outputs["s.time"], np.inf)
    assert fired.sum() > 10
    seeds = {"s.time": np.where(fired, 1.0, 0.0)}
    slopes = interpret.gradients(program, values, run, seeds, {"v": np.ones((2, 3))}).inputs["I"]
    for schedule in SCHEDULES:
        times, carry = layer(name, schedule, gradient="event").spike_times(x)
        loss = times[torch.isfinite(times)].sum() + carry["v"].sum()
        (found,) = torch.autograd.grad(loss, x)
        assert times.detach().numpy() == pytest.approx(wanted, rel=1e-12)
        assert carry["v"].detach().numpy() == pytest.approx(run.carry["v"], abs=1e-11)
        assert found.numpy() == pytest.approx(slopes, rel=1e-9, abs=1e-9)


@pytest.mark.slow
def test_jax_agrees_with_the_interpreter() -> None:
    x, n = drive().numpy(), neuron("lif")
    program, values = with_times(n, DT), slots(n, DT)
    run = interpret.run(program, values, {"I": x})
    seeds = {"s.time": run.outputs["s"]}
    slopes = interpret.gradients(program, values, run, seeds, {"v": np.ones((2, 3))}).inputs["I"]
    for schedule in SCHEDULES:
        made = n.jax(3, dt=DT, key=jax.random.key(0), gradient="event", schedule=schedule)

        def loss(x: jax.Array, made: object = made) -> jax.Array:
            times, carry = made.spike_times(x)
            return jnp.where(jnp.isfinite(times), times, 0.0).sum() + carry["v"].sum()

        assert np.asarray(jax.grad(loss)(jnp.asarray(x))) == pytest.approx(slopes, rel=1e-9, abs=1e-9)


def test_a_signal_has_no_derivative_under_event_and_its_surrogate_else() -> None:
    x = drive(requires=True)
    out, _ = layer("lif", gradient="event")(x)
    assert not torch.autograd.grad(out.sum(), x)[0].any()
    out, _ = layer("lif", gradient="surrogate")(x)
    assert torch.autograd.grad(out.sum(), x)[0].all(dim=0).any()


def test_two_calls_are_one() -> None:
    """The carry passes between calls with and without times."""
    x, made = drive(), layer("lif")
    whole, after = made.spike_times(x)
    _, middle = made(x[:10])
    rest, last = made.spike_times(x[10:], middle)
    assert torch.allclose(rest + 10 * DT, whole[10:], atol=1e-12)
    assert torch.equal(after["v"], last["v"])
    made(x, last)
    for other in (copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
        assert torch.equal(other.spike_times(x)[0], whole)


def test_a_recurrent_layer_and_lengths() -> None:
    made = layer("lif", recurrent=True)
    times, _ = made.spike_times(drive(), lengths=torch.tensor([5, STEPS]))
    assert torch.isinf(times[5:, 0]).all()
    assert torch.isfinite(times[:, 1]).any()


def test_refused_with_the_reason() -> None:
    with pytest.raises(no.Unsupported, match="takes events at its end") as found:
        no.load("lif").torch(3, gradient="event")
    assert "within_step: locate" in found.value.hint
    with pytest.raises(no.Unsupported, match="at the end of the step"):
        no.load("lif").torch(3).spike_times(torch.zeros(2, 1, 3))
    with pytest.raises(no.RunError, match="no surrogate"):
        layer("lif", gradient="event", surrogate="atan")
    with pytest.raises(no.RunError, match="gradient is 'exact'"):
        layer("lif", gradient="exact")
