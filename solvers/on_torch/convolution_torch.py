"""Linear recurrences whose matrix is the same in all steps, by real fast Fourier transforms, on torch tensors.

s_t = A s_{t-1} + b_t is the convolution of b with the kernel A^k. Kernels are computed in float64, each power from
moduli and phases of two (dense ones by doubling), and rounded once. The error of a transform is relative to the
largest number in the window, not to each state: kernels that grow are refused (docs/parallel.md).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from neuroode._errors import RunError, Unsupported

from .scan_torch import transposed

Tensor = torch.Tensor

SEGMENT = 1024  # steps that one product sums up for a final state
DIGITS = 1e-3  # what rounding times growth of a kernel may come to


class Growth(RunError):
    """Powers of a matrix grow so much over the sequence that a transform would lose the digits of the states."""


def affine_invariant(
    form: str, matrix: Sequence[Tensor], drive: Sequence[Tensor | None], start: Sequence[Tensor]
) -> tuple[Tensor, ...]:
    """The states after each step of s' = A s + b_t.

    Args:
        form: `diagonal` (a), `complex` (a_re, a_im) or `dense` (A row by row).
        matrix: entries of A, (*size*) each; they broadcast against (*lanes*) from the right.
        drive: entries of b, (T, *lanes*) each; None: zero. At least one is there.
        start: parts of the state before the first step, (*lanes*) each.

    Returns:
        Parts of the state, (T, *lanes*) each. Gradients are not meant to flow through (nn/parallel_torch.py).

    Raises:
        Growth: A^k grows so much within T steps that fewer than three digits would be left.
    """
    steps = next(len(b) for b in drive if b is not None)
    if steps == 0:
        return tuple(s.new_zeros((0, *s.shape)) for s in start)
    length = fast_length(2 * steps - 1)
    rows = _rows(form, _spectra(form, matrix, steps, length, start[0]))
    first = _rows(form, [_lanes(e, start[0].dim()) for e in matrix])
    inflow = []
    for i, b in enumerate(drive):  # the start acts as a drive A s in the first step, whose spectrum is flat
        impulse = _dot(first[i], start)[..., None]
        inflow.append(impulse if b is None else impulse + torch.fft.rfft(b.movedim(0, -1), length))
    return tuple(_back(_dot(row, inflow), steps, length) for row in rows)


def adjoint_invariant(form: str, matrix: Sequence[Tensor], cotangents: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """lambda_t = g_t + A' lambda_{t+1}, lambda_T = 0: the correlation of g with the kernel.

    Args:
        form: as for `affine_invariant`.
        matrix: entries of A, (*size*) each.
        cotangents: g of each part of the state, (T, *lanes*).
    """
    steps = len(cotangents[0])
    if steps == 0:
        return tuple(cotangents)
    length = fast_length(2 * steps - 1)
    spectra = _spectra(form, matrix, steps, length, cotangents[0][0])
    rows = _rows(form, transposed(form, [s.conj() for s in spectra]))
    inflow = [torch.fft.rfft(g.movedim(0, -1), length) for g in cotangents]
    return tuple(_back(_dot(row, inflow), steps, length) for row in rows)


def kernel(form: str, matrix: Sequence[Tensor], steps: int) -> tuple[Tensor, ...]:
    """Entries of A^0 ... A^(steps - 1) in the form of A, (*size*, steps) each, in float64."""
    wide = torch.broadcast_tensors(*(e.double() for e in matrix))
    if form == "diagonal":
        return (_powers(wide[0], steps),)
    if form == "complex":
        found = _powers(torch.complex(*wide), steps)
        return found.real, found.imag
    if form != "dense":
        raise Unsupported(f"steps of form {form!r}", hint="forms of affine steps: diagonal, complex, dense")
    n = round(len(wide) ** 0.5)
    powers = _dense_powers(torch.stack(wide, -1).reshape(*wide[0].shape, n, n), steps)
    return tuple(powers[..., i, j].movedim(0, -1) for i in range(n) for j in range(n))


def _powers(base: Tensor, steps: int) -> Tensor:
    """base^0 ... base^(steps - 1): (*size*) to (*size*, steps)."""
    high, low = _high_and_low(base, steps)
    return (high[..., None] * low[..., None, :]).flatten(-2)[..., :steps]


def _high_and_low(base: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """base^(Q p) and base^q, (*size*, P) and (*size*, Q), of which every power up to `steps` is a product."""
    across = 1 << ((steps - 1).bit_length() + 1) // 2
    down = -(-steps // across)
    k = torch.arange(max(across, down), dtype=torch.float64, device=base.device)
    return power(base, across * k[:down]), power(base, k[:across])


def _dense_powers(matrix: Tensor, steps: int) -> Tensor:
    """A^0 ... A^(steps - 1), (steps, *size*, n, n); each doubling multiplies all powers so far by the next one."""
    found = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device).expand(1, *matrix.shape)
    while len(found) < steps:
        found = torch.cat([found, found[: steps - len(found)] @ (found[-1] @ matrix)])
    return found


def _spectra(form: str, matrix: Sequence[Tensor], steps: int, length: int, like: Tensor) -> list[Tensor]:
    """Transforms of the kernel's entries, in the precision of the states."""
    entries = kernel(form, matrix, steps)
    _check_growth(entries, like.dtype)
    return [torch.fft.rfft(_lanes(e.to(like.dtype), like.dim() + 1), length) for e in entries]


