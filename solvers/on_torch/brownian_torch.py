"""A Brownian path over a step whose increment is known: halved and halved again, each half drawn from its place.

Time in the step runs from 0 to 1. Of an interval of length h the increment W and the space-time area H = (1/h) integral
of (W_r - (r/h) W) dr are kept, H ~ N(0, h/12) independent of W. Its halves are, with standard normal Z1 and Z2,

    D = 3/2 H + sqrt(h)/4 Z1,  S = 2 H - D,  E = sqrt(h/12) Z2,
    W1 = W/2 + D,  W2 = W/2 - D,  H1 = (S + E)/2,  H2 = (S - E)/2.

Z1 and Z2 are drawn from the node's number in the tree by the lane's own key. So the path is a function of its increment
and its key alone: not of who asks, in which order, or how often. Times are rounded to the leaves, 2^-20 of a step.

Sources: Foster, Lyons and Oberhauser, SIAM J. Numer. Anal. 58 (2020) for W and H of halves; Jelincic, Foster and
Kidger, "Single-seed generation of Brownian paths and integrals" (2024) for trees of one seed.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torchsde import BaseBrownian

from neuroode._errors import RunError
from neuroode.solvers.on_torch.random_torch import WORD, normal, threefry

Tensor = torch.Tensor
Point = tuple[Tensor, Tensor]  # the path at a time, and its integral up to it

DEPTH = 20  # halvings
LEAVES = 2**DEPTH
BITS = 2**23  # those of a uniform number that float32 and float64 share
QUARTER = 2**30  # of a turn, in words: from a cosine to a sine
KEPT = 8  # points: a step in halves asks for each of its ends several times


def words_of(u: Tensor) -> Tensor:
    """A word of each uniform number, the same for both precisions."""
    return (u.detach() * BITS).to(torch.int64)


def pairs(key: tuple[Tensor, Tensor], nodes: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Two independent normal numbers for each of some nodes and each key, (nodes, ...)."""
    number = nodes.reshape(-1, *([1] * key[0].dim()))
    x, y = threefry(key, (number, torch.zeros_like(number)))
    return normal(x, y, dtype), normal(x, (y - QUARTER) & WORD, dtype)


def halves(w: Tensor, area: Tensor, h: float, z1: Tensor, z2: Tensor) -> tuple[Point, Point]:
    """Increment and area of both halves of an interval of length h."""
    d, e = 1.5 * area + h**0.5 / 4 * z1, (h / 12) ** 0.5 * z2
    s = 2 * area - d
    return (w / 2 + d, (s + e) / 2), (w / 2 - d, (s - e) / 2)


class Path(BaseBrownian):
    """Paths of lanes and streams that end at `end`.

    Args:
        end: (lanes, streams), of variance 1; gradients flow to it.
        key: two words of each, of the same shape.
        most: increments that may be asked for.
    """

    levy_area_approximation = "space-time"

    def __init__(self, end: Tensor, key: tuple[Tensor, Tensor], most: float = math.inf) -> None:
        self.end, self.key, self.left = end, key, most
        self.area = pairs(key, torch.zeros(1, dtype=torch.int64, device=end.device), end.dtype)[0][0] / 12**0.5
        self.ends: dict[int, Point] = {0: (torch.zeros_like(end),) * 2, LEAVES: (end, self.area + end / 2)}
        self.seen: dict[int, Point] = {}

    def __call__(self, ta: Any, tb: Any = None, return_U: bool = False, return_A: bool = False) -> Any:
        """The increment from ta to tb; with `return_U` also the integral of the path less its value at ta.

        Raises:
            RunError: it was asked too often.
        """
        self.left -= 1
        if self.left < 0:
            raise RunError("the solver takes too many steps within one dt",
                           hint="take a larger rtol and atol, a shorter dt, or a step_size")  # fmt: skip
        low, high = leaf(ta), leaf(tb)
        (w0, i0), (w1, i1) = self.at(low), self.at(high)
        if not return_U:
            return w1 - w0
        return w1 - w0, i1 - i0 - w0 * ((high - low) / LEAVES)

    def at(self, k: int) -> Point:
        """The path at leaf k, and its integral."""
        if k in self.ends:
            return self.ends[k]
        if k not in self.seen:
            if len(self.seen) == KEPT:
                del self.seen[next(iter(self.seen))]
            self.seen[k] = self._found(k)
        return self.seen[k]

    def _found(self, k: int) -> Point:
        levels = DEPTH - ((k & -k).bit_length() - 1)
        nodes = torch.tensor([2**n + (k >> (DEPTH - n)) for n in range(levels)], device=self.end.device)
        z1, z2 = pairs(self.key, nodes, self.end.dtype)
        now, h = (self.end, self.area), 1.0
        at = total = torch.zeros_like(self.end)
        for n in range(levels):
            left, right = halves(*now, h, z1[n], z2[n])
            h /= 2
            if (k >> (DEPTH - n - 1)) & 1:
                total = total + h * (at + left[0] / 2 + left[1])
                at = at + left[0]
                now = right
            else:
                now = left
        return at, total

    def cut(self, count: int) -> None:
        """Find the ends of `count` equal parts together, a power of two of them."""
        w, area, n = self.end[None], self.area[None], 1
        while n < count:
            z1, z2 = pairs(self.key, torch.arange(n, 2 * n, device=self.end.device), self.end.dtype)
            parts = halves(w, area, 1 / n, z1, z2)
            w, area = (torch.stack([a, b], 1).flatten(0, 1) for a, b in zip(*parts, strict=True))
            n *= 2
        at = w.cumsum(0)
        total = ((at - w / 2 + area) / n).cumsum(0)
        self.ends |= {(j + 1) * LEAVES // n: (at[j], total[j]) for j in range(n - 1)}

    @property
    def dtype(self) -> torch.dtype:
        return self.end.dtype

    @property
    def device(self) -> torch.device:
        return self.end.device

    @property
    def shape(self) -> torch.Size:
        return self.end.shape

    def __repr__(self) -> str:
        return f"Path{tuple(self.shape)}"


def leaf(time: Any) -> int:
    """The leaf at a time, 0 to `LEAVES`."""
    return min(max(round(float(time) * LEAVES), 0), LEAVES)
