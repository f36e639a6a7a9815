"""A layer's life: saved, loaded, copied, moved, at another step, back to a declaration."""

from __future__ import annotations

import copy
import io
import multiprocessing
import pickle

import numpy as np
import pytest
import torch
from oracles import INVENTED, ZOO, distance, drive, neuron, scatter

import neuroode as no
from neuroode.spec.lengths import fixed_names
from neuroode.spec.read_yaml import read_text

ALL = [*ZOO, *INVENTED]
BOTH = pytest.mark.parametrize("schedule", ["auto", "eager"])
F64 = torch.float64


def build(name, size=5, schedule="auto", dtype=F64, **options):
    torch.manual_seed(0)
    return scatter(neuron(name).torch(size, schedule=schedule, dtype=dtype, **options))


def run(layer, steps=20, batch=2):
    x = drive(layer, steps, batch)
    out, carry = layer(x if len(x) > 1 else next(iter(x.values())))
    return [*(out.values() if isinstance(out, dict) else [out]), *carry.values()]


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(run(a), run(b), strict=True))


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("recurrent", [False, True])
def test_state_dict_round_trip(name, recurrent):
    output = neuron(name).program(1.0).outputs[-1][0]
    option = no.Recurrent(output=output, bias=True) if recurrent else None
    layer = build(name, recurrent=option)
    other = neuron(name).torch(5, dtype=F64, recurrent=option)
    stored = io.BytesIO()
    torch.save(layer.state_dict(), stored)
    stored.seek(0)
    other.load_state_dict(torch.load(stored, weights_only=True), strict=True)
    assert same(layer, other)
    assert not any("_like" in k for k in layer.state_dict())


def test_constants_are_saved_too():
    layer = build("lif").set(v_th=3)
    other = build("lif")
    other.load_state_dict(layer.state_dict())
    assert other.v_th == 3


def test_loading_into_another_dtype_keeps_that_dtype():
    wide, narrow = build("alif"), build("alif", dtype=torch.float32)
    narrow.load_state_dict(wide.state_dict())
    assert narrow.tau.dtype == torch.float32
    assert distance(narrow.tau.detach(), wide.tau.detach()) < 1e-6
    assert run(narrow)[0].dtype == torch.float32
    wide.load_state_dict(narrow.state_dict())
    assert wide.tau.dtype == F64


@pytest.mark.parametrize("size", [4, (5, 1)])
def test_loading_another_shape_is_refused(size):
    with pytest.raises(RuntimeError, match="size mismatch"):
        build("alif").load_state_dict(build("alif", size).state_dict())


@BOTH
@pytest.mark.parametrize("called", [False, True])
@pytest.mark.parametrize("name", ["brf", "levels", "spiral"])
def test_copies(name, called, schedule):
    layer = build(name, schedule=schedule, recurrent={"I": "s"})
    if called:
        run(layer)[0].sum().backward()
        layer.zero_grad()
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert same(layer, other)
        assert other.program.digest == layer.program.digest
        before = run(layer)
        with torch.no_grad():
            for p in other.parameters():
                p *= 1.1
        assert all(torch.equal(a, b) for a, b in zip(before, run(layer), strict=True))
        assert not same(layer, other)
    stored = io.BytesIO()
    torch.save(layer, stored)
    stored.seek(0)
    assert same(layer, torch.load(stored, weights_only=False))


@BOTH
def test_copies_train_apart(schedule):
    layer = build("alif", schedule=schedule)
    other = copy.deepcopy(layer)
    kept = {n: v.clone() for n, v in layer.state_dict().items()}
    optimiser = torch.optim.SGD(other.parameters(), lr=100.0)
    run(other)[0].sum().backward()
    optimiser.step()
    assert all(torch.equal(v, kept[n]) for n, v in layer.state_dict().items())
    assert not torch.equal(other.tau, layer.tau)
    assert all(p.grad is None for p in layer.parameters())


