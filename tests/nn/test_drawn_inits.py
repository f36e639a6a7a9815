"""States whose initial value is drawn: the same numbers in numpy, torch and JAX, in every schedule and chunk."""

import numpy as np
import pytest
import scipy.stats
import torch

import neuroode as no
from neuroode.program.start import start_of_run
from neuroode.solvers.on_numpy.random import draw

F64 = torch.float64
X = torch.zeros(6, 4, 3, dtype=F64)


def leak(init: str, **keys: object) -> no.Neuron:
    """A state that falls to a half in each step."""
    return no.Neuron("leak", inputs={"I": "current"}, states={"v": init}, equations="v[t] = v[t-1]/2 + I",
                     outputs="v", **keys)  # fmt: skip


def walker() -> no.Neuron:
    """Noise, an axis, a shared draw, a past value."""
    return no.Neuron(
        "walker", dt=0.1, axes={"k": 2}, inputs={"I": "current"},
        states={"q": "normal(1, 2)", "r": "uniform(k, k + 1)", "u": "q[0] + normal(0, 1)"},
        equations="dq[k] = -q[k]*dt + I*dt + dW[k]\nr[k, t] = r[k, t-1] + q[k, t-2]\nu[t] = u[t-1]",
        outputs={"q": "q[k]", "r": "r[k]", "u": "u"},
    )  # fmt: skip


DISTRIBUTIONS = {
    "normal(2, 3)": scipy.stats.norm(2, 3),
    "uniform(-1, 4)": scipy.stats.uniform(-1, 5),
    "log_normal(0.5, 0.3)": scipy.stats.lognorm(s=0.3, scale=np.exp(0.5)),
    "log_uniform(0.1, 10)": scipy.stats.loguniform(0.1, 10),
}


@pytest.mark.parametrize("init", DISTRIBUTIONS)
def test_the_law_of_the_start_is_the_declared_one(init: str) -> None:
    start = leak(init).torch(500).init_carry(40, seed=1)["v"].numpy().ravel()
    assert scipy.stats.kstest(start, DISTRIBUTIONS[init].cdf).pvalue > 1e-3


def test_lanes_and_samples_are_independent() -> None:
    start = leak("normal(0, 1)").torch(20, dtype=F64).init_carry(1000, seed=2)["v"].numpy()
    assert np.abs(np.corrcoef(start.T) - np.eye(20)).max() < 5 / np.sqrt(1000)
    assert abs(np.corrcoef(start[:-1].ravel(), start[1:].ravel())[0, 1]) < 5 / np.sqrt(20_000)
    assert len(np.unique(start)) == start.size


def test_the_number_is_that_of_the_stream_init_at_step_0() -> None:
    run = leak("normal(3, 2)").simulate(X.numpy(), seed=7)["v"]
    wanted = draw("normal", "init.v", np.full(4, 7), np.zeros(4, int), (1, 4, 3))[0]
    np.testing.assert_allclose(run[0], (3 + 2 * wanted) / 2, rtol=1e-15)


@pytest.mark.parametrize("schedule", ["eager", "sequential", "scan", "fft", "auto"])
def test_schedules_start_from_the_same_numbers(schedule: str) -> None:
    n = leak("uniform(1, 2)")
    out, carry = n.torch(3, dtype=F64, schedule=schedule)(X, seed=5)
    np.testing.assert_allclose(out.numpy(), n.simulate(X.numpy(), seed=5)["v"], rtol=1e-13)
    assert list(carry) == ["v"]


@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_noise_axes_and_past_values_agree_with_the_interpreter(dtype: torch.dtype) -> None:
    n, x = walker(), X.to(dtype)
    wanted, layer = n.simulate(X.numpy(), seed=5), n.torch(3, dtype=dtype)
    out, _ = layer(x, seed=5)
    for name in ("q", "r", "u"):
        np.testing.assert_allclose(out[name].numpy(), wanted[name], atol=2e-5 if dtype == torch.float32 else 1e-12)
    trace = layer.trace(x, seed=5)
    np.testing.assert_allclose(trace["q"].numpy(), out["q"].numpy(), atol=1e-5)
    first = layer.init_carry(4, seed=5)
    own = start_of_run(n.program(), {"dt": np.asarray(0.1)}, (4, 3), 5)
    assert own is not None
    np.testing.assert_allclose(first["q[t-2]"][..., 1].numpy(), own["q__1"], atol=1e-5)
    assert ((first["r"] >= torch.arange(2)) & (first["r"] <= torch.arange(2) + 1)).all()


@pytest.mark.parametrize("schedule", ["eager", "sequential", "auto"])
def test_chunks_with_a_carry_are_one_call(schedule: str) -> None:
    layer = walker().torch(3, dtype=F64, schedule=schedule)
    whole, end = layer(X, seed=9)
    first, carry = layer(X[:2], seed=9)
    second, carry = layer(X[2:], carry)
    given, _ = layer(X, layer.init_carry(4, seed=9))
    for name, rows in whole.items():
        assert torch.equal(torch.cat([first[name], second[name]]), rows)
        assert torch.equal(given[name], rows)
    assert torch.equal(end["noise key"], carry["noise key"])


