"""What a layer refuses, in words that help; precision of inputs; a missing compiler; numbers that are not finite."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from oracles import distance, drive, neuron, scatter

import neuroode as no
from neuroode.spec.read_yaml import read_text

BOTH = pytest.mark.parametrize("schedule", ["auto", "eager"])
F64 = torch.float64


def lif(size=5, **options):
    return no.load("lif").torch(size, **options)


# inputs

INPUTS = {
    "too few axes": (torch.zeros(4, 5), r"shape \(4, 5\), expected \(T, B, 5\)"),
    "too many axes": (torch.zeros(4, 2, 5, 1), r"expected \(T, B, 5\)"),
    "another size": (torch.zeros(4, 2, 6), r"shape \(4, 2, 6\), expected \(T, B, 5\)"),
    "one number": (torch.zeros(()), r"expected \(T, B, 5\)"),
    "float64": (torch.zeros(4, 2, 5, dtype=F64), r"is torch.float64, the layer computes in torch.float32"),
    "whole numbers": (torch.zeros(4, 2, 5, dtype=torch.int64), "is torch.int64"),
    "bool": (torch.zeros(4, 2, 5, dtype=torch.bool), "is torch.bool"),
    "complex": (torch.zeros(4, 2, 5, dtype=torch.complex64), "is torch.complex64"),
    "another device": (torch.zeros(4, 2, 5, device="meta"), "is on meta, the layer on cpu"),
    "numpy": (np.zeros((4, 2, 5), np.float32), "is a ndarray, not a torch tensor"),
    "a list": ([[[0.0] * 5]], "is a list, not a torch tensor"),
    "None": (None, "is called without x; inputs: I"),
    "another name": ({"J": torch.zeros(4, 2, 5)}, "inputs of 'lif' are I; found J"),
    "one too many": ({"I": torch.zeros(4, 2, 5), "J": torch.zeros(4, 2, 5)}, "found I, J"),
    "an empty dict": ({}, "inputs of 'lif' are I"),
}


@BOTH
@pytest.mark.parametrize("case", INPUTS)
def test_wrong_inputs_are_refused(case, schedule):
    x, message = INPUTS[case]
    layer = lif(schedule=schedule)
    for call in (layer, layer.trace):
        with pytest.raises(no.RunError, match=message):
            call(x)


@BOTH
def test_several_inputs(schedule):
    layer = neuron("two_inputs").torch(5, schedule=schedule)
    x = torch.zeros(4, 2, 5)
    with pytest.raises(no.RunError, match="inputs of 'two_inputs' are I, K; found I\nhint: pass a dict"):
        layer(x)
    with pytest.raises(no.RunError, match=r"input 'K' is \(3, 2, 5\), 'I' is \(4, 2, 5\)"):
        layer({"I": x, "K": x[:3]})
    with pytest.raises(no.RunError, match=r"input 'K' is torch\.float64"):
        layer({"I": x, "K": x.double()})
    assert torch.equal(layer({"K": x, "I": x + 1})[0]["a"], layer({"I": x + 1, "K": x})[0]["a"])


# options

OPTIONS = {
    "size 0": ({"size": 0}, no.RunError, "size is 0"),
    "negative size": ({"size": (3, -1)}, no.RunError, "at least 1"),
    "no size": ({"size": ()}, no.RunError, "at least 1"),
    "half a neuron": ({"size": 2.5}, no.RunError, "size is 2.5, expected a whole number"),
    "size as text": ({"size": "5"}, no.RunError, "size is '5'"),
    "size None": ({"size": None}, no.RunError, "size is None"),
    "dt 0": ({"dt": 0}, no.RunError, "dt is 0, not a positive number"),
    "dt nan": ({"dt": float("nan")}, no.RunError, "dt is nan"),
    "dt in volts": ({"dt": "1 mV"}, no.NeuroodeError, "not a time"),
    "dt without its unit": ({"dt": "1"}, no.RunError, "dt is in no unit, the model counts in ms"),
    "a schedule without use": ({"schedule": "fft"}, no.Unsupported, "no part of 'lif' is a convolution .*spikes"),
    "unknown schedule": ({"schedule": "fast"}, no.Unsupported, "unknown schedule 'fast'\nhint: choose among auto"),
    "method for later": ({"method": "baoab"}, no.Unsupported, "'baoab' does not apply to v: .* no pair dq = p"),
    "unknown method": ({"method": "magic"}, no.Unsupported, "unknown method 'magic'"),
    "method of no state": ({"method": {"q": "euler"}}, no.Unsupported, "'q': it is not a flow state\nhint: .*v"),
    "unknown option": ({"schedul": "auto"}, TypeError, "unknown option 'schedul'"),
    "event gradients": ({"gradient": "event"}, no.Unsupported, "takes events at its end"),
    "solver": ({"solver": "scipy"}, no.Unsupported, "torch layers know torchdiffeq"),
    "adjoint": ({"adjoint": "none"}, no.Unsupported, "belongs to solver="),
    "axes": ({"axes": {"k": 3}}, no.RunError, "is not an axis of"),
    "operators": ({"operators": {"f": abs}}, no.RunError, "operators names .f.; external operators of .lif.: none"),
    "share": ({"share": 1}, no.RunError, "share is a int"),
    "float16": ({"dtype": torch.float16}, no.Unsupported, "float32 or float64, not torch.float16"),
    "complex": ({"dtype": torch.complex64}, no.Unsupported, "float32 or float64, not torch.complex64"),
    "reset gradient": ({"reset_gradient": "detach"}, no.RunError, "'detach'\nhint: write through or detached"),
    "surrogate": ({"surrogate": "atn"}, no.SpecError, "'atn'.*\n.*did you mean 'atan'"),
    "surrogate option": ({"surrogate": {"kind": "atan", "widht": 1}}, no.SpecError, "widht"),
    "surrogate of nothing": ({"surrogate": "exp(-m*qq)"}, no.SpecError, "qq"),
}


@pytest.mark.parametrize("case", OPTIONS)
def test_wrong_options_are_refused(case):
    options, error, message = OPTIONS[case]
    with pytest.raises(error, match=f"(?s){message}"):
        no.load("lif").torch(**{"size": 3} | options)


def test_options_that_say_the_default_are_fine():
    lif(gradient="surrogate", solver=None, axes=None, operators=None, share=None, adjoint=None, method=None)


@pytest.mark.parametrize("size", [np.int64(3), [3], torch.Size([3]), (np.int32(3),)])
def test_sizes_of_other_types(size):
    assert lif(size).size == (3,)


SURROGATES = [
    "atan",
    {"kind": "atan", "width": 0.3},
    no.Surrogate("triangle", width=1),
    "0.3*max(0, 1 - abs(m))",
    "none",
]


@BOTH
@pytest.mark.parametrize("surrogate", SURROGATES)
def test_surrogates(surrogate, schedule):
    def slope(m):
        return {
            0: 1 / (1 + (m / 0.5) ** 2), 1: 1 / (1 + (m / 0.3) ** 2), 2: (1 - m.abs()).clamp(min=0),
            3: 0.3 * (1 - m.abs()).clamp(min=0), 4: 0 * m,
        }[SURROGATES.index(surrogate)]  # fmt: skip

    layer = lif(20, surrogate=surrogate, schedule=schedule, dtype=F64)
    x = (20 * torch.randn(1, 1, 20, dtype=F64)).requires_grad_()
    (found,) = torch.autograd.grad(layer(x)[0].sum(), x)
    gain = -np.expm1(-1 / 20)
    assert distance(found, slope(x.detach() * gain - 1) * gain) < 1e-10


@BOTH
def test_a_detached_reset(schedule):
    through, cut = (lif(4, reset_gradient=g, schedule=schedule, dtype=F64) for g in (None, "detached"))
    x = (10 * torch.randn(30, 2, 4, dtype=F64) + 5).requires_grad_()
    (a,), (b,) = (torch.autograd.grad(m(x)[1]["v"].sum(), x) for m in (through, cut))
    assert torch.equal(through(x)[0], cut(x)[0])
    decay = torch.exp(torch.arange(29.0, -1, -1, dtype=F64) / -20)
    assert distance(b, (-np.expm1(-1 / 20) * decay)[:, None, None].expand(30, 2, 4)) < 1e-12
    assert distance(a, b) > 1e-2


def test_a_neuron_without_dt_or_inputs():
    text = "neuron: m\nequations: dv/dt = -v + I\noutputs: v"
    with pytest.raises(no.RunError, match="declares no dt\nhint: pass dt="):
        no.Neuron.from_spec(read_text(text)).torch(2)
    silent = "neuron: m\ndt: 1\nstates: {v: 1}\nequations: dv/dt = -v\noutputs: v"
    with pytest.raises(no.RunError, match="has no input: write layer"):
        no.Neuron.from_spec(read_text(silent)).torch(2)()


# precision


@BOTH
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("recurrent", [None, True])
def test_inputs_of_half_precision(dtype, recurrent, schedule):
    torch.manual_seed(0)
    layer = lif(schedule=schedule, recurrent=recurrent)
    x = (10 * torch.randn(30, 2, 5)).to(dtype).requires_grad_()
    out, carry = layer(x)
    assert out.dtype == dtype
    assert carry["v"].dtype == torch.float32
    wanted, end = layer(x.float())
    assert torch.equal(out.float(), wanted)
    assert torch.equal(carry["v"], end["v"])
    (g,) = torch.autograd.grad(out.sum(), x)
    assert g.dtype == dtype
    layer(x, carry)


@BOTH
@pytest.mark.parametrize("recurrent", [None, no.Recurrent(bias=True)])
@pytest.mark.parametrize("name", ["lif", "li", "brf", "pair"])
def test_autocast_computes_in_float32(name, recurrent, schedule):
    torch.manual_seed(0)
    layer = scatter(neuron(name).torch(5, schedule=schedule, recurrent=recurrent))
    linear = torch.nn.Linear(5, 5)
    x = drive(layer, 30, 2)["I"]
    wanted, _ = layer(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out, carry = layer(x)
        half, _ = layer(linear(x))
        shown = layer.trace(x)
    assert torch.equal(out, wanted)
    assert half.dtype == torch.bfloat16
    assert all(v.dtype == torch.float32 for v in carry.values())
    assert torch.equal(shown[layer.program.outputs[0][0]], layer.trace(x)[layer.program.outputs[0][0]])
    half.sum().backward()
    assert linear.weight.grad.isfinite().all()


@BOTH
@pytest.mark.parametrize("move", [lambda m: m.half(), lambda m: m.bfloat16(), lambda m: m.to(torch.float16)])
def test_a_layer_of_half_precision_is_refused(move, schedule):
    layer = move(lif(schedule=schedule))
    with pytest.raises(no.Unsupported, match=r"float16.*\nhint: keep it in float32"):
        layer(torch.zeros(2, 1, 5, dtype=layer._like.dtype))


# a machine without a compiler

WITHOUT = """
import sys, warnings
import numpy as np, torch, neuroode as no
x = torch.tensor(np.load(sys.argv[1])).requires_grad_()
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    layers = [no.load("alif").torch(5, dtype=torch.float64, schedule=s) for s in ("auto", "sequential", "eager")]
    layers.append(no.load("alif").torch(7, dtype=torch.float64))
    results = [m(x)[0] for m in layers[:3] for _ in range(3)]