@BOTH
def test_training(schedule):
    torch.manual_seed(0)
    layer = no.load("brf").torch(8, schedule=schedule, recurrent=True)
    optimiser = torch.optim.Adam(layer.parameters(), lr=0.05)
    x = 40 * torch.randn(60, 4, 8)
    losses = []
    for _ in range(15):
        out, _ = layer(x)
        loss = (out.mean((0, 1)) - 0.1).square().sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        layer.project()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.8 * losses[0]
    assert all(torch.isfinite(p).all() for p in layer.parameters())


@BOTH
def test_to_another_dtype(schedule):
    layer = build("spiral", schedule=schedule, dtype=torch.float32)
    assert run(layer)[0].dtype == torch.float32
    for move in (lambda m: m.double(), lambda m: m.float(), lambda m: m.to(F64), lambda m: m.to("cpu", torch.float32)):
        layer = move(layer)
        dtype = layer._like.dtype
        assert all(v.dtype == dtype for v in run(layer))
        assert layer.values["tau" if "tau" in layer.values else "b"].dtype == dtype
        assert layer.values["c"].dtype == (torch.complex128 if dtype == F64 else torch.complex64)
        assert all(v.dtype == dtype for v in layer.init_carry(2).values())
    recurrent = build("lif", schedule=schedule, recurrent=no.Recurrent(bias=True), dtype=torch.float32).double()
    assert recurrent.W_rec.dtype == F64
    assert all(v.dtype == F64 for v in run(recurrent))


def test_meta():
    layer = build("brf").to("meta")
    out, carry = layer(torch.zeros(3, 2, 5, dtype=F64, device="meta"))
    assert out.shape == (3, 2, 5)
    assert out.device.type == carry["q"].device.type == "meta"


# another step


@BOTH
@pytest.mark.parametrize("name", ["lif", "rf", "levels", "channels"])
def test_at_dt_shares_parameters_and_changes_the_discretization(name, schedule):
    layer = build(name, schedule=schedule)
    half = layer.at_dt(layer.dt / 2)
    assert half.dt == layer.dt / 2
    for n in layer.values:
        assert torch.equal(half.values[n], layer.values[n])
    fresh = build(name, schedule=schedule, dt=layer.dt / 2)
    for p in layer.neuron.spec.parameters:
        fresh.set(**{p.name: layer.parameters_of_neuron.constrained(p)})
    assert all(distance(a.detach(), b.detach()) < 1e-12 for a, b in zip(run(half), run(fresh), strict=True))
    assert not same(half, layer)
    run(half)[0].sum().backward()
    assert any(p.grad is not None and p.grad.any() for p in layer.parameters())
    half.set(**{n: v * 0.9 for n, v in layer.values.items()})
    for n in layer.values:
        assert torch.equal(half.values[n], layer.values[n])
    half.double()
    assert same(layer, copy.deepcopy(layer))
    half.float()
    assert all(v.dtype == torch.float32 for v in [*run(layer), *run(half)])


def test_at_dt_changes_no_value_whose_domain_reads_dt():
    text = """
neuron: m
dt: 0.1
parameters: {k: {value: 2, domain: "interval(0, 1/dt)", per: neuron}}
equations: dv/dt = -k*v + I
outputs: v
"""
    layer = no.Neuron.from_spec(read_text(text)).torch(3, dtype=F64)
    fine = layer.at_dt(0.01)
    assert distance(fine.k.detach(), np.full(3, 2.0)) < 1e-12
    assert distance(layer.at_dt(0.4).k.detach(), np.full(3, 2.0)) < 1e-12
    with pytest.raises(no.RunError, match="at dt=1 parameter 'k' lies outside its domain"):
        layer.at_dt(1.0)
    with pytest.raises(no.SpecError, match="11 is not in interval"):
        layer.set(k=11)


