"""Fourier solvers against the sequential float64 reference, scipy, mpmath, autograd of the loop and differences."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
import scipy.fft
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neuroode._errors import RunError, Unsupported
from neuroode.solvers.on_numpy import scan as reference
from neuroode.solvers.on_torch import convolution_torch as convolution
from neuroode.solvers.on_torch import scan_torch
from tests.linear_systems import STATES, form_of, system
from tests.solvers.test_scan import LANES, LENGTHS, error, tensors

SIZE, BRANCHES = 3, 4


@pytest.mark.parametrize("steps", LENGTHS)
@pytest.mark.parametrize("name", STATES)
def test_transform_is_the_loop(name: str, steps: int) -> None:
    matrix, drive, start = system(name, steps, LANES, steps, invariant=True)
    expected = reference.affine_invariant(form_of(name), matrix, drive, start)
    found = convolution.affine_invariant(form_of(name), tensors(matrix), tensors(drive), tensors(start))
    assert error([f.numpy() for f in found], expected) < 1e-11
    cotangents = list(np.random.default_rng(9).normal(size=np.shape(drive)))
    expected = reference.adjoint_invariant(form_of(name), matrix, cotangents)
    found = convolution.adjoint_invariant(form_of(name), tensors(matrix), tensors(cotangents))
    assert error([f.numpy() for f in found], expected) < 1e-11


@settings(max_examples=30, deadline=None)
@given(name=st.sampled_from(list(STATES)), steps=st.integers(1, 200), seed=st.integers(0, 10**6))
def test_transform_is_the_scan(name: str, steps: int, seed: int) -> None:
    matrix, drive, start = (tensors(x) for x in system(name, steps, LANES, seed, invariant=True))
    compose, apply = scan_torch.affine(form_of(name))
    expected = scan_torch.scan(compose, apply, [*matrix, *drive], start)
    found = convolution.affine_invariant(form_of(name), matrix, drive, start)
    assert error([f.numpy() for f in found], [e.numpy() for e in expected]) < 1e-10


def test_a_state_without_drive() -> None:
    """None of a drive, and matrices of the layer (no axis) or of the neuron."""
    matrix, drive, start = system("complex", 60, LANES, 5, invariant=True)
    re, im = torch.tensor(0.9, dtype=torch.float64), tensors(matrix)[1] * 0.1
    expected = reference.affine_invariant("complex", [re.numpy(), im.numpy()], [drive[0], None], start)
    found = convolution.affine_invariant("complex", [re, im], [tensors(drive)[0], None], tensors(start))
    assert error([f.numpy() for f in found], expected) < 1e-12


@pytest.mark.parametrize("base", [0.5, -0.999, 1 - 1e-6, complex(-0.6, 0.799), complex(0.3, -0.95), 1e-3j])
def test_powers_are_those_of_mpmath(base: complex) -> None:
    k = torch.tensor([0.0, 1, 2, 3, 17, 1000, 32_767], dtype=torch.float64)
    kinds = (torch.complex64, torch.complex128) if isinstance(base, complex) else (torch.float32, torch.float64)
    for given_ in (torch.tensor(base, dtype=kind) for kind in kinds):
        with mpmath.workdps(40):
            expected = [complex(mpmath.mpmathify(given_.item()) ** int(n)) for n in k]
        found = convolution.power(given_, k).numpy()
        assert np.all(np.abs(found - expected) <= 2e-11 * np.abs(expected))


def test_powers_of_zero_and_their_slopes() -> None:
    base = torch.zeros(1, dtype=torch.complex128, requires_grad=True)
    found = convolution.power(base, torch.arange(4, dtype=torch.float64))
    assert found.tolist() == [[1, 0, 0, 0]]
    found.real.sum().backward()
    assert base.grad.tolist() == [1]
    other = torch.tensor([0.7 - 0.4j], dtype=torch.complex128, requires_grad=True)
    again = lambda z: convolution.power(z, torch.arange(5, dtype=torch.float64))  # noqa: E731
    assert torch.autograd.gradcheck(again, other)
    assert torch.autograd.gradgradcheck(again, other)


@pytest.mark.parametrize("name", ["dense2", "dense3", "dense4"])
def test_dense_kernels_are_matrix_powers(name: str) -> None:
    matrix, _, _ = system(name, 1, (1, 2), 11, invariant=True)
    n = STATES[name]
    found = torch.stack(convolution.kernel("dense", tensors(matrix), 300), -1).reshape(2, 300, n, n)
    block = np.stack(matrix, -1).reshape(2, n, n)
    for k in (0, 1, 2, 17, 255, 256, 299):
        np.testing.assert_allclose(found[:, k], np.linalg.matrix_power(block, k), atol=1e-13)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_kernels_that_grow_are_refused(dtype: torch.dtype) -> None:
    drive, start = [torch.ones(1000, 1, 1, dtype=dtype)], [torch.zeros(1, 1, dtype=dtype)]
    with pytest.raises(RunError, match=r"multipliers grow to 2.25e\+41 over the sequence.*\n.*schedule='scan'"):
        convolution.affine_invariant("diagonal", [torch.tensor([1.1], dtype=dtype)], drive, start)
    slow = [torch.tensor([1.001], dtype=dtype)]
    found = convolution.affine_invariant("diagonal", slow, drive, start)[0][-1].item()
    assert math.isclose(found, (slow[0].item() ** 1000 - 1) / (slow[0].item() - 1), rel_tol=1e-5)


def test_kernels_of_stacked_parameters_are_refused() -> None:
    drive, start = torch.ones(10, 1, 3), torch.zeros(1, 3)
    run = lambda a: convolution.affine_invariant("diagonal", [a], [drive], [start])  # noqa: E731
    with pytest.raises(Unsupported, match=r"stacked parameters.*vmap"):
        torch.func.vmap(run)(torch.rand(4, 3))


def test_forms_without_a_kernel() -> None:
    with pytest.raises(Unsupported, match="form 'moebius'"):
        convolution.kernel("moebius", [torch.ones(1)], 3)


@pytest.mark.parametrize("least", [1, 2, 3, 61, 63, 255, 2047, 65_535, 65_537, 12_345])
def test_fast_lengths_are_even_and_those_of_scipy(least: int) -> None:
    found = convolution.fast_length(least)
    assert found == 2 * scipy.fft.next_fast_len(-(-least // 2), real=True)


def branches(steps: int, kind: str, *, batch: int = 2, dtype=np.float64):
    """(reading, gain, factor, drive, start) of SIZE neurons with BRANCHES branches."""
    rng = np.random.default_rng(steps)
    modulus, angle = rng.uniform(0.7, 1, size=(SIZE, BRANCHES)), rng.uniform(0, np.pi, size=(SIZE, BRANCHES))
    modulus[0, :2] = (0.0, 1.0)
    factor = modulus * np.exp(1j * angle) if kind == "complex" else modulus * np.sign(np.cos(angle))
    reading, gain = rng.normal(size=(2, SIZE, BRANCHES))
    if kind == "complex":
        reading, gain = reading + 1j * gain[::-1], gain - 0.3j
    drive, start = rng.normal(size=(steps, batch, SIZE)), rng.normal(size=(2, batch, SIZE, BRANCHES))
    return reading, gain, factor, drive.astype(dtype), start[0] + (1j * start[1] if kind == "complex" else 0)


@pytest.mark.parametrize("steps", [0, 1, 2, 31, 33, 1024, 1500])
@pytest.mark.parametrize("kind", ["real", "complex"])
@pytest.mark.parametrize("started", [True, False])
def test_collapsed_branches_are_their_sum(steps: int, kind: str, started: bool) -> None:
    reading, gain, factor, drive, start = branches(steps, kind)
    h, last = reference.collapsed(reading, gain, factor, drive, start if started else None)
    arrays = [torch.as_tensor(x) for x in (reading, gain, factor, drive, start)]
    found = convolution.collapsed(*arrays[: 5 if started else 4])
    assert error([found[0].numpy()], [h]) < 1e-11
    np.testing.assert_allclose(found[1].numpy(), last, atol=1e-11)


@pytest.mark.parametrize("kind", ["real", "complex"])
def test_gradients_of_collapsed_branches(kind: str) -> None:
    """Against autograd of the loop, in everything; at a multiplier of zero and on the unit circle too."""
    arrays = branches(40, kind)
    leaves = [torch.as_tensor(x).requires_grad_() for x in arrays]
    h, last = convolution.collapsed(*leaves)
    rng = np.random.default_rng(1)
    seeds = torch.as_tensor(rng.normal(size=h.shape)), torch.as_tensor(rng.normal(size=last.shape))
    found = torch.autograd.grad((h * seeds[0]).sum() + (last * seeds[1]).real.sum(), leaves)
    others = [torch.as_tensor(x).requires_grad_() for x in arrays]
    reading, gain, factor, drive, z = others
    total = torch.zeros((), dtype=torch.float64)
    for t in range(40):
        z = factor * z + gain * drive[t][..., None]
        total = total + ((reading * z).sum(-1).real * seeds[0][t]).sum()
    expected = torch.autograd.grad(total + (z * seeds[1]).real.sum(), others)
    for f, e in zip(found, expected, strict=True):
        np.testing.assert_allclose(f.numpy(), e.numpy(), atol=1e-10 * e.abs().max().item())


def test_second_derivatives_of_a_convolution() -> None:
    kernel = torch.randn(3, 6, dtype=torch.float64, requires_grad=True)
    drive = torch.randn(6, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(convolution.convolve, (kernel, drive))
    assert torch.autograd.gradgradcheck(convolution.convolve, (kernel, drive))


def test_collapsed_in_single_precision_keeps_its_type() -> None:
    arrays = branches(300, "complex")
    wide = convolution.collapsed(*(torch.as_tensor(x) for x in arrays))
    narrow = [torch.as_tensor(x) for x in arrays]
    narrow = [x.to(torch.complex64 if x.is_complex() else torch.float32) for x in narrow]
    h, last = convolution.collapsed(*narrow)
    assert (h.dtype, last.dtype) == (torch.float32, torch.complex64)
    assert error([h.double().numpy()], [wide[0].numpy()]) < 3e-5  # the multipliers were rounded too
    assert error([last.numpy()], [wide[1].numpy()]) < 3e-5
