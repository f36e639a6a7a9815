"""Roots of many functions at once, each in a bracket of its own; without gradient.

Newton's method, held in the bracket by bisection: a step that leaves it, or that does not halve the last one, is
replaced by its middle. So it converges fast where the function is smooth and surely wherever the bracket is one.
Source: Press et al., Numerical Recipes, 3rd ed. (2007), section 9.4.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

Tensor = torch.Tensor
LIMIT = 100  # iterations; the bracket is halved at least every second


@torch.no_grad()
def root(
    function: Callable[[Tensor], tuple[Tensor, Tensor]], low: Tensor, high: Tensor, tolerance: Tensor,
    start: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Where values pass 0 from below: they are not above it at `low`, and not below it at `high`.

    Args:
        function: the values and their slopes at arguments of the form of `low`.
        tolerance: of the arguments.
        start: the first argument; the middle where it is not given.
    """
    x = (low + high) / 2 if start is None else start.clamp(low, high)
    last = high - low
    for _ in range(LIMIT):
        value, slope = function(x)
        above = value >= 0
        low, high = torch.where(above, low, x), torch.where(above, x, high)
        newton = x - value / torch.where(slope > 0, slope, torch.ones_like(slope))
        good = (slope > 0) & (newton >= low) & (newton <= high) & ((newton - x).abs() <= last / 2)
        new = torch.where(good, newton, (low + high) / 2)
        last = (new - x).abs()
        x = new
        if bool((last <= tolerance).all()):
            break
    return x


def top(left: Tensor, right: Tensor, rise: Tensor, fall: Tensor) -> tuple[Tensor, Tensor]:
    """Where in [0, 1] the cubic with these ends and slopes is largest, and its value there; it rises, then falls."""
    a = 2 * (left - right) + rise + fall
    b = 3 * (right - left) - 2 * rise - fall
    # 3 a u^2 + 2 b u + rise = 0, in the form that does not cancel
    root = (b * b - 3 * a * rise).clamp_min(0).sqrt()
    bottom = root - b
    u = (rise / torch.where(bottom > 0, bottom, torch.ones_like(bottom))).clamp(0, 1)
    return u, left + u * (rise + u * (b + u * a))
