"""torch.compile: one graph without breaks, equal values and gradients, with and without the kernel."""

from __future__ import annotations

import pytest
import torch
from noisy import escape
from oracles import distance, drive, neuron, scatter

import neuroode as no

ZOO = ["lif", "alif", "brf", "tc_lif", "ts_lif", "glif_5", "adex", "damped_oscillator"]  # 5 s each
BOTH = pytest.mark.parametrize("schedule", ["auto", "eager"])
F64 = torch.float64
# torch's own: of its imports, and of a carry with gradients that it takes apart
pytestmark = [
    pytest.mark.filterwarnings(w) for w in ("ignore::DeprecationWarning", "ignore:.*grad attribute of a Tensor")
]


@pytest.fixture(autouse=True)
def fresh():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def build(name, schedule="auto", size=3, dtype=F64, **options):
    torch.manual_seed(0)
    return scatter(neuron(name).torch(size, schedule=schedule, dtype=dtype, **options))


def as_dict(out):
    return out if isinstance(out, dict) else {"out": out}


def assert_equal_to_the_layer(layer, x, bound=1e-12, backend="aot_eager", **call):
    compiled = torch.compile(layer, backend=backend, fullgraph=True)
    x = {n: v.requires_grad_() for n, v in x.items()}
    given = x if len(x) > 1 else next(iter(x.values()))
    leaves = [*x.values(), *layer.parameters()]
    rows, grads = [], []
    for run in (compiled, layer):
        out, carry = run(given, **call)
        rows.append([v.detach() for v in (*as_dict(out).values(), *carry.values())])
        loss = sum(v.square().sum() for v in (*as_dict(out).values(), *carry.values()))
        grads.append(torch.autograd.grad(loss, leaves))
    again, _ = compiled(given, carry, **call)
    more, _ = layer(given, carry, **call)
    rows[0] += [v.detach() for v in as_dict(again).values()]
    rows[1] += [v.detach() for v in as_dict(more).values()]
    for a, b in (*zip(*rows, strict=True), *zip(*grads, strict=True)):
        assert distance(a, b) <= bound


@pytest.mark.parametrize(("name", "schedule"), [("lif", "eager"), ("lif", "auto"), ("brf", "auto"), ("levels", "auto")])
def test_one_graph(name, schedule):
    layer = build(name, schedule)
    assert_equal_to_the_layer(layer, drive(layer, 5, 2))


@pytest.mark.slow
@BOTH
@pytest.mark.parametrize(
    "name", ["lif", "alif", "brf", "tc_lif", "ts_lif", "spiral", "channels", "levels", "two_inputs"]
)
def test_one_graph_of_many_neurons(name, schedule):
    layer = build(name, schedule, (3, 2))
    assert_equal_to_the_layer(layer, drive(layer, 5, 2))


@pytest.mark.parametrize("schedule", ["auto", pytest.param("eager", marks=pytest.mark.slow)])
def test_recurrent_with_lengths(schedule):
    layer = build("lif", schedule, recurrent=no.Recurrent(bias=True))
    assert_equal_to_the_layer(layer, drive(layer, 4, 3), lengths=torch.tensor([4, 2, 0]))


def test_a_graph_for_another_shape_and_dtype():
    layer = build("brf")
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    for steps, batch in ((5, 2), (9, 4), (40, 1)):
        x = drive(layer, steps, batch)["I"]
        assert distance(compiled(x)[0].detach(), layer(x)[0].detach()) < 1e-12
    layer.float()
    x = drive(layer, 5, 2)["I"]
    assert torch.equal(compiled(x)[0], layer(x)[0])


def test_parameters_are_no_constants_of_the_graph():
    layer = build("lif")
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    x = drive(layer, 30, 2)["I"]
    compiled(x)
    layer.set(tau=3.0, v_th=0.5)
    assert torch.equal(compiled(x)[0], layer(x)[0])
    half = layer.at_dt(0.5)
    assert distance(torch.compile(half, backend="aot_eager")(x)[0].detach(), half(x)[0].detach()) < 1e-12


def test_a_network():
    torch.manual_seed(0)
    stack = no.nn.Stack(torch.nn.Linear(4, 8), no.load("lif").torch(8, recurrent=True), torch.nn.Linear(8, 2))
    torch.nn.init.normal_(stack.layers[0].weight, std=10.0)
    compiled = torch.compile(stack, backend="aot_eager", fullgraph=True)
    x = torch.randn(30, 3, 4)
    a, b = compiled(x)[0], stack(x)[0]
    assert distance(a.detach(), b.detach()) < 1e-6
    grads = [torch.autograd.grad(v.square().sum(), list(stack.parameters())) for v in (a, b)]
    assert all(distance(g, w) < 1e-5 for g, w in zip(*grads, strict=True))


def test_wrong_inputs_are_refused_while_tracing():
    layer = build("lif")
    compiled = torch.compile(layer, backend="aot_eager")
    with pytest.raises(no.RunError, match=r"expected \(T, B, 3\)"):
        compiled(torch.zeros(3, 1, 4, dtype=F64))


def test_lengths_out_of_range_do_no_harm():
    layer = build("lif")
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    x = drive(layer, 6, 2)["I"]
    found, _ = compiled(x, lengths=torch.tensor([99, -5]))
    assert torch.equal(found, layer(x, lengths=torch.tensor([6, 0]))[0])


@pytest.mark.slow
@BOTH
def test_the_default_backend(schedule):
    layer = build("lif", schedule)
    assert_equal_to_the_layer(layer, drive(layer, 5, 2), 1e-11, "inductor")


def test_noise_is_drawn_in_one_graph():
    layer, x = escape().torch(4, dtype=F64), torch.rand(12, 2, 4, dtype=F64)
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    (found, carry), (wanted, _) = compiled(x, seed=3), layer(x, seed=3)
    assert all(torch.equal(found[n], wanted[n]) for n in wanted)
    assert carry["noise key"].tolist() == [[3, 12], [3, 12]]
    torch.manual_seed(0)
    first = compiled(x)[0]["v"]
    assert not torch.equal(compiled(x)[0]["v"], first)


def test_a_neuron_without_parameters_is_traced_and_its_start_is_the_same():
    n = no.Neuron("leak", dt=0.1, states={"v": "normal(0, 1)"}, equations="dv/dt = -v + I", outputs="v")
    layer, x = n.torch(3, dtype=F64), torch.zeros(4, 2, 3, dtype=F64)
    found = torch.compile(layer, backend="eager", fullgraph=True)(x, seed=5)[0]
    assert torch.allclose(found, layer(x, seed=5)[0], rtol=1e-14)
