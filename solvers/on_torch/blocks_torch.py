"""What blocks of an online convolution owe to the blocks before them, and the transpose, O(n log^2 n).

As `online_torch`, for a loop that sums within its blocks itself: whenever a multiple 2^k*BLOCK of values is known, the
latest ones are added to as many later sums by one FFT. Arrays are (steps, channels, states, lanes); weights (steps,
states, 1 or lanes).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

Tensor = torch.Tensor
Kernel = dict[tuple[int, int], Tensor]  # (sum, value) -> weights
DENSE = 256  # values up to which a product with a matrix is quicker than an FFT


class Far:
    """Sums over blocks; `born` (steps + 1, states, lanes): first value that the sums of a step know, None: all."""

    def __init__(self, kernel: Kernel, channels: int, steps: int, born: Tensor | None) -> None:
        self.kernel, self.channels, self.steps, self.born = kernel, channels, steps, born
        self.spectra: dict[tuple[int, int, int], Tensor] = {}
        self.matrices: dict[tuple[int, int, int], Tensor] = {}
        first = next(iter(kernel.values()))
        self.dense = first[0].numel() == 1

    def spread(self, n: int, values: Tensor, sums: Tensor) -> None:
        """Add the latest values before n to the sums from n on."""
        length = n & -n
        last = min(n + length, self.steps)
        known = self._masked(values[n - length : n], n)
        if self.dense and length <= DENSE:
            for (o, i), w in self.kernel.items():
                sums[n:last, o, 0] += self._matrix(o, i, w, length)[: last - n] @ known[:, i, 0]
            return
        spectra = torch.fft.rfft(known, 2 * length, dim=0)
        for o in range(self.channels):
            parts = [self._spectrum(o, i, w, length) * spectra[:, i] for (p, i), w in self.kernel.items() if p == o]
            sums[n:last, o] += torch.fft.irfft(_sum(parts), 2 * length, dim=0)[length : length + last - n]

    def gather(self, n: int, g_sums: Tensor, g_values: Tensor) -> None:
        """The transpose of `spread`."""
        length = n & -n
        last = min(n + length, self.steps)
        later = self._knowing(g_sums[n:last], n)
        if self.dense and length <= DENSE:
            for (o, i), w in self.kernel.items():
                found = self._matrix(o, i, w, length)[: last - n].T @ later[:, o, 0]
                g_values[n - length : n, i, 0] += self._masked(found[:, None, None], n)[:, 0, 0]
            return
        spectra = torch.fft.rfft(later, 2 * length, dim=0)
        for i in range(self.channels):
            rows = [(o, w) for (o, p), w in self.kernel.items() if p == i]
            parts = [self._spectrum(o, i, w, length).conj() * spectra[:, o] for o, w in rows]
            found = torch.fft.irfft(_sum(parts), 2 * length, dim=0)[length:]
            g_values[n - length : n, i] += self._masked(found[:, None], n)[:, 0]

    def kernel_gradients(self, values: Tensor, g_sums: Tensor) -> Kernel:
        """Cotangents of the weights where every sum knows all values before it."""
        return _correlations(g_sums, values, self.kernel)

    def kernel_gradients_at(self, n: int, values: Tensor, g_sums: Tensor, found: Kernel) -> None:
        """What `spread` at n says of the weights, added to `found`."""
        length = n & -n
        known, later = self._masked(values[n - length : n], n), self._knowing(g_sums[n : n + length], n)
        later = torch.cat([torch.zeros_like(known), later])
        size = min(2 * length, self.steps)
        for pair, g in _correlations(later, known, {p: w[:size] for p, w in self.kernel.items()}).items():
            found[pair][:size] += g

    def _masked(self, rows: Tensor, n: int) -> Tensor:
        """Rows of the values just before n, 0 where a lane had forgotten them by then."""
        if self.born is None:
            return rows
        at = torch.arange(n - len(rows), n).reshape(-1, 1, 1, 1)
        return torch.where(at >= self.born[n], rows, 0.0)

    def _knowing(self, rows: Tensor, n: int) -> Tensor:
        """Rows of the sums from n on, 0 where they do not know the values before n."""
        return rows if self.born is None else torch.where(self.born[n : n + len(rows), None] < n, rows, 0.0)

    def _spectrum(self, o: int, i: int, w: Tensor, length: int) -> Tensor:
        if (o, i, length) not in self.spectra:
            self.spectra[o, i, length] = torch.fft.rfft(w[: 2 * length], 2 * length, dim=0)
        return self.spectra[o, i, length]

    def _matrix(self, o: int, i: int, w: Tensor, length: int) -> Tensor:
        """[n, j]: weight of value j of `length` in the n-th sum behind them."""
        if (o, i, length) not in self.matrices:
            row = torch.nn.functional.pad(w[: 2 * length].reshape(-1), (0, max(0, 2 * length - len(w))))
            self.matrices[o, i, length] = row.flip(0).unfold(0, length, 1)[:length].flip(0).contiguous()
        return self.matrices[o, i, length]


def _sum(parts: Sequence[Tensor]) -> Tensor:
    total = parts[0]
    for p in parts[1:]:
        total = total + p
    return total


def _correlations(later: Tensor, earlier: Tensor, like: Kernel) -> Kernel:
    """[o, i]: sum over n of later[n, o]*earlier[n - m, i] for m = 0, 1, ..., with the lanes of `like`."""
    size = 2 * len(later)
    a, b = torch.fft.rfft(later, size, dim=0), torch.fft.rfft(earlier, size, dim=0).conj()
    found = {}
    for (o, i), w in like.items():
        spectrum = a[:, o] * b[:, i]
        few = spectrum.sum(-1, keepdim=True) if w.shape[-1] == 1 else spectrum
        found[o, i] = torch.fft.irfft(few, size, dim=0)[: len(w)]
    return found
