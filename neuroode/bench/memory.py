"""Peak memory of one training step in a process of its own, in arrays of the size of the input."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from neuroode.bench import grid
from neuroode.bench.cases import CASES, Case, Problem, Run, problem
from neuroode.bench.table import OURS, absent, peers

MEGABYTES = 16
SHAPE = (MEGABYTES * 2**20 // 4 // 32 // 512, 32, 512)
LONG, LANES = 1024, 4096  # 16 MiB too
#: peers with more to hold than a loop over rows come first
NAMES = (OURS, "torch loop", "SpikingJelly LIFNode", "snnTorch", "Norse", "sinabs", "JAX lax.scan", "neuroode, JAX")


def peaks() -> list[tuple[str, float | None]]:
    """Candidates of the LIF case: peak beyond input, output cotangent and libraries, in input arrays."""
    lif = CASES[0]
    chosen = [OURS, *(p.name for p in peers(lif) if p.name.startswith(NAMES[1:]) and not absent(p))]
    return [(name, _peak("measure", name)) for name in chosen]


def long_peaks(case: str) -> list[tuple[str, float | None]]:
    """The same of a case of the grid, over `LONG` steps."""
    chosen = [p.name for p in grid.peers(_long(case)) if not absent(p)]
    return [(name, _peak("measure_long", case, name)) for name in chosen]


def _peak(function: str, *given: str) -> float | None:
    command = [sys.executable, "-W", "ignore", "-c", f"from neuroode.bench import memory; memory.{function}{given!r}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return float(done.stdout.split()[-1]) if done.returncode == 0 else None


def measure(name: str) -> None:
    """Print the peak of one step of the named candidate; a small step has built and loaded everything before."""
    lif = CASES[0]
    build = {p.name: p.build for p in peers(lif)} | {OURS: import_module("neuroode.bench.ours_torch").neuroode}
    print(_of(build[name], [problem(lif, shape, "float32") for shape in ((4, 2, 512), SHAPE)], "JAX" in name))


def measure_long(case: str, name: str) -> None:
    """The same for a candidate of the grid."""
    build = next(p.build for p in grid.peers(_long(case)) if p.name == name)
    print(_of(build, [grid.problem(_long(case), steps, LANES, "float32") for steps in (4, LONG)], "JAX" in name))


def _long(case: str) -> Case:
    return next(c for c in grid.CASES if c.name == case)


def _of(build: Callable[[Problem], Run], problems: list[Problem], compiles: bool) -> float:
    """Peak of a step of the second problem, in arrays; the first has the same lanes and loads everything."""
    build(problems[0]).step()
    step = build(problems[1]).step
    gc.collect()
    before = _kilobytes("VmRSS")
    if compiles:
        step()  # for this shape
        gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
    step()
    return (_kilobytes("VmHWM") - before) / 1024 / MEGABYTES


def _kilobytes(name: str) -> int:
    """A line of this process's status on Linux."""
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith(name)).split()[1])
