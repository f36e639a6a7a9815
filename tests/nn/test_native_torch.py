"""Kernels without recurrence against loops in torch: values, gradients, shapes, threads, forks."""

from __future__ import annotations

import multiprocessing
import os

import pytest
import torch
from kernels import closeness, lif, two_of_all

from neuroode._errors import RunError, Unsupported
from neuroode.nn import eager_torch
from neuroode.nn.native_torch import compile_program, run
from neuroode.program.adjoint import adjoint

F32, F64 = torch.float32, torch.float64
TOLERANCE = {F64: (1e-12, 1e-11), F32: (1e-5, 1e-3)}


class Spike(torch.autograd.Function):
    """A step with the surrogate derivative 1/(1 + 2|m|)^2."""

    @staticmethod
    def forward(ctx, margin, strict):
        ctx.save_for_backward(margin)
        return (margin > 0 if strict else margin >= 0).to(margin.dtype)

    @staticmethod
    def backward(ctx, g):
        (margin,) = ctx.saved_tensors
        return g / (1 + 2 * margin.abs()) ** 2, None


def lif_loop(x, a, g, th, v, *, hard=True, strict=True, graded=False):
    rows = []
    for now in x.unbind(0):
        h = a * v + g * now
        s = Spike.apply(h - th, strict)
        v = h - s * h if hard else h - th * s
        rows.append(s * h if graded else s)
    return (torch.stack(rows) if rows else x.clone()), v


def kernel_of(program, dtype=F64, recurrent=None):
    return compile_program(program, adjoint(program), dtype, recurrent)


def lif_arrays(steps, batch, neurons, dtype=F64, seed=0):
    torch.manual_seed(seed)
    x = torch.randn(steps, batch, neurons, dtype=dtype) + 0.5
    a, th = (torch.rand(neurons, dtype=dtype) * 0.3 + 0.6 for _ in range(2))
    arrays = [x, a, torch.tensor(0.7, dtype=dtype), th, torch.randn(batch, neurons, dtype=dtype)]
    return [z.requires_grad_() for z in arrays]


def run_lif(kernel, arrays, **options):
    x, a, g, th, v = arrays
    (out,), (last,) = run(kernel, [x], [a, g, th], [v], **options)
    return out, last


def gradients(results, arrays, seed=1):
    torch.manual_seed(seed)
    return torch.autograd.grad(results, arrays, [torch.randn_like(r) for r in results], allow_unused=True)


SHAPES = [
    (70, 2, 3), (1, 1, 1), (0, 2, 3), (33, 5, 7), (64, 3, 36), (100, 4, 130), (40, 2, 600), (32, 3, 1300), (65, 1, 513),
    (10, 300, 3), (5, 0, 4), (5, 2, 0),
]  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", [F64, F32], ids=["float64", "float32"])
@pytest.mark.parametrize("hard", [True, False], ids=["hard", "soft"])
def test_runs_and_gradients_are_those_of_a_torch_loop(shape, dtype, hard):
    arrays = lif_arrays(*shape, dtype)
    expected = lif_loop(*arrays, hard=hard)
    found = run_lif(kernel_of(lif(hard=hard), dtype), arrays)
    values, slopes = TOLERANCE[dtype]
    for f, e in zip(found, expected, strict=True):
        assert f.shape == e.shape
        assert closeness(f, e) <= values
    for f, e in zip(gradients(found, arrays), gradients(expected, arrays), strict=True):
        assert closeness(f, torch.zeros_like(f) if e is None else e) <= slopes


def test_a_margin_of_zero_is_decided_as_declared():
    x = torch.zeros(1, 1, 2, dtype=F64)
    zero, one = torch.zeros(2, dtype=F64), torch.tensor(1.0, dtype=F64)
    for strict in (True, False):
        (out,), _ = run(kernel_of(lif(strict=strict)), [x], [zero, one, zero], [zero.expand(1, 2)])
        assert out.tolist() == [[[float(not strict)] * 2]]


def eager(program, coefficients, inputs, carry, **options):
    found = eager_torch.run(program, coefficients, inputs, carry, **options)
    return [*found.outputs, *found.carry]


def two_arrays(steps=45, batch=3, neurons=50):
    torch.manual_seed(2)
    make = lambda *size: torch.randn(*size, dtype=F64)  # noqa: E731
    x, y, u, w = make(steps, batch, neurons), make(steps, batch, neurons), make(batch, neurons), make(batch, neurons)
    return [z.requires_grad_() for z in (x, y, torch.rand(neurons, dtype=F64), u, w)]