said = [str(w.message) for w in caught if "no fast kernel" in str(w.message)]
assert len(caught) == len(said) == 1, [str(w.message) for w in caught]
assert all(torch.equal(r, results[0]) for r in results)
(g,) = torch.autograd.grad(results[0].sum(), x)
np.savez(sys.argv[2], out=results[0].detach(), g=g)
print(said[0])
"""


@pytest.mark.parametrize("compiler", ["/nonexistent/cc", pytest.param("false", marks=pytest.mark.slow)])
def test_without_a_compiler_the_eager_program_runs_and_says_so_once(tmp_path, compiler):
    layer = no.load("alif").torch(5, dtype=F64)
    x = drive(layer, 40, 3)["I"].requires_grad_()
    np.save(tmp_path / "x.npy", x.detach())
    script = tmp_path / "run.py"
    script.write_text(WITHOUT)
    run = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "x.npy"), str(tmp_path / "out.npz")],
        env=os.environ | {"CC": compiler, "NEUROODE_CACHE": str(tmp_path / "cache")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert compiler in run.stdout
    found = np.load(tmp_path / "out.npz")
    out, _ = layer(x)
    assert distance(found["out"], out.detach()) < 1e-12
    assert distance(found["g"], torch.autograd.grad(out.sum(), x)[0]) < 1e-11


# numbers that are not finite


def explosive(**options):
    text = """
