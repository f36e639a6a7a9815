"""Noise streams: an input that the call draws. Against the interpreter with the same seed, chunks, replay, errors."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from noisy import drive, escape

import neuroode as no
from neuroode.cli.main import main
from neuroode.nn.stack_torch import Stack
from neuroode.program.types import Noise

F64 = torch.float64


def test_noise_is_an_input_behind_the_given_ones() -> None:
    program = escape().program()
    assert program.inputs == ("I", "U", "Z__0", "Z__1")
    assert program.given == ("I",)
    assert program.noise == (Noise("U", "uniform"), Noise("Z__0", "normal"), Noise("Z__1", "normal"))


@pytest.mark.parametrize("schedule", ["eager", "sequential", "auto"])
def test_a_layer_is_the_interpreter_with_that_seed(schedule: str) -> None:
    x = drive(40, 3, 4)
    rows = escape().simulate(x.numpy(), seed=7)
    found, _ = escape().torch(4, dtype=F64, schedule=schedule)(x, seed=7)
    assert 0.05 < rows["s"].mean() < 0.9
    np.testing.assert_array_equal(found["s"].detach(), rows["s"])
    np.testing.assert_allclose(found["v"].detach(), rows["v.before"], atol=1e-12)
    assert not np.array_equal(rows["s"], escape().simulate(x.numpy(), seed=8)["s"])


def test_two_calls_equal_one() -> None:
    layer, x, lengths = escape().torch(4, dtype=F64), drive(30, 3, 4), torch.tensor([30, 11, 0])
    whole, last = layer(x, seed=3, lengths=lengths)
    first, between = layer(x[:11], seed=3, lengths=lengths.clamp(max=11))
    second, end = layer(x[11:], between, lengths=(lengths - 11).clamp(min=0))
    for name in whole:
        assert torch.equal(torch.cat([first[name], second[name]]), whole[name])
    assert all(torch.equal(end[n], last[n]) for n in last)
    assert last["noise key"].tolist() == [[3, 30], [3, 11], [3, 0]]


def test_a_seed_is_drawn_from_the_generator_of_torch() -> None:
    layer, x = escape().torch(4, dtype=F64), drive(20, 2, 4)
    torch.manual_seed(1)
    first, other = layer(x)[0]["s"], layer(x)[0]["s"]
    torch.manual_seed(1)
    assert torch.equal(layer(x)[0]["s"], first)
    assert not torch.equal(first, other)
    start = layer.init_carry(2)
    assert torch.equal(layer(x, start)[0]["s"], layer(x, start)[0]["s"])


def test_replayed_noise_has_gradients() -> None:
    layer, x = escape().torch(4, dtype=F64), drive(12, 2, 4)
    z = torch.randn(12, 2, 4, 2, dtype=F64, requires_grad=True)
    u = torch.rand(12, 2, 4, dtype=F64)
    found, _ = layer(x, noise={"Z": z, "U": u})
    rows = escape().simulate(x.numpy(), noise={"Z": z.detach().numpy(), "U": u.numpy()})
    np.testing.assert_allclose(found["v"].detach(), rows["v.before"], atol=1e-12)
    (slope,) = torch.autograd.grad(found["v"].sum(), z)
    eager = escape().torch(4, dtype=F64, schedule="eager")(x, noise={"Z": z, "U": u})[0]["v"]
    torch.testing.assert_close(slope, torch.autograd.grad(eager.sum(), z)[0], atol=1e-10, rtol=0)
    assert slope.abs().sum() > 1


def test_what_does_not_fit_is_refused() -> None:
    layer, x = escape().torch(4, dtype=F64), drive(12, 2, 4)
    for call, message in (
        ({"seed": -1}, "seed is -1, expected a whole number from 0 to 2\\^32 - 1"),
        ({"seed": 1.5}, "seed is 1.5"),
        ({"noise": {"W": x}}, "'W' is no noise stream; noise of 'escape': U, Z"),
        ({"noise": x}, "noise is a Tensor"),
        ({"noise": {"Z": x}}, "noise 'Z' has shape"),
        ({"noise": {"U": x[:3]}}, "noise 'U' is \\(3, 2, 4\\)"),
    ):
        with pytest.raises(no.RunError, match=message):
            layer(x, **call)
    with pytest.raises(no.RunError, match="seed=1: 'lif' has no noise"):
        no.load("lif").torch(4, 1.0)(torch.zeros(3, 2, 4), seed=1)
    for model in ("lif", "noisy_lif"):
        with pytest.raises(no.RunError, match="seed is -1, expected a whole number"):
            no.load(model).simulate(np.zeros((3, 2, 4)), seed=-1)
    with pytest.raises(no.RunError, match="noise 'U' is"):
        escape().simulate(x.numpy(), noise={"U": x[:3].numpy()})


def test_a_mapped_axis_is_more_samples() -> None:
    layer, x = escape().torch(4, dtype=F64), torch.stack([drive(12, 2, 4), drive(12, 2, 4) + 0.2])
    found = torch.func.vmap(lambda each: layer(each, seed=3)[0]["v"])(x)
    for i in range(2):
        torch.testing.assert_close(found[i], layer(x[i], seed=3)[0]["v"], rtol=1e-12, atol=1e-12)
    apart = torch.func.vmap(lambda each: layer(each)[0]["s"], randomness="different")(x[:1].expand(2, 12, 2, 4))
    assert not torch.equal(apart[0], apart[1])


def test_a_call_that_replays_everything_draws_nothing() -> None:
    layer, x = escape().torch(4, dtype=F64), drive(12, 2, 4)
    noise = {"U": torch.rand(3, 12, 2, 4, dtype=F64), "Z": torch.randn(3, 12, 2, 4, 2, dtype=F64)}
    before = torch.get_rng_state()
    found = torch.func.vmap(lambda n: layer(x, noise=n)[0]["v"])(noise)
    for i in range(3):
        wanted = layer(x, noise={k: v[i] for k, v in noise.items()})[0]["v"]
        torch.testing.assert_close(found[i], wanted, rtol=1e-12, atol=1e-12)
    assert torch.equal(torch.get_rng_state(), before)


def test_layers_of_a_stack_draw_apart_and_recurrent_ones_too() -> None:
    neuron = escape().replace(outputs="s")
    stack = Stack(neuron.torch(4, dtype=F64), neuron.torch(4, dtype=F64, recurrent=True))
    torch.manual_seed(0)
    out, carries = stack(drive(20, 2, 4))
    assert carries[0]["noise key"][0, 0] != carries[1]["noise key"][0, 0]
    torch.manual_seed(0)
    assert torch.equal(stack(drive(20, 2, 4))[0], out)
    assert stack(drive(5, 2, 4), carries)[1][1]["noise key"][0, 1] == 25


def test_show_names_streams_and_gradients(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "gif"]) == 0
    said = capsys.readouterr().out
    assert "  noise   U (uniform)\n" in said
    assert "    gradient: expected\n" in said
    assert "U[t], the same number at every read" in said
    assert main(["simulate", "gif", "--steps", "50", "--seed", "3", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["trace"]["s"][0]) == 20


def test_emitted_text_reads_tables_behind_noise():
    neuron = no.Neuron(
        "table", dt=1, horizon=40, noise={"U": "uniform"}, inputs={"I": "current"},
        parameters={"w": no.Parameter(init="normal(0, 1)", per=["neuron", "time"])},
        equations="v[t] = 0.5*v[t-1] + I + w[t] + 0.1*U", outputs={"v": "v"},
    )  # fmt: skip
    space = {"__name__": "emitted"}
    exec(compile(neuron.emit("torch"), "<emitted>", "exec"), space)
    assert max(row[-1] for row in space["compare"]()) < 1e-12