def _check_growth(entries: Sequence[Tensor], dtype: torch.dtype) -> None:
    largest = torch.stack([e.abs().amax() for e in entries]).amax()
    try:
        growth = largest.item()
    except RuntimeError as e:
        if "vmap" not in str(e):
            raise
        what = "Fourier transforms of stacked parameters: whether kernels grow is not known inside torch.func.vmap"
        raise Unsupported(what, hint="schedule='scan' has no kernel") from e
    limit = DIGITS / torch.finfo(dtype).eps
    if not growth <= limit:
        raise Growth(
            f"multipliers grow to {growth:.3g} over the sequence: a Fourier transform rounds every state by that much",
            hint=f"schedule='scan' has no such limit (at most {limit:.1g} here)",
        )


def _lanes(e: Tensor, axes: int) -> Tensor:
    """With leading axes of 1, so that what follows broadcasts."""
    return e.reshape(*(1,) * (axes - e.dim()), *e.shape)


def _rows(form: str, entries: Sequence[Tensor]) -> list[list[Tensor]]:
    """The matrix that the entries of a form stand for."""
    if form == "complex":
        re, im = entries
        return [[re, -im], [im, re]]
    n = round(len(entries) ** 0.5)
    return [list(entries[i * n : i * n + n]) for i in range(n)]


def _dot(row: Sequence[Tensor], column: Sequence[Tensor]) -> Tensor:
    total = row[0] * column[0]
    for a, x in zip(row[1:], column[1:], strict=True):
        total = total + a * x
    return total


def _back(spectrum: Tensor, steps: int, length: int) -> Tensor:
    """The first steps of the transform back, time first."""
    return torch.fft.irfft(spectrum, length)[..., :steps].movedim(-1, 0).contiguous()


def fast_length(least: int) -> int:
    """The smallest even number from `least` on without a prime factor above 5: transforms of such lengths are fast."""
    best = 2
    while best < least:
        best *= 2
    fives = 1
    while fives < best:
        odd = fives
        while odd < best:
            found = 2 * odd
            while found < least:
                found *= 2
            best, odd = min(best, found), 3 * odd
        fives *= 5
    return best


def power(base: Tensor, exponents: Tensor) -> Tensor:
    """base^k for whole k >= 0: (*size*) and (K,) to (*size*, K) in double precision, real or complex, 0^0 = 1.

    Complex powers come from modulus and phase; their derivative k base^(k - 1) is finite at zero too.
    """
    wide = _wide(base)
    return _ComplexPower.apply(wide, exponents) if wide.is_complex() else torch.pow(wide[..., None], exponents)


class _ComplexPower(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(base, exponents):
        z = base[..., None]
        return torch.polar(torch.pow(z.abs(), exponents), z.angle() * exponents)

    @staticmethod
    def setup_context(ctx, inputs, output):  # noqa: ARG004
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, g):
        base, exponents = ctx.saved_tensors
        slope = exponents * power(base, (exponents - 1).clamp(min=0))
        return (g * slope.conj()).sum(-1), None


def convolve(kernel: Tensor, drive: Tensor) -> Tensor:
    """The causal convolution sum_k K_k u_{t-k}, differentiable in both.

    Args:
        kernel: (*size*, T), of the drive's dtype.
        drive: (T, *lanes*) whose last axes are *size*.
    """
    return _Convolution.apply(kernel, drive)


class _Convolution(torch.autograd.Function):
    """Keeps the kernel and the drive, not their transforms, which take four times the memory."""

    generate_vmap_rule = True

    @staticmethod
    def forward(kernel, drive):
        length, k, u = _transforms(kernel, drive)
        return _back(k * u, len(drive), length)

    @staticmethod
    def setup_context(ctx, inputs, output):  # noqa: ARG004
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, g):
        kernel, drive = ctx.saved_tensors
        length, k, u = _transforms(kernel, drive)
        spectrum, steps = torch.fft.rfft(g.movedim(0, -1), length), len(g)
        of_kernel = of_drive = None
        if ctx.needs_input_grad[0]:
            summed = (u.conj() * spectrum).sum_to_size(k.shape)
            of_kernel = torch.fft.irfft(summed, length)[..., :steps].reshape(kernel.shape)
        if ctx.needs_input_grad[1]:
            of_drive = _back(k.conj() * spectrum, steps, length)
        return of_kernel, of_drive