def test_at_dt_of_an_exact_step_meets_itself():
    """Two half steps with a held input are one whole step."""
    layer = build("li")
    x = drive(layer, 20, 2)["I"]
    fine, _ = layer.at_dt(layer.dt / 2)(x.repeat_interleave(2, 0))
    assert distance(fine[1::2].detach(), layer(x)[0].detach()) < 1e-12


@pytest.mark.parametrize("dt", [0, -1, float("nan"), "fast", None.__class__, "3 mV"])
def test_a_step_that_is_none_is_refused(dt):
    with pytest.raises(no.NeuroodeError):
        build("lif").at_dt(dt)


def test_units_of_a_step():
    layer = build("lif")
    assert layer.at_dt("500 us").dt == 0.5
    assert no.load("lif").torch(1, dt="0.002 s").dt == 2


# back to a declaration


@pytest.mark.parametrize("size", [5, (2, 3)])
@pytest.mark.parametrize("name", ALL)
def test_to_neuron_round_trip(name, size):
    layer = build(name, size)
    spec = layer.neuron.spec
    constants = [p.name for p in spec.parameters if not p.trainable and p.name not in fixed_names(spec)]
    layer.set(**{n: 0.9 * layer.values[n] for n in constants})
    declared = layer.to_neuron()
    read = no.Neuron.from_spec(read_text(declared.to_yaml()))
    for n in (declared, read):
        other = n.torch(size, dt=layer.dt, dtype=F64)
        assert all(distance(a.detach(), b.detach()) < 1e-11 for a, b in zip(run(other), run(layer), strict=True))
    x = {k: v.numpy() for k, v in drive(layer, 20, 2).items()}
    found = read.simulate(x, dt=layer.dt)
    for k, v in layer.trace({k: torch.tensor(v) for k, v in x.items()}).items():
        assert distance(found[k], v.detach()) < 1e-11
    assert read.spec.name == layer.neuron.spec.name


def test_to_neuron_of_a_float32_layer_stays_in_the_domain():
    layer = no.load("brf").torch(3, dtype=torch.float32).set(omega=100)
    assert layer.to_neuron().torch(3).values["omega"].max() <= 100


# processes


def child(layer, x, queue):
    """Only the kernel works on much: torch's own parallel loops do not survive a fork."""
    out, carry = layer(x)
    sum(v.sum() for v in carry.values()).backward()
    raw = layer.parameters_of_neuron.raw_tau
    queue.put([v.detach().numpy().copy() for v in (out, *carry.values(), raw.grad)])


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("recurrent", [None, True])
def test_in_a_forked_child(recurrent):
    layer = build("alif", 130, recurrent=recurrent)
    x = drive(layer, 256, 16)["I"]
    here = []

    class Here:
        put = here.extend

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        child(layer, x, Here)  # threads have been started
        layer.zero_grad()
        context = multiprocessing.get_context("fork")
        queue = context.SimpleQueue()
        process = context.Process(target=child, args=(layer, x, queue), daemon=True)
        process.start()
        reader = queue._reader
        assert reader.poll(60), "the forked child hangs"
        there = queue.get()
        process.join(10)
    finally:
        torch.set_num_threads(before)
    assert process.exitcode == 0
    assert all(np.array_equal(a, b) for a, b in zip(here, there, strict=True))


class Samples(torch.utils.data.Dataset):
    def __init__(self, layer, x):
        self.layer, self.x = layer, x

    def __len__(self):
        return self.x.shape[1]

    def __getitem__(self, i):
        with torch.no_grad():
            return self.layer(self.x[:, i : i + 1])[0][:, 0]


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_in_the_workers_of_a_loader():
    layer = build("lif", 70)
    x = drive(layer, 50, 6)["I"]
    with torch.no_grad():
        wanted = layer(x)[0]
    loader = torch.utils.data.DataLoader(Samples(layer, x), batch_size=3, num_workers=2, timeout=60)
    assert torch.equal(torch.cat(list(loader)), wanted.transpose(0, 1))