def test_several_inputs_states_events_and_outputs():
    program = two_of_all()
    arrays = two_arrays()
    x, y, a, u, w = arrays
    coefficients = [a, torch.tensor(0.3, dtype=F64)]
    expected = eager(program, coefficients, [x, y], [u, w])
    outputs, carry = run(kernel_of(program), [x, y], coefficients, [u, w])
    for f, e in zip([*outputs, *carry], expected, strict=True):
        assert closeness(f, e) <= 1e-12
    one_output = torch.autograd.grad(outputs[1].sum(), [y], retain_graph=True)[0]
    assert closeness(one_output, torch.autograd.grad(expected[1].sum(), [y], retain_graph=True)[0]) <= 1e-11
    for f, e in zip(gradients([*outputs, *carry], arrays), gradients(expected, arrays), strict=True):
        assert closeness(f, e) <= 1e-11


def test_gradients_only_for_what_wants_them():
    x, a, g, th, v = lif_arrays(20, 2, 5)
    kernel = kernel_of(lif())
    full = gradients(run_lif(kernel, [x, a, g, th, v]), [a])
    out = run_lif(kernel, [x.detach(), a, g.detach(), th.detach(), v.detach()])
    assert torch.equal(gradients(out, [a])[0], full[0])
    with torch.no_grad():
        assert not run_lif(kernel, [x, a, g, th, v])[0].requires_grad


@pytest.mark.parametrize("view", [
    lambda x: x.transpose(0, 1).contiguous().transpose(0, 1),
    lambda x: torch.cat([x, x], dim=2)[:, :, x.shape[2] :],
    lambda x: torch.stack([x, x], dim=1)[:, 1],
    lambda x: torch.stack([x, x], dim=3)[..., 0],
    lambda x: x.repeat_interleave(2, 0)[::2],
], ids=["batch first", "offset", "gaps between steps", "gaps between lanes", "every other step"])  # fmt: skip
def test_arrays_may_lie_anyhow(view):
    x, *rest = lif_arrays(37, 3, 11)
    kernel = kernel_of(lif())
    expected = run_lif(kernel, [x, *rest])
    found = run_lif(kernel, [view(x), *rest])
    assert torch.equal(found[0], expected[0])
    for f, e in zip(gradients(found, [x, *rest]), gradients(expected, [x, *rest]), strict=True):
        assert closeness(f, e) <= 1e-14


def test_expanded_cotangents_and_inputs():
    x, *rest = lif_arrays(1, 2, 9)
    wide = x.expand(40, 2, 9)
    kernel = kernel_of(lif())
    found = torch.autograd.grad(run_lif(kernel, [wide, *rest])[0].sum(), x)[0]
    expected = torch.autograd.grad(lif_loop(wide, *rest)[0].sum(), x)[0]
    assert closeness(found, expected) <= 1e-11


def test_two_calls_that_pass_the_carry_on_equal_one():
    x, a, g, th, v = lif_arrays(75, 4, 40)
    kernel = kernel_of(lif())
    whole, last = run_lif(kernel, [x, a, g, th, v])
    first, middle = run_lif(kernel, [x[:31], a, g, th, v])
    second, end = run_lif(kernel, [x[31:], a, g, th, middle])
    assert torch.equal(torch.cat([first, second]), whole)
    assert torch.equal(end, last)
    seeds = torch.randn_like(whole)
    by_two = torch.autograd.grad(torch.cat([first, second]), (x, a, th, v), seeds)
    for f, e in zip(by_two, torch.autograd.grad(whole, (x, a, th, v), seeds), strict=True):
        assert closeness(f, e) <= 1e-13


@pytest.mark.parametrize("shape", [(50, 4, 36), (40, 3, 1300)], ids=str)
def test_after_its_end_a_sample_rests(shape):
    steps, batch, _ = shape
    arrays = lif_arrays(*shape)
    x, a, g, th, v = arrays
    lengths = torch.tensor([0, steps, 17, 32][:batch])
    for b, end in enumerate(lengths.tolist()):
        x.data[end:, b] = torch.nan  # nothing of the padding enters
    found = run_lif(kernel_of(lif()), arrays, lengths=lengths)
    grads = gradients(found, arrays)
    torch.manual_seed(1)
    seeds = [torch.randn_like(r) for r in found]
    total = [torch.zeros_like(z) for z in arrays]
    for b, end in enumerate(lengths.tolist()):
        one = lif_loop(x[:end, b : b + 1], a, g, th, v[b : b + 1])
        assert torch.equal(found[0][:end, b], one[0][:, 0])
        assert not found[0][end:, b].any()
        assert closeness(found[1][b], one[1][0]) <= 1e-12
        parts = torch.autograd.grad(one, arrays, [seeds[0][:end, b : b + 1], seeds[1][b : b + 1]], allow_unused=True)
        total = [t if p is None else t + p for t, p in zip(total, parts, strict=True)]
    for f, e in zip(grads, total, strict=True):
        assert closeness(f, e) <= 1e-11