def _transforms(kernel: Tensor, drive: Tensor) -> tuple[int, Tensor, Tensor]:
    length = fast_length(2 * len(drive) - 1)
    lanes = _lanes(kernel, drive.dim())
    return length, torch.fft.rfft(lanes, length), torch.fft.rfft(drive.movedim(0, -1), length)


def collapsed(
    reading: Tensor, gain: Tensor, factor: Tensor, drive: Tensor, start: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    r"""n branches of which only h_t = Re \sum_i C_i z_{i,t} is read: one real kernel, one real convolution.

    z_{i,t} = A_i z_{i,t-1} + \Gamma_i u_t, so h = K * u with K_k = Re \sum_i C_i \Gamma_i A_i^k; no state is kept.
    Differentiable in everything.

    Args:
        reading: C, (*size*, n), real or complex.
        gain: Gamma, (*size*, n), real or complex.
        factor: A, (*size*, n), real or complex.
        drive: u, (T, *lanes*), real, whose last axes are *size*.
        start: z before the first step, (*lanes*, n); None: zero.

    Returns:
        h, (T, *lanes*), and z after the last step, (*lanes*, n).

    References: D-RF (arXiv 2509.17186) eq. 13, papers/drf.md; Gu et al. 2022 (arXiv 2206.11893) eq. 6.
    """
    last = _last(gain, factor, drive, start)
    if not len(drive):
        return drive, last
    found = branch_kernel(_wide(reading) * _wide(gain), factor, len(drive), drive.dtype)
    _check_growth([found.detach()], drive.dtype)
    h = convolve(found, drive)
    if start is not None:
        weight = _wide(reading) * _wide(factor) * _wide(start)
        h = h + branch_kernel(weight, factor, len(drive), drive.dtype).movedim(-1, 0)
    return h, last


def branch_kernel(weight: Tensor, factor: Tensor, steps: int, dtype: torch.dtype) -> Tensor:
    r"""Re \sum_i w_i A_i^k for k = 0 ... steps - 1: (*lanes*, n) and (*size*, n) to (*lanes*, steps), of a real dtype.

    k = Q p + q splits the powers: a product of matrices of (steps/Q, 2n) and (2n, Q) numbers makes the kernel, and no
    power of every branch at every step is stored. Powers are float64, and so is the product where lanes are *size*.
    """
    w, a = _wide(weight), _wide(factor)
    if w.is_complex() and not a.is_complex():
        w = w.real
    high, low = _high_and_low(a, steps)
    high = (w[..., None] * high).mT
    if high.is_complex():
        low = torch.cat([low.real, low.imag], -2) if low.is_complex() else low
        high = torch.cat([high.real, -high.imag], -1)
    if weight.dim() > factor.dim():  # one kernel for each sample is as large as a drive
        high, low = high.to(dtype), low.to(dtype)
    return (high @ low).flatten(-2)[..., :steps].to(dtype)


def _wide(x: Tensor) -> Tensor:
    return x.to(torch.complex128 if x.is_complex() else torch.float64)


def _last(gain: Tensor, factor: Tensor, drive: Tensor, start: Tensor | None) -> Tensor:
    """z after the last step: sums over segments, whose results are carried in double precision."""
    a, g = _wide(factor), _wide(gain)
    kind = torch.promote_types(a.dtype, g.dtype)
    z = torch.zeros((*drive.shape[1:], a.shape[-1]), dtype=kind, device=a.device) if start is None else _wide(start)
    for part in drive.split(SEGMENT):
        left = torch.arange(len(part) - 1, -1, -1, dtype=torch.float64, device=a.device)
        z = power(a, left[:1] + 1)[..., 0] * z + g * _weighted(part, power(a, left)) if len(part) else z
    return z.to(drive.dtype.to_complex() if z.is_complex() else drive.dtype)


def _weighted(part: Tensor, weights: Tensor) -> Tensor:
    r"""\sum_t w_{i,t} u_t in the drive's precision: (S, *lanes*) and (*size*, n, S) to (*lanes*, n)."""
    if weights.is_complex():
        return torch.complex(_weighted(part, weights.real), _weighted(part, weights.imag))
    return torch.einsum("s...,...ns->...n", part, weights.to(part.dtype)).double()
