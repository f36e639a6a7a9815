"""Measure the constants of the cost model: training steps of a few neurons under every schedule, on this machine."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import torch

import neuroode as no
from neuroode._errors import RunError, Unsupported
from neuroode.bench.measure import least_seconds
from neuroode.nn import costs
from neuroode.program.cost import KNOWN, Sample, fitted

MODELS = ("li", "lif", "prf", "drf", "sliding_psn")
CELLS = ((64, 1), (1024, 1), (16384, 1), (32768, 1), (256, 64), (4096, 64), (128, 2048), (2048, 512), (16, 8192))
STOP = 0.3  # seconds: a step that takes longer is not done at more steps


def calibrate(say: Callable[[str], None] = print) -> Path:
    """Measure with and without a compiler, fit, keep.

    Raises:
        RunError: the measurement without a compiler does not run, or the result cannot be kept.
    """
    programs = {name: no.load(name).program() for name in MODELS}
    found = {}
    for backend, measure in _backends().items():
        rows = measure()
        found[backend] = fitted([Sample(programs[m], s, steps, lanes, t) for m, s, steps, lanes, t in rows])
        say(f"{backend}: {len(rows)} steps measured, {', '.join(found[backend])}")
    return costs.save(found)


def _backends() -> dict[str, Callable[[], list[tuple]]]:
    """Whose constants are measured how."""
    found = {costs.backend_of("torch", True): _rows, costs.backend_of("torch", False): _rows_of_another_process}
    if importlib.util.find_spec("jax") and importlib.util.find_spec("equinox"):
        found[costs.backend_of("jax", False)] = lambda: list(import_module("neuroode.bench.calibrate_jax").rows())
    return found


def dump() -> None:
    """Print the measurements as JSON, for a process that has another environment."""
    print(json.dumps(_rows()))


def _rows_of_another_process() -> list[tuple[str, str, int, int, float]]:
    """The same where no compiler is found."""
    code = "from neuroode.bench.calibrate_torch import dump; dump()"
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, env=os.environ | {"CC": os.devnull}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RunError(f"the measurement without a compiler failed: {done.stderr.strip().splitlines()[-1]}")
    return [tuple(row) for row in json.loads(done.stdout)]


def _rows() -> list[tuple[str, str, int, int, float]]:
    torch.set_num_threads(1)
    return list(_samples())


def _samples() -> Iterator[tuple[str, str, int, int, float]]:
    from neuroode.solvers.native import compiler_here

    schedules = [s for s in KNOWN if s != ("eager" if compiler_here() else "sequential")]
    for model in MODELS:
        for schedule in schedules:
            slow = float("inf")  # steps from which this is not worth the wait
            for steps, lanes in sorted(CELLS):
                run = None if steps >= slow else step_of(model, schedule, steps, lanes)
                if run is None:
                    continue
                took = least_seconds(run)
                slow = steps if took > STOP else slow
                yield model, schedule, steps, lanes, took


def step_of(model: str, schedule: str, steps: int, lanes: int) -> Callable[[], None] | None:
    """A training step; None where the schedule does not apply."""
    try:
        layer = no.load(model).torch(lanes, schedule=schedule)
    except Unsupported:
        return None
    leaves = list(layer.parameters())
    x, g = torch.randn(steps, 1, lanes, requires_grad=True), torch.randn(steps, 1, lanes)

    def step() -> None:
        for leaf in (x, *leaves):
            leaf.grad = None
        layer(x)[0].backward(g)

    return step