@pytest.mark.parametrize("dtype", [F64, F32], ids=["float64", "float32"])
@pytest.mark.parametrize("shape", [(40, 37, 36), (20, 3, 1300)], ids=str)
def test_results_do_not_depend_on_the_number_of_threads(shape, dtype):
    arrays = lif_arrays(*shape, dtype)
    kernel = kernel_of(lif(), dtype)
    one, two = (run_lif(kernel, arrays, threads=n) for n in (1, 2))
    for f, e in zip([*one, *gradients(one, arrays)], [*two, *gradients(two, arrays)], strict=True):
        assert torch.equal(f, e)


def test_big_arrays_bypass_the_caches_with_the_same_result(monkeypatch):
    arrays = lif_arrays(40, 3, 160, F32)
    kernel = kernel_of(lif(), F32)
    plain = run_lif(kernel, arrays)
    expected = [*plain, *gradients(plain, arrays)]
    monkeypatch.setattr("neuroode.nn.native.cache_bytes", lambda: 0)
    monkeypatch.setattr("neuroode.nn.native_kernels_torch.LARGE", 0)
    streamed = run_lif(kernel, arrays)
    for f, e in zip([*streamed, *gradients(streamed, arrays)], expected, strict=True):
        assert torch.equal(f, e)


def _in_a_fork(queue):
    torch.set_num_threads(1)  # as workers of a DataLoader do: torch's own operations would hang too
    arrays = lif_arrays(30, 8, 200)
    out = run_lif(kernel_of(lif()), arrays, threads=2)
    queue.put(float(gradients(out, arrays)[0].sum()))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_works_after_a_fork():
    arrays = lif_arrays(30, 8, 200)
    out = run_lif(kernel_of(lif()), arrays, threads=2)  # the threads exist now, and do not in the child
    expected = float(gradients(out, arrays)[0].sum())
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_in_a_fork, args=(queue,))
    child.start()
    try:
        assert queue.get(timeout=60) == pytest.approx(expected, rel=1e-12)
    finally:
        child.kill()


def test_operators_are_registered_as_torch_wants_them():
    from neuroode.nn.native_torch import kernel_forward

    x, a, g, th, v = lif_arrays(5, 2, 3)
    kernel = kernel_of(lif())
    torch.library.opcheck(kernel_forward, (kernel.key, [x], [a, g, th], [], [v], None, 1, True))


@pytest.mark.slow
def test_inside_torch_compile():
    arrays = lif_arrays(12, 2, 5)
    kernel = kernel_of(lif())
    compiled = torch.compile(lambda *z: run_lif(kernel, [2 * z[0], *z[1:]]), backend="aot_eager", fullgraph=True)
    found, expected = compiled(*arrays), run_lif(kernel, [2 * arrays[0], *arrays[1:]])
    for f, e in zip([*found, *gradients(found, arrays)], [*expected, *gradients(expected, arrays)], strict=True):
        assert torch.equal(f, e)


def test_wrong_arrays_are_refused():
    x, a, g, th, v = lif_arrays(5, 2, 3)
    kernel = kernel_of(lif())
    with pytest.raises(RunError, match="coefficient of shape"):
        run(kernel, [x], [a[:2], g, th], [v])
    with pytest.raises(RunError, match="carry of shape"):
        run(kernel, [x], [a, g, th], [v.float()])
    with pytest.raises(RunError, match="lengths of shape"):
        run(kernel, [x], [a, g, th], [v], lengths=torch.tensor([1]))
    with pytest.raises(RunError, match="do not fit"):
        run(kernel, [x, x], [a, g, th], [v])
    with pytest.raises(Unsupported, match="float32 or float64"):
        compile_program(lif(), adjoint(lif()), torch.float16)


def test_a_second_derivative_is_refused():
    x, *rest = lif_arrays(5, 2, 3)
    (g,) = torch.autograd.grad(run_lif(kernel_of(lif()), [x, *rest])[0].sum(), x, create_graph=True)
    with pytest.raises(Unsupported, match="no second derivative"):
        torch.autograd.grad(g.sum(), x)
