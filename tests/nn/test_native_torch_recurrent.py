"""Recurrent kernels against a loop in torch."""

from __future__ import annotations

import pytest
import torch
from kernels import closeness, lif, two_of_all

from neuroode.nn import eager_torch
from neuroode.nn.native_torch import compile_program, run
from neuroode.program.adjoint import adjoint

F32, F64 = torch.float32, torch.float64
TOLERANCE = {F64: (1e-12, 1e-11), F32: (1e-5, 1e-3)}


def arrays_of(steps, batch, neurons, dtype=F64, bias=True):
    torch.manual_seed(0)
    make = lambda *size: torch.randn(*size, dtype=dtype)  # noqa: E731
    found = {
        "x": make(steps, batch, neurons) * 0.7 + 0.3,
        "a": torch.rand(neurons, dtype=dtype) * 0.3 + 0.6,
        "g": torch.tensor(0.7, dtype=dtype),
        "th": torch.rand(neurons, dtype=dtype) * 0.3 + 0.6,
        "v": make(batch, neurons),
        "w_rec": make(neurons, neurons) * 0.5 / max(neurons, 1) ** 0.5,
        "last": make(batch, neurons) * (torch.rand(batch, neurons) < 0.4),
    }
    if bias:
        found["bias"] = make(neurons) * 0.1
    return {k: z.requires_grad_() for k, z in found.items()}


def by_kernel(program, z, **options):
    kernel = compile_program(program, adjoint(program), z["x"].dtype, ("I", "s"))
    outputs, carry = run(
        kernel, [z["x"]], [z["a"], z["g"], z["th"]], [z["v"]],
        w_rec=z["w_rec"], bias=z.get("bias"), last_output=z["last"], **options,
    )  # fmt: skip
    return [*outputs, *carry]


def by_loop(program, z, lengths=None):
    drive = eager_torch.Drive(0, 0, z["w_rec"], z.get("bias"), z["last"])
    coefficients = [z["a"], z["g"], z["th"]]
    found = eager_torch.run(program, coefficients, [z["x"]], [z["v"]], drive=drive, lengths=lengths)
    return [*found.outputs, *found.carry, found.last]


def gradients(results, z):
    torch.manual_seed(1)
    return torch.autograd.grad(results, list(z.values()), [torch.randn_like(r) for r in results])


def assert_equal_runs(found, expected, z, dtype=F64):
    values, slopes = TOLERANCE[dtype]
    for f, e in zip(found, expected, strict=True):
        assert closeness(f, e) <= values
    for name, f, e in zip(z, gradients(found, z), gradients(expected, z), strict=True):
        assert closeness(f, e) <= slopes, name


SHAPES = [(1, 1, 1), (40, 2, 3), (33, 9, 36), (64, 17, 36), (50, 5, 130), (20, 8, 256)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", [F64, F32], ids=["float64", "float32"])
@pytest.mark.parametrize("graded", [False, True], ids=["spikes", "graded"])
def test_runs_and_gradients_are_those_of_a_torch_loop(shape, dtype, graded):
    program, z = lif(graded=graded, hard=shape[1] % 2 == 0), arrays_of(*shape, dtype, bias=shape[2] > 3)
    assert_equal_runs(by_kernel(program, z), by_loop(program, z), z, dtype)


@pytest.mark.parametrize("graded", [False, True], ids=["spikes", "graded"])
def test_after_its_end_a_sample_rests(graded):
    program, z = lif(graded=graded), arrays_of(50, 11, 20)
    lengths = torch.tensor([50, 0, 17, 32, 33, 50, 1, 49, 31, 0, 5])
    for b, end in enumerate(lengths.tolist()):
        z["x"].data[end:, b] = torch.nan
    assert_equal_runs(by_kernel(program, z, lengths=lengths), by_loop(program, z, lengths), z)


def test_two_calls_that_pass_the_carry_on_equal_one():
    program, z = lif(), arrays_of(45, 3, 36)
    out, v, last = by_kernel(program, z)
    first, v1, last1 = by_kernel(program, z | {"x": z["x"][:20]})
    second, v2, last2 = by_kernel(program, z | {"x": z["x"][20:], "v": v1, "last": last1})
    assert torch.equal(torch.cat([first, second]), out)
    assert torch.equal(v2, v)
    assert torch.equal(last2, last)


def test_results_do_not_depend_on_the_number_of_threads():
    program, z = lif(), arrays_of(40, 75, 36, F32)
    one, two = by_kernel(program, z, threads=1), by_kernel(program, z, threads=2)
    for f, e in zip([*one, *gradients(one, z)], [*two, *gradients(two, z)], strict=True):
        assert torch.equal(f, e)


@pytest.mark.parametrize("shape", [(0, 2, 3), (5, 0, 4)], ids=str)
def test_without_steps_or_samples_nothing_happens(shape):
    program, z = lif(), arrays_of(*shape)
    found = by_kernel(program, z)
    assert torch.equal(found[1], z["v"])
    assert torch.equal(found[2], z["last"])
    grads = dict(zip(z, gradients(found, z), strict=True))
    assert not grads["w_rec"].any()
    assert not grads["a"].any()


@pytest.mark.parametrize("fed", ["s", "y"])
@pytest.mark.parametrize("into", ["I", "K"])
def test_one_of_several_outputs_comes_back_to_one_of_several_inputs(fed, into):
    program = two_of_all()
    torch.manual_seed(3)
    make = lambda *size: torch.randn(*size, dtype=F64)  # noqa: E731
    z = {"I": make(37, 9, 12), "K": make(37, 9, 12), "a": torch.rand(12, dtype=F64), "u": make(9, 12), "w": make(9, 12)}
    z |= {"w_rec": make(12, 12) / 4, "last": make(9, 12)}
    z = {k: v.requires_grad_() for k, v in z.items()}
    coefficients = [z["a"], torch.tensor(0.3, dtype=F64)]
    kernel = compile_program(program, adjoint(program), F64, (into, fed))
    outputs, carry = run(
        kernel, [z["I"], z["K"]], coefficients, [z["u"], z["w"]], w_rec=z["w_rec"], last_output=z["last"]
    )
    drive = eager_torch.Drive("IK".index(into), "sy".index(fed), z["w_rec"], None, z["last"])
    e = eager_torch.run(program, coefficients, [z["I"], z["K"]], [z["u"], z["w"]], drive=drive)
    assert_equal_runs([*outputs, *carry], [*e.outputs, *e.carry, e.last], z)
