"""What a training step of f_lif costs over its length: loops over the whole past, online FFT, sum of exponentials."""

from __future__ import annotations

import gc
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch

import neuroode as no
from neuroode.bench import fractional_loops_torch as loops
from neuroode.bench.fractional_picture import Times
from neuroode.bench.measure import samples
from neuroode.bench.memory import _kilobytes

BATCH, LANES, ALPHA, TAU, DT = 2, 16, 0.5, 2.0, 0.1
LENGTHS, QUICK_LENGTHS = (1024, 2048, 4096, 8192, 16_000, 32_768), (256, 512)
LONGEST = 2.0  # seconds of a call; above it a candidate stops, but for the plain loops of `KEPT`
AT_LEAST = 16_000
SHORT = 0.3  # seconds; quicker calls are repeated
Call = Callable[[], object]


def inputs(steps: int) -> torch.Tensor:
    """(T, B, N) of which some make neurons fire."""
    return 6 + torch.randn(steps, BATCH, LANES, generator=torch.Generator().manual_seed(0))


@cache
def _layer(method: str) -> Any:
    order = {"value": ALPHA, "domain": "interval(0.05, 1)"}
    neuron = no.load("f_lif").replace(parameters={"alpha": order, "tau": {"value": TAU, "domain": "positive"}})
    return neuron.torch(LANES, dt=DT, method=method)


def _loop(loop: Callable[..., torch.Tensor], steps: int) -> Call:
    x = inputs(steps).flatten(1)
    return lambda: loop(x, ALPHA, TAU, DT)


def _trained_loop(loop: Callable[..., torch.Tensor], steps: int) -> Call:
    x = inputs(steps).flatten(1).requires_grad_()
    g = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    return lambda: torch.autograd.grad(loop(x, ALPHA, TAU, DT), x, g)


def _forward(method: str, steps: int) -> Call:
    layer, x = _layer(method), inputs(steps)

    def call() -> object:
        with torch.no_grad():
            return layer(x)

    return call


def _trained(method: str, steps: int) -> Call:
    """Gradients of the input and of alpha and tau."""
    layer, x = _layer(method), inputs(steps).requires_grad_()
    g = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    wanted = [x, *layer.parameters()]
    return lambda: torch.autograd.grad(layer(x)[0], wanted, g)


def _propagator(steps: int) -> Call:
    """No spikes: the linear neuron of the same order."""
    equations = f"D^{ALPHA} v = -v/{TAU} + I"
    neuron = no.Neuron("leak", dt=DT, equations=equations, outputs={"v": "v"})
    layer = neuron.torch(LANES, method="mittag_leffler")
    x = inputs(steps)

    def call() -> object:
        with torch.no_grad():
            return layer(x)

    return call


FORWARD: Mapping[str, Callable[[int], Call]] = {
    "plain loop, one product a step": partial(_loop, loops.buffered),
    "online FFT (method gl)": partial(_forward, "gl"),
    "sum of exponentials, kernel": partial(_forward, "soe"),
    "exact leak by one FFT, no spikes": _propagator,
}
TRAINING: Mapping[str, Callable[[int], Call]] = {
    "plain loop, past stacked": partial(_trained_loop, loops.stacked),
    "plain loop, pushed ahead": partial(_trained_loop, loops.pushed_ahead),
    "online FFT (method gl)": partial(_trained, "gl"),
    "sum of exponentials, kernel": partial(_trained, "soe"),
}
BASE = "sum of exponentials, kernel"
KEPT = ("plain loop, pushed ahead", "plain loop, one product a step")  # run once at AT_LEAST however long it takes


def measured(candidates: Mapping[str, Callable[[int], Call]], lengths: tuple[int, ...]) -> Times:
    """CPU seconds by length and name; what would take too long is left out."""
    found: Times = {}
    last: dict[str, tuple[int, float]] = {}
    for steps in lengths:
        found[steps] = _seconds({n: b for n, b in candidates.items() if _worth(n, last, steps)}, steps)
        last = {n: (steps, s) for n, s in found[steps].items()}
    return found


