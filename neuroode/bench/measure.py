"""Interleaved timing in one process: CPU time, one thread, ratios per round.

CPU time takes the time slices of other processes out, not their traffic on caches and memory; the spread shows it. Each
sample is warm: one call that does not count, so that a candidate does not pay for what another left in caches and heap.
"""

from __future__ import annotations

import gc
import random
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

SAMPLE = 0.05  # seconds at least


@dataclass(frozen=True, slots=True)
class Row:
    """Medians over rounds: CPU milliseconds, and the ratio to the base of the same round with its 10 and 90 % marks."""

    name: str
    milliseconds: float
    ratio: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.name:34} {self.milliseconds:10.2f} ms   x{self.ratio:7.2f}  ({self.low:.2f} to {self.high:.2f})"


def interleaved(
    candidates: Mapping[str, Callable[[], object]],
    base: str | Mapping[str, str],
    *,
    rounds: int = 15,
    budget: float = 60.0,
) -> list[Row]:
    """Time candidates in shuffled rounds; stops early once `budget` seconds are spent and three rounds are done.

    Args:
        base: the candidate that ratios are to, for all or for each.
    """
    bases = {n: base if isinstance(base, str) else base[n] for n in candidates}
    times = samples(candidates, rounds, budget)
    return [row(name, times[name], times[bases[name]]) for name in candidates]


def samples(
    candidates: Mapping[str, Callable[[], object]],
    rounds: int,
    budget: float,
    clock: Callable[[], float] = time.process_time,
    least: float | None = None,
) -> dict[str, list[float]]:
    """Seconds of each candidate in each round, which are shuffled.

    Args:
        clock: gives seconds, CPU time by default.
        least: seconds that a sample takes at least; None: `SAMPLE`.
    """
    order = list(candidates)
    times: dict[str, list[float]] = {n: [] for n in candidates}
    for f in candidates.values():
        f()
    shuffle, start = random.Random(0), time.perf_counter()
    gc.collect()
    gc.disable()
    for done in range(rounds):
        shuffle.shuffle(order)
        for name in order:
            times[name].append(_seconds(candidates[name], clock, SAMPLE if least is None else least))
        if done >= 2 and time.perf_counter() - start > budget:
            break
    gc.enable()
    return times


def _seconds(f: Callable[[], object], clock: Callable[[], float], least: float) -> float:
    """Seconds a call; short calls are repeated, since a clock tick is not small against them."""
    f()
    start, calls = clock(), 0
    while calls == 0 or clock() - start < least:
        f()
        calls += 1
    return (clock() - start) / calls


def row(name: str, mine: list[float], base: list[float]) -> Row:
    """The median of one candidate's seconds, and of their ratios to another's of the same rounds."""
    ratios = sorted(a / max(b, 1e-9) for a, b in zip(mine, base, strict=True))
    at = [ratios[round(q * (len(ratios) - 1))] for q in (0.1, 0.9)]
    return Row(name, 1e3 * statistics.median(mine), statistics.median(ratios), *at)


def least_seconds(f: Callable[[], object], least: float = 0.02, enough: float = 0.3) -> float:
    """CPU seconds of a call: the least of three samples of `least` seconds, of one if it takes more than `enough`."""
    f()
    found: list[float] = []
    while len(found) < 3 and (not found or found[0] <= enough):
        start, calls = time.process_time(), 0
        while calls == 0 or time.process_time() - start < least:
            f()
            calls += 1
        found.append((time.process_time() - start) / calls)
    return min(found)
