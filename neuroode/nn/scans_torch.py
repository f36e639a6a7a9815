"""Linear recurrences of stages by the solvers: equal blocks side by side, each entry where it belongs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from neuroode.nn import native_triton_torch
from neuroode.program.partition import Stage
from neuroode.solvers.on_torch import convolution_torch, scan_torch

Tensor = torch.Tensor


def scan(stage: Stage, matrix: Sequence[Tensor], drive: Sequence[Tensor], start: Sequence[Tensor]) -> list[Tensor]:
    """States (T, B, *size*) after each step of an affine stage.

    Args:
        matrix: entries of each block, row by row: (T, B, *size*), or what broadcasts against *size*.
        drive: (T, B, *size*) of each slot. start: (B, *size*) of each slot.
    """
    sides = _Sides(stage, drive[0].shape)
    elements = [*sides.entries(matrix), *sides.rows(drive)]
    if native_triton_torch.can_scan(drive[0]):
        return sides.apart(native_triton_torch.scan(sides.form, elements, sides.starts(start), drive[0].shape[0]))
    found = scan_torch.scan(*scan_torch.affine(sides.form), elements, sides.starts(start), steps=drive[0].shape[0])
    return sides.apart(found)


def convolve(stage: Stage, matrix: Sequence[Tensor], drive: Sequence[Tensor], start: Sequence[Tensor]) -> list[Tensor]:
    """The same by Fourier transforms, for a matrix that is the same in every step.

    Raises:
        RunError: a system that grows so much over the sequence that a transform would lose its digits.
    """
    sides = _Sides(stage, drive[0].shape)
    return sides.apart(
        convolution_torch.affine_invariant(sides.form, sides.entries(matrix), sides.rows(drive), sides.starts(start))
    )


def moebius(entries: Sequence[Tensor], start: Tensor, shape: torch.Size) -> Tensor:
    """The state (T, B, *size*) after each step of x' = (a x + b)/(c x + d).

    Scanned as a point of the projective line, of which infinity is one; at infinity itself the state is the largest
    that a step leaves (discretize/riccati.py).
    """
    x = start.expand(shape[1:])
    above, below = scan_torch.scan(*scan_torch.moebius(), entries, (x, torch.ones_like(x)), steps=shape[0])
    return above / torch.where(below == 0, torch.full_like(below, 1e-16), below)


def adjoint(
    stage: Stage, slopes: Sequence[Tensor], cotangents: Sequence[Tensor], by_transform: bool = False
) -> list[Tensor]:
    """lambda[t] = g[t] + J[t+1]' lambda[t+1], (T, B, *size*) of each slot."""
    sides = _Sides(stage, cotangents[0].shape)
    if not by_transform and native_triton_torch.can_scan(cotangents[0]):
        return sides.apart(native_triton_torch.adjoint(sides.form, sides.entries(slopes), sides.rows(cotangents)))
    solve = convolution_torch.adjoint_invariant if by_transform else scan_torch.adjoint
    return sides.apart(solve(sides.form, sides.entries(slopes), sides.rows(cotangents)))


class _Sides:
    """The blocks of a stage along an axis behind that of time."""

    def __init__(self, stage: Stage, shape: torch.Size) -> None:
        self.size, self.count, self.lanes = stage.size, len(stage.blocks), len(shape) - 1
        self.shape = shape
        self.form = stage.form or ("diagonal" if self.size == 1 else "dense")

    def entries(self, rows: Sequence[Tensor]) -> list[Tensor]:
        """Entries of a matrix: of a complex number its real and imaginary part."""
        n = self.size
        wanted = (0, n) if self.form == "complex" else range(n * n)
        return [self._beside([rows[k * n * n + i] for k in range(self.count)], self._entry) for i in wanted]

    def rows(self, rows: Sequence[Tensor]) -> list[Tensor]:
        """Sequences, one of each slot of a block."""
        return [self._beside(part, lambda found: torch.stack(found, 1)) for part in self._parts(rows)]

    def starts(self, rows: Sequence[Tensor]) -> list[Tensor]:
        wide = [r.expand(self.shape[1:]) for r in rows]
        return [self._beside(part, torch.stack) for part in self._parts(wide)]

    def apart(self, found: Sequence[Tensor]) -> list[Tensor]:
        """One sequence a slot again, in the order of the stage."""
        if self.count == 1:
            return list(found)
        return [found[i][:, k] for k in range(self.count) for i in range(self.size)]

    def _parts(self, rows: Sequence[Tensor]) -> list[list[Tensor]]:
        return [list(rows[i :: self.size]) for i in range(self.size)]

    def _beside(self, rows: list[Tensor], stack: Callable[[list[Tensor]], Tensor]) -> Tensor:
        return rows[0] if self.count == 1 else stack(rows)

    def _entry(self, rows: list[Tensor]) -> Tensor:
        """One that changes over time gives the axis to all."""
        if any(r.dim() > self.lanes for r in rows):
            return torch.stack([r.expand(self.shape) for r in rows], 1)
        found = torch.stack(torch.broadcast_tensors(*rows))
        return found.reshape(self.count, *[1] * (self.lanes + 1 - found.dim()), *found.shape[1:])


class Branches:
    """The blocks of a diagonal or complex stage as numbers along a last axis."""

    def __init__(self, stage: Stage, size: torch.Size) -> None:
        self.stage, self.size = stage, size

    def numbers(self, rows: dict[str, Tensor], prefix: str) -> Tensor:
        """(*size*, n) from a row for each slot; of complex blocks real and imaginary part."""
        return self._together([rows[f"{prefix}{s}"].expand(self.size) for s in self.stage.slots])

    def factors(self, entries: Sequence[Tensor]) -> Tensor:
        """(*size*, n) from the entries of all blocks."""
        n = self.stage.size
        wanted = [entries[k * n * n + i * n] for k in range(len(self.stage.blocks)) for i in range(n)]
        return self._together([e.expand(self.size) for e in wanted])

    def states(self, rows: Sequence[Tensor]) -> Tensor:
        """(B, *size*, n) from a row for each slot."""
        return self._together(list(rows))

    def apart(self, numbers: Tensor) -> list[Tensor]:
        """A row for each slot again."""
        if self.stage.form == "diagonal":
            return list(numbers.unbind(-1))
        numbers = numbers if numbers.is_complex() else torch.complex(numbers, torch.zeros_like(numbers))
        return [part for z in numbers.unbind(-1) for part in (z.real, z.imag)]

    def _together(self, rows: list[Tensor]) -> Tensor:
        if self.stage.form == "diagonal":
            return torch.stack(rows, -1)
        return torch.complex(torch.stack(rows[::2], -1), torch.stack(rows[1::2], -1))
