"""Peak memory of one training step in a process of its own, in arrays of the size of the input."""

from __future__ import annotations

import gc
import subprocess
import sys
from importlib import import_module
from pathlib import Path

from neuroode.bench.cases import CASES, problem
from neuroode.bench.table import OURS, absent, peers

MEGABYTES = 16
SHAPE = (MEGABYTES * 2**20 // 4 // 32 // 512, 32, 512)
#: peers with more to hold than a loop over rows come first
NAMES = (OURS, "torch loop", "SpikingJelly LIFNode", "snnTorch", "Norse", "sinabs", "JAX lax.scan", "neuroode, JAX")


def peaks() -> list[tuple[str, float | None]]:
    """Candidates of the LIF case: peak beyond input, output cotangent and libraries, in input arrays."""
    lif = CASES[0]
    chosen = [OURS, *(p.name for p in peers(lif) if p.name.startswith(NAMES[1:]) and not absent(p))]
    return [(name, _peak(name)) for name in chosen]


def _peak(name: str) -> float | None:
    command = [sys.executable, "-c", f"from neuroode.bench.memory import measure; measure({name!r})"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return float(done.stdout.split()[-1]) if done.returncode == 0 else None


def measure(name: str) -> None:
    """Print the peak of one step of the named candidate; a small step has built and loaded everything before."""
    lif = CASES[0]
    build = {p.name: p.build for p in peers(lif)} | {OURS: import_module("neuroode.bench.ours_torch").neuroode}
    build[name](problem(lif, (4, 2, 512), "float32")).step()
    step = build[name](problem(lif, SHAPE, "float32")).step
    gc.collect()
    before = _kilobytes("VmRSS")
    if "JAX" in name:
        step()  # compiles for this shape
        gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
    step()
    print((_kilobytes("VmHWM") - before) / 1024 / MEGABYTES)


def _kilobytes(name: str) -> int:
    """A line of this process's status on Linux."""
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith(name)).split()[1])
