"""`neuroode bench gradients`: the gradient of a spike time, of each way to train, and the memory that adjoints take.

Closed forms of a LIF with reset to 0 and held I: period P = tau log(I/(I - 1)), and behind n spikes
v(T) = I (1 - exp(-(T - n P)/tau)).
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from math import exp, floor, log

CURRENT, TAU, END, TARGET = 1.5, 20.0, 90, 0.3
LONG, QUICK_LONG = 10_000, 200
ADJOINTS = ("none", "checkpointed", "backsolve")


def spike_time(tau: float = 1.0) -> tuple[float, float]:
    """The first spike from v = 0 and its derivative for I: 1.0986123 tau and -1.3333333 tau at I = 1.5."""
    return tau * log(CURRENT / (CURRENT - 1)), tau * (1 / CURRENT - 1 / (CURRENT - 1))


def end_of_window() -> tuple[float, float, float]:
    """(v(T) - TARGET)^2/2 of the task, and its derivatives for I and tau."""
    period, per_current = spike_time(TAU)
    n = floor(END / period)
    left = END - n * period
    decay = exp(-left / TAU)
    v = CURRENT * (1 - decay)
    by_left = CURRENT * decay / TAU
    by_current = (1 - decay) - by_left * n * per_current
    by_tau = -by_left * n * period / TAU - CURRENT * decay * left / TAU**2
    return (v - TARGET) ** 2 / 2, (v - TARGET) * by_current, (v - TARGET) * by_tau


def sections(quick: bool) -> Iterator[str]:
    """Three tables; the quick ones have no gradients by JAX, which compiles each for long."""
    yield spike_times(jax=not quick)
    yield training_modes(jax=not quick)
    yield memory(QUICK_LONG if quick else LONG)


def spike_times(jax: bool) -> str:
    """The first spike of a LIF by each way that gives its time."""
    wanted = spike_time()
    rows = [("closed form", *wanted)]
    for name, found in _all("spike_time", jax):
        rows.append((name, found[0] / TAU, found[1] / TAU))
    lines = ["| by | t*/tau | dt*/dI / tau | error |", "|---|---|---|---|"]
    for name, t, slope in rows:
        lines.append(f"| {name} | {t:.10f} | {slope:.10f} | {abs(slope - wanted[1]):.1e} |")
    return f"## The gradient of a spike time: LIF from v = 0, I = {CURRENT}, threshold 1\n\n" + "\n".join(lines)


def training_modes(jax: bool) -> str:
    """The gradient of one loss by each way to train."""
    loss, by_current, by_tau = end_of_window()
    lines = ["| by | loss | for I | for tau | relative error |", "|---|---|---|---|---|"]
    lines.append(f"| closed form | {loss:.8f} | {by_current:.8f} | {by_tau:.8f} | |")
    for name, (at, a, b) in _all("end_of_window", jax):
        off = max(abs(a / by_current - 1), abs(b / by_tau - 1))
        lines.append(f"| {name} | {at:.8f} | {a:.8f} | {b:.8f} | {off:.1e} |")
    what = f"(v(T) - {TARGET})^2/2 of a LIF after {END} ms and {floor(END / spike_time(TAU)[0])} spikes."
    return f"## Gradients of the ways to train\n\n{what} {NO_GRADIENT}\n\n" + "\n".join(lines)


NO_GRADIENT = """\
A surrogate is a direction to train in and not the gradient of
this loss where spikes wait for the end of a step (1 ms): its row shows by how much. Located, v(T) moves only with the
times, which are exact. Solver layers have steps of 10 ms."""


def _all(what: str, jax: bool) -> Iterator[tuple[str, tuple[float, ...]]]:
    yield from getattr(import_module("neuroode.bench.gradients_torch"), what)()
    if jax and importlib.util.find_spec("diffrax"):
        yield from getattr(import_module("neuroode.bench.gradients_jax"), what)()


def memory(steps: int) -> str:
    """Peak memory of one gradient by each adjoint, in processes of their own."""
    kinds = ["torch", *(["jax"] if importlib.util.find_spec("diffrax") else [])]
    lines = ["| adjoint | " + " | ".join(f"{k}, MiB" for k in kinds) + " |", "|---" * (len(kinds) + 1) + "|"]
    for adjoint in ADJOINTS:
        peaks = (_peak(kind, adjoint, steps) for kind in kinds)
        lines.append(f"| {adjoint} | " + " | ".join("does not run" if p is None else f"{p:.1f}" for p in peaks) + " |")
    about = ABOUT_MEMORY
    return f"## Peak memory of adjoints over {steps} steps of {LANES} lanes\n\n{about}\n\n" + "\n".join(lines)


LANES = 64
ABOUT_MEMORY = """\
Beyond what a gradient over 4 steps took; li, float32, loss on the last step, one Euler step of 0.001 ms a step of the
layer: over several time constants a leak grows too much on the way back of backsolve."""


def _peak(kind: str, adjoint: str, steps: int) -> float | None:
    code = f"from neuroode.bench import gradients_{kind} as g; g.measure({adjoint!r}, {steps})"
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return float(done.stdout.split()[-1]) if done.returncode == 0 else None