def test_without_a_seed_torch_s_generator_fixes_the_start() -> None:
    layer = leak("normal(0, 1)").torch(3)
    runs = []
    for _ in range(2):
        torch.manual_seed(4)
        runs.append([layer(X.float())[0] for _ in range(2)])
    assert torch.equal(runs[0][0], runs[1][0])
    assert not torch.equal(runs[0][0], runs[0][1])


def test_parameters_of_a_draw_have_reparameterised_gradients() -> None:
    parameters = {"m": {"value": 0.5}, "s": {"value": 2, "domain": "positive"}}
    n = leak("normal(m, s)", parameters=parameters)
    for schedule in ("eager", "sequential", "scan"):
        layer = n.torch(3, dtype=F64, schedule=schedule)
        out, _ = layer(X, seed=1)
        out[0].sum().backward()
        number = (layer.init_carry(4, seed=1)["v"].detach() - 0.5) / 2
        values = layer.parameters_of_neuron
        assert torch.allclose(values.raw_m.grad, torch.tensor(6.0, dtype=F64))  # 12 lanes, halved once
        assert torch.allclose(values.raw_s.grad, number.sum() / 2 * torch.sigmoid(values.raw_s.detach()))


def test_complex_states_derivatives_and_units() -> None:
    n = no.Neuron("turn", dt=0.1, states={"z": {"init": "normal(0, 1) + i*uniform(2, 3)", "type": "complex"}},
                  equations="dz/dt = (-1 + 2*i)*z + I", outputs="real(z)")  # fmt: skip
    carry = n.torch(50, dtype=F64).init_carry(20, seed=1)
    assert 2 <= carry["z.im"].min() < 2.1 < 2.9 < carry["z.im"].max() <= 3
    trace, layer = n.simulate(np.zeros((3, 20, 50)), seed=1)["z"], n.torch(50, dtype=F64)
    np.testing.assert_allclose(layer.trace(torch.zeros(3, 20, 50, dtype=F64), seed=1)["z"].numpy(), trace, rtol=1e-12)
    swing = no.Neuron("swing", dt=0.1, states={"x'": "normal(5, 0.1)"}, equations="x'' = -x", outputs="x")
    assert abs(swing.torch(50).init_carry(20, seed=1)["x'"].mean() - 5) < 0.02
    cell = no.Neuron("cell", dt="0.1 ms", states={"v": {"init": "normal(-65 mV, 5 mV)", "unit": "mV"}},
                     parameters={"tau": "10 ms"}, equations="dv/dt = -v/tau", outputs="v")  # fmt: skip
    v = cell.torch(500).init_carry(40, seed=1)["v"]
    assert abs(v.mean() + 65) < 0.2
    assert abs(v.std() - 5) < 0.2


def test_a_solver_starts_there_too() -> None:
    n = no.Neuron("decay", dt=0.1, states={"v": "normal(0, 1)"}, equations="dv/dt = -v + I", outputs="v")
    out, _ = n.torch(3, dtype=F64, solver="torchdiffeq")(X, seed=3)
    np.testing.assert_allclose(out.numpy(), n.simulate(X.numpy(), seed=3)["v"], atol=1e-8)


def test_recurrent_layers_start_there_too() -> None:
    n = leak("normal(0, 1)")
    for schedule in ("eager", "sequential"):
        layer = n.torch(3, dtype=F64, recurrent=True, schedule=schedule)
        whole, _ = layer(X, seed=3)
        given, _ = layer(X, layer.init_carry(4, seed=3))
        assert torch.equal(whole, given)
        assert torch.allclose(whole[0], layer.init_carry(4, seed=3)["v"] / 2)


def test_what_does_not_fit_is_refused() -> None:
    layer = leak("normal(0, 1)").torch(3)
    _, carry = layer(X.float(), seed=1)
    with pytest.raises(no.RunError, match="goes on from a carry"):
        layer(X.float(), carry, seed=1)
    with pytest.raises(no.RunError, match="expected a whole number"):
        layer.init_carry(2, seed=-1)
    memory = no.Neuron("memory", dt=1, states={"v": "normal(0, 1)"}, equations="D^0.5 v = -v + I", outputs="v")
    with pytest.raises(no.Unsupported, match=r"the init of v is drawn, and D.alpha remembers"):
        memory.program()


def test_emitted_texts_take_the_start_as_their_carry() -> None:
    n, found = leak("normal(0, 1)"), {"__name__": "emitted"}
    exec(n.emit("torch"), found)
    start = start_of_run(n.program(), {"dt": np.asarray(1.0)}, (4, 3), 6)
    assert start is not None
    out, _ = found["Neuron"](3)(X, carry=(torch.tensor(start["v"]),))
    np.testing.assert_allclose(out.numpy(), n.simulate(X.numpy(), seed=6)["v"], rtol=1e-12)
    for target in ("torch", "jax", "c", "triton"):
        assert "The start of v is drawn, by " in n.emit(target)
