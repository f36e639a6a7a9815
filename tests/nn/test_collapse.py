"""Branches of which only weighted sums are read: which they are, and their runs against the float64 interpreter."""

from __future__ import annotations

import pytest
import torch
from oracles import assert_same, by_interpreter, by_layer, drive, neuron, scatter

import neuroode as no
from neuroode.program.partition import Stage, partition
from neuroode.program.types import Program
from neuroode.spec.read_yaml import read_text

ZOO = ("drf", "prf", "s5_rf", "rf")
#: two real filters of one input
TWO = """
neuron: two
dt: 1
inputs: {I: current}
parameters: {a: 0.9, b: 0.7, g: 2}
equations: |
  x[t] = a*x[t-1] + I
  y[t] = b*y[t-1] + g*I
"""
ONE_SUM = "  h = 3*x - y/2\noutputs: h\n"
OTHERS = {
    "as many sums as states": "  h = x - y\n  k = x\noutputs: {h: h, k: k}\n",
    "read before the step": "  h = x - y[t-1]\noutputs: h\n",
    "a product": "  h = x*y\noutputs: h\n",
}


def made(text: str) -> no.Neuron:
    return no.Neuron.from_spec(read_text(text))


def collapsed(program: Program) -> list[Stage]:
    return [s for s in partition(program, collapsed=True).stages if s.collapse is not None]


def test_the_branches_of_drf_are_read_as_one_sum() -> None:
    (stage,) = collapsed(neuron("drf").program(1.0))
    assert len(stage.blocks) == 4
    assert len(stage.collapse.readings) == 1
    rows = str(neuron("drf").program(1.0).plan)
    assert "4 branches collapsed into 1 real kernel" in rows


def test_two_filters_and_one_sum() -> None:
    (stage,) = collapsed(made(TWO + ONE_SUM).program(1.0))
    assert (stage.slots, stage.form, len(stage.collapse.readings)) == (("x", "y"), "diagonal", 1)


@pytest.mark.parametrize("why", OTHERS)
def test_what_stays(why: str) -> None:
    assert not collapsed(made(TWO + OTHERS[why]).program(1.0))


@pytest.mark.parametrize("change", ["g*I -> g*I + 1", "g*I -> g*abs(I)", "b*y -> b*x", "b*y -> b*I*y"])
def test_drives_that_are_not_multiples_of_one_number(change: str) -> None:
    """A constant, another function of the input, another branch, a multiplier that changes."""
    text = (TWO + ONE_SUM).replace(*change.split(" -> "))
    assert text != TWO + ONE_SUM
    assert not collapsed(made(text).program(1.0))


@pytest.mark.parametrize("name", ZOO)
@pytest.mark.parametrize("continued", [False, True])
def test_equal_to_the_interpreter(name: str, continued: bool) -> None:
    torch.manual_seed(0)
    layer = scatter(neuron(name).torch(5, schedule="fft", dtype=torch.float64))
    assert collapsed(layer.program)
    x, carry = drive(layer, 67, 2), layer.init_carry(2)
    start = type(carry)({k: v + 0.01 for k, v in carry.items()}, carry.digest) if continued else None
    assert_same(by_layer(layer, x, start), by_interpreter(layer, x, start), values=1e-11, grads=1e-10)


def run(layer: torch.nn.Module, x: torch.Tensor, **call):
    """Output, carry and gradients in the input and the parameters, of a fixed functional of them."""
    x = x.clone().requires_grad_()
    out, carry = layer(x, **call)
    total = (out * torch.arange(out.numel()).reshape(out.shape)).sum() + sum((c * c).sum() for c in carry.values())
    return [out, *carry.values(), *torch.autograd.grad(total, [x, *layer.parameters()])]


MORE = TWO.replace("  y[t]", "  w[t] = 0.3*w[t-1] + I\n  y[t]")
CASES = {
    "a sum": TWO + ONE_SUM,
    "a filter behind a filter": MORE.replace("g*I", "g*w") + "  h = 3*x - y/2\noutputs: h\n",
    "a lag of a sum": TWO + "  h = 3*x - y/2\n  k = h[t-2]\noutputs: k\n",
    "three filters, two sums": MORE + "  h = abs(x + w) + abs(y - w)\noutputs: h\n",
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("lengths", [None, [40, 7, 0]])
def test_real_filters_are_those_of_the_loop(case: str, lengths: list[int] | None) -> None:
    """Samples of different lengths take the states branch by branch."""
    layers = [made(CASES[case]).torch(2, schedule=s, dtype=torch.float64) for s in ("fft", "eager")]
    call = {} if lengths is None else {"lengths": torch.tensor(lengths)}
    x = torch.randn(40, 3, 2, dtype=torch.float64)
    for found, expected in zip(*(run(layer, x, **call) for layer in layers), strict=True):
        assert (found - expected).abs().max() <= 1e-11 * expected.abs().max()


def test_no_branch_is_stored() -> None:
    """What autograd keeps of drf: the convolution's input and kernel, where a scan keeps eight states."""
    kept = {}
    for schedule in ("fft", "scan"):
        layer, sizes = neuron("drf").torch(8, schedule=schedule), []
        with torch.autograd.graph.saved_tensors_hooks(lambda t, s=sizes: s.append(t.numel()) or t, lambda t: t):
            layer(torch.randn(200, 3, 8))
        kept[schedule] = sum(n for n in sizes if n >= 200 * 3 * 8) / (200 * 3 * 8)
    assert kept["fft"] + 8 <= kept["scan"]


def test_a_readout_with_a_direct_part_stays_one_kernel() -> None:
    """y = sum_k Re(C_k x_k) + D u, and a bilinear step whose matrices turn out to be complex numbers."""
    (stage,) = (
        s for s in partition(no.load("p_spikessm", compat="linear").program(), collapsed=True).stages if s.slots
    )
    assert (stage.form, len(stage.blocks)) == ("complex", 8)
    assert stage.collapse is not None
    assert len(stage.collapse.readings) == 1
