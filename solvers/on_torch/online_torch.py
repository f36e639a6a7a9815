"""Convolution of a known kernel with values that become known step by step, and its transpose, O(n log^2 n).

Values and sums have channels: sums[o] = sum over i of kernel[o][i] * values[i]. Blocks of BLOCK steps are summed
directly; whenever a multiple 2^k*BLOCK of values is known, the latest ones are added to as many later sums by one FFT
(Hairer, Lubich, Schlichte, SIAM J. Sci. Stat. Comput. 6, 1985). `pull` walks the same steps back: cotangents of sums
come in from the last step on, those of values go out.

`restarts`: a lane may forget. `forget` before step n says which lanes' sums from n on leave out all values before n.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

Tensor = torch.Tensor
BLOCK = 64
Kernel = Sequence[Sequence[Tensor | None]]  # [sum][value] -> (n, *lanes*), which broadcast; None: nothing


class OnlineConvolution:
    """Sums over the past of `steps` values.

    Args:
        kernel: weights[m] is that of the value m steps before; without gradient.
        lanes: shape of one channel of a value.
    """

    def __init__(self, kernel: Kernel, steps: int, lanes: tuple[int, ...], *, block: int = BLOCK) -> None:
        like = next(w for row in kernel for w in row if w is not None)
        self.kernel = [[None if w is None else w[:steps] for w in row] for row in kernel]
        self.near = [[None if w is None else w[:block].flip(0) for w in row] for row in self.kernel]
        self.steps, self.lanes, self.block = steps, lanes, block
        self.values = like.new_zeros(len(kernel[0]), steps, *lanes)
        self.sums = like.new_zeros(len(kernel), steps, *lanes)
        self.spectra: dict[tuple[int, int, int], Tensor] = {}
        self.born: Tensor | None = None  # (steps, *lanes*): first value that the sums of a step know
        self.origin: Tensor | None = None

    def forget(self, n: int, lanes: Tensor) -> None:
        """From step n on, the sums of these lanes (boolean) leave out all values before n."""
        if self.born is None:
            self.born = torch.zeros(self.steps, *self.lanes, dtype=torch.int32, device=lanes.device)
            self.origin = self.born[0].clone()
        assert self.origin is not None
        self.origin = torch.where(lanes, n, self.origin)
        self.sums[:, n:] = torch.where(lanes, 0.0, self.sums[:, n:])

    def push(self, n: int, value: Tensor) -> Tensor:
        """The sums that end with value n, (channels, *lanes*); values come in order."""
        self.values[:, n] = value
        if self.born is not None and self.origin is not None:
            self.born[n] = self.origin
        first = n - n % self.block
        known = self._known(self.values[:, first : n + 1], first)
        for o, i, near in self._pairs(self.near):
            self.sums[o, n] += _dot(near[len(near) - 1 - (n - first) :], known[i], self.lanes)
        found = self.sums[:, n].clone()
        if (n + 1) % self.block == 0 and n + 1 < self.steps:
            self._spread(n + 1)
        return found

    def _known(self, values: Tensor, first: int) -> Tensor:
        """Values from step `first` on without what lanes have forgotten by now."""
        if self.origin is None:
            return values
        at = torch.arange(first, first + values.shape[1], device=values.device)
        return torch.where(at.reshape(-1, *(1 for _ in self.lanes)) >= self.origin, values, 0.0)

    def _spread(self, n: int) -> None:
        """Add the latest values to the sums from n on."""
        length = n & -n
        last = min(n + length, self.steps)
        known = self._known(self.values[:, n - length : n], n - length)
        spectra = torch.fft.rfft(known, 2 * length, dim=1)
        for o, row in enumerate(self.kernel):
            parts = [self._spectrum(o, i, 2 * length) * spectra[i] for i, w in enumerate(row) if w is not None]
            if parts:
                found = torch.fft.irfft(sum(parts), 2 * length, dim=0)  # type: ignore[arg-type]
                self.sums[o, n:last] += found[length : length + last - n]

    def _spectrum(self, o: int, i: int, size: int) -> Tensor:
        if (o, i, size) not in self.spectra:
            weights = self.kernel[o][i]
            assert weights is not None
            self.spectra[o, i, size] = torch.fft.rfft(weights[:size], size, dim=0)
        return self.spectra[o, i, size]

    @staticmethod
    def _pairs(kernel: Kernel) -> Iterator[tuple[int, int, Tensor]]:
        for o, row in enumerate(kernel):
            for i, weights in enumerate(row):
                if weights is not None:
                    yield o, i, weights

    # the transpose

    def turn(self) -> None:
        """All values are known: from now on cotangents of the sums come in, from the last step to the first."""
        self.cotangents, self.grads = torch.zeros_like(self.sums), torch.zeros_like(self.values)

    def pull(self, n: int, cotangent: Tensor) -> Tensor:
        """The cotangent of value n, given that of the sums of step n; all later ones have been given."""
        if (n + 1) % self.block == 0 and n + 1 < self.steps:
            self._gather(n + 1)
        self.cotangents[:, n] = cotangent
        last = min(n - n % self.block + self.block, self.steps)
        knowing = self._knowing(self.cotangents[:, n:last], n, n)
        for o, i, weights in self._pairs(self.kernel):
            self.grads[i, n] += _dot(weights[: last - n], knowing[o], self.lanes)
        return self.grads[:, n]

    def _knowing(self, cotangents: Tensor, first: int, value: int) -> Tensor:
        """Cotangents of the sums from step `first` on that know the values before `value` + 1."""
        if self.born is None:
            return cotangents
        return torch.where(self.born[first : first + cotangents.shape[1]] <= value, cotangents, 0.0)

    def _gather(self, n: int) -> None:
        """The transpose of `_spread`."""
        length = n & -n
        last = min(n + length, self.steps)
        wide = self.cotangents.new_zeros(len(self.kernel), 2 * length, *self.lanes)
        wide[:, length : length + last - n] = self._knowing(self.cotangents[:, n:last], n, n - 1)
        spectra = torch.fft.rfft(wide, dim=1)
        for i in range(len(self.values)):
            rows = [(o, r[i]) for o, r in enumerate(self.kernel) if r[i] is not None]
            parts = [self._spectrum(o, i, 2 * length).conj() * spectra[o] for o, _ in rows]
            if parts:
                found = torch.fft.irfft(sum(parts), 2 * length, dim=0)[:length]  # type: ignore[arg-type]
                self.grads[i, n - length : n] += self._masked(found, n)

    def _masked(self, grads: Tensor, n: int) -> Tensor:
        """Gradients of the values just before step n, 0 where a lane had forgotten them by then."""
        if self.born is None:
            return grads
        at = torch.arange(n - len(grads), n, device=grads.device).reshape(-1, *(1 for _ in self.lanes))
        return torch.where(at >= self.born[n], grads, 0.0)

    def kernel_gradients(self) -> list[list[Tensor | None]]:
        """Cotangents of the kernel, after the last `pull`."""
        return [[None if w is None else self._kernel_gradient(o, i, w) for i, w in enumerate(r)]
                for o, r in enumerate(self.kernel)]  # fmt: skip

    def _kernel_gradient(self, o: int, i: int, weights: Tensor) -> Tensor:
        if self.born is None:
            return _correlated(self.cotangents[o], self.values[i], weights)
        found = torch.zeros_like(weights)
        for first in range(0, self.steps, self.block):
            self._add_block(found, o, i, first)
        return found

    def _add_block(self, found: Tensor, o: int, i: int, first: int) -> None:
        """What one block of direct sums, and the spread at its start, say of the kernel where lanes forget."""
        assert self.born is not None
        last = min(first + self.block, self.steps)
        for n in range(first, last):
            at = torch.arange(first, n + 1, device=found.device).reshape(-1, *(1 for _ in self.lanes))
            rows = torch.where(at >= self.born[n], self.values[i, first : n + 1], 0.0) * self.cotangents[o, n]
            found[: n + 1 - first] += _reduced(rows, found[: n + 1 - first]).flip(0)
        if first:
            length = first & -first
            end = min(first + length, self.steps)
            values = self._masked(self.values[i, first - length : first], first)
            later = self._knowing(self.cotangents[o : o + 1, first:end], first, first - 1)[0]
            wide = torch.cat([torch.zeros_like(values), later])
            size = min(2 * length, self.steps)
            found[:size] += _correlated(wide, torch.nn.functional.pad(values.movedim(0, -1), (0, len(wide) - length))
                                        .movedim(-1, 0), found[:size])  # fmt: skip


def _dot(weights: Tensor, rows: Tensor, lanes: tuple[int, ...]) -> Tensor:
    """sum_j weights[j]*rows[j]"""
    if weights.numel() == len(weights):
        return (weights.reshape(1, -1) @ rows.reshape(len(rows), -1)).reshape(lanes)
    return (weights * rows).sum(0)


def _correlated(later: Tensor, earlier: Tensor, like: Tensor) -> Tensor:
    """sum over n of later[n]*earlier[n - m] for m = 0, 1, ..., summed to the lanes of `like`."""
    size = 2 * len(later)
    spectrum = torch.fft.rfft(later, size, dim=0) * torch.fft.rfft(earlier, size, dim=0).conj()
    few = _reduced(spectrum, like)
    return torch.fft.irfft(few, size, dim=0)[: len(like)]


def _reduced(x: Tensor, like: Tensor) -> Tensor:
    """Summed over the lanes that `like` has only once."""
    axes = [k for k in range(1, like.dim()) if like.shape[k] == 1 and x.shape[k] > 1]
    return x.sum(axes, keepdim=True) if axes else x


def convolved(weights: Tensor, values: Tensor, first: int = 0) -> Tensor:
    """sum_j weights[n - j]*values[j] for n = first ... len(weights) - 1, of values that are all known;
    differentiable."""
    size = len(weights) + len(values)
    spectrum = torch.fft.rfft(weights, size, dim=0) * torch.fft.rfft(values, size, dim=0)
    return torch.fft.irfft(spectrum, size, dim=0)[first : len(weights)]
