"""Convolution with a known kernel and a signal that becomes known step by step, O(n log^2 n) instead of O(n^2).

Whenever the number of values is a multiple of 2^k*BLOCK, the latest 2^k*BLOCK of them are added to as many later sums
by one FFT; inside a block sums are direct. Source: Hairer, Lubich, Schlichte, SIAM J. Sci. Stat. Comput. 6 (1985).
"""

from __future__ import annotations

import numpy as np

Array = np.ndarray
BLOCK = 64


class OnlineConvolution:
    """Sums S_n = sum over j <= n of weights[n - j]*f_j of values f_0, f_1, ... handed over one at a time.

    Args:
        weights: (n, *lanes*), the number of values at most; lanes broadcast against those of the values.
        lanes: shape of a value.
    """

    def __init__(self, weights: Array, lanes: tuple[int, ...], block: int = BLOCK) -> None:
        self.weights = weights.reshape(len(weights), *(1 for _ in lanes[weights.ndim - 1 :]), *weights.shape[1:])
        self.values = np.zeros((len(weights), *lanes))
        self.sums = np.zeros((len(weights) + 1, *lanes))
        self.count, self.block = 0, block

    def push(self, value: Array) -> Array:
        """The sum that ends with this value, its weight weights[0]."""
        n = self.count
        self.values[n] = value
        self.count = n + 1
        first = n - n % self.block
        near = np.sum(self.weights[n - first :: -1] * self.values[first : n + 1], axis=0)
        found = self.sums[n] + near
        if self.count % self.block == 0:
            self._spread(self.count & -self.count)
        return found

    def _spread(self, length: int) -> None:
        """Add the latest values to the sums to come."""
        n, total = self.count, len(self.weights)
        size, last = 2 * length, min(n + length, total)
        if last == n:
            return
        spectrum = np.fft.rfft(self.weights[:size], size, axis=0) * np.fft.rfft(
            self.values[n - length : n], size, axis=0
        )
        self.sums[n:last] += np.fft.irfft(spectrum, size, axis=0)[length : length + last - n]