def times(title: str, found: Times) -> str:
    """CPU milliseconds by length, and how many times as long as the sum of exponentials."""
    names = list(found[min(found)])
    lines = ["| steps | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    lines += [f"| {steps:,} | " + " | ".join(_cell(row, n) for n in names) + " |" for steps, row in found.items()]
    return f"## {title}\n\n{ABOUT_TIMES}\n\n" + "\n".join(lines)


ABOUT_TIMES = f"""\
f_lif, a = {ALPHA:g}, tau = {TAU:g}, dt = {DT:g}, {BATCH * LANES} neurons, float32: CPU milliseconds on one thread, and
how many times as long as the sum of exponentials. process_time, after one call that compiles; the median of 3 rounds in
shuffled order, or one call where it takes more than {SHORT:g} s. Other work on the machine changes times more than
their ratios. What would take more than {LONGEST:g} s, by the length before, is not run, but for the quickest plain loop
at {AT_LEAST:,} steps. Gradients are for input, alpha and tau, of plain loops for the input."""


def _worth(name: str, last: Mapping[str, tuple[int, float]], steps: int) -> bool:
    """Whether a candidate runs at this length, by what it took at the last one."""
    if (steps == AT_LEAST and name in KEPT) or not last:
        return True
    if name not in last:
        return False
    before, seconds = last[name]
    return seconds * (steps / before) ** (2 if "loop" in name else 1.2) <= LONGEST


def _seconds(candidates: Mapping[str, Callable[[int], Call]], steps: int) -> dict[str, float]:
    """CPU seconds: one call of what takes long, medians of interleaved rounds of the rest."""
    found: dict[str, float] = {}
    quick: dict[str, Call] = {}
    for name, build in candidates.items():
        call = build(steps)
        if steps < AT_LEAST or "loop" not in name:
            call()  # compiles, allocates
        start = time.process_time()
        call()
        found[name] = time.process_time() - start
        if found[name] <= SHORT:
            quick[name] = call
    rounds = samples(quick, 3, 5.0) if quick else {}
    return found | {n: statistics.median(t) for n, t in rounds.items()}


def _cell(found: Mapping[str, float], name: str) -> str:
    if name not in found:
        return f"not run: over {LONGEST:g} s"
    return f"{1e3 * found[name]:,.4g} ({found[name] / found[BASE]:,.3g})"


def memory(lengths: tuple[int, ...]) -> str:
    """Peak memory of training steps, each in a process of its own."""
    lines = ["| steps | " + " | ".join(REMEMBER) + " |", "|---" * (len(REMEMBER) + 1) + "|"]
    for steps in lengths:
        cells = ["not run: too long" if "loop" in n and steps > LONGEST_LOOP else _peak(n, steps) for n in REMEMBER]
        lines.append(f"| {steps:,} | " + " | ".join(cells) + " |")
    about = (f"MiB beyond what a step over 64 steps took, in a process of its own; the input has "
             f"{BATCH * LANES * 4} bytes a step. Plain loops are not run beyond {LONGEST_LOOP:,} steps.")  # fmt: skip
    return f"## Peak memory of a training step\n\n{about}\n\n" + "\n".join(lines)


REMEMBER = (
    "plain loop, past stacked",
    "plain loop, pushed ahead",
    "online FFT (method gl)",
    "sum of exponentials, kernel",
)
LONGEST_LOOP = 1024  # quadratic in time, one of them in memory too


def _peak(name: str, steps: int) -> str:
    code = f"from neuroode.bench import fractional_cost_torch as f; f.measure({name!r}, {steps})"
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return f"{float(done.stdout.split()[-1]):.1f}" if done.returncode == 0 else "does not run"


def measure(name: str, steps: int) -> None:
    """Print the peak in MiB of one training step; a short one has loaded everything before."""
    torch.set_num_threads(1)
    TRAINING[name](64)()
    call = TRAINING[name](steps)
    gc.collect()
    before = _kilobytes("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    call()
    print((_kilobytes("VmHWM") - before) / 1024)