neuron: explosive
dt: 1
method: euler
parameters: {k: {value: 1, per: neuron}}
equations: |
  dv/dt = k*v*v + I
  dw/dt = v - w
outputs: w
"""
    return no.Neuron.from_spec(read_text(text)).torch(4, dtype=F64, **options)


@BOTH
def test_check_finite_says_where(schedule):
    layer = explosive(schedule=schedule, check_finite=True)
    x = torch.zeros(40, 3, 4, dtype=F64)
    layer(x)
    x[0, 1, 2] = 10.0
    plain = explosive(schedule="eager").trace(x)["v"]
    first = int((~plain[:, 1, 2].isfinite()).nonzero()[0])
    with pytest.raises(no.RunError, match=rf"'v' of 'explosive' is not finite from step {first} on, lane \(1, 2\)"):
        layer(x)
    explosive(schedule=schedule)(x)
    with pytest.raises(no.RunError, match=rf"step {first} on, lane \(1, 2\)"):
        layer(x, lengths=torch.tensor([3, 40, 40]))
    x[first - 1, 0, 0] = float("nan")
    with pytest.raises(no.RunError, match=rf"step {first - 1} on, lane \(0, 0\)"):
        layer(x)
    with pytest.raises(no.RunError, match=rf"step {first} on, lane \(1, 2\)"):
        layer(x, lengths=torch.tensor([first - 1, 40, 40]))
    layer(x, lengths=torch.tensor([first - 1, first - 1, 40]))


@BOTH
def test_check_finite_sees_outputs_too(schedule):
    text = "neuron: m\ndt: 1\nequations: dv/dt = -v + I\noutputs: 1/v"
    layer = no.Neuron.from_spec(read_text(text)).torch(2, check_finite=True, schedule=schedule)
    with pytest.raises(no.RunError, match="not finite from step 0"):
        layer(torch.zeros(2, 1, 2))
    assert layer(torch.ones(2, 1, 2))[0].isfinite().all()


@BOTH
def test_nan_and_inf_go_through_as_they_do_in_arithmetic(schedule):
    layer = lif(3, schedule=schedule)
    x = torch.zeros(10, 2, 3)
    x[2, 0, 1], x[2, 1, 2], x[2, 1, 0] = float("nan"), float("inf"), -float("inf")
    out, carry = layer(x)
    assert carry["v"][0, 1].isnan()
    assert carry["v"][0, 0] == carry["v"][0, 2] == 0
    assert carry["v"][1, 0] == -float("inf")
    assert out[2, 1, 2] == 1
    assert not out[:, 0].any()
