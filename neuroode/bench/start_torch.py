"""How long a new neuron takes until its first call, in fresh processes: without and with its entries in the cache."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

FIRST_USE = """
import time, torch
start = time.process_time()
import neuroode as no
imported = time.process_time() - start
cpu, wall = time.process_time(), time.perf_counter()
layer = no.load("alif").torch(size=16)
layer(torch.randn(5, 2, 16))
print(imported, time.process_time() - cpu, time.perf_counter() - wall)
cpu = time.process_time()
no.load("alif").torch(size=16)(torch.randn(5, 2, 16))
print(time.process_time() - cpu)
"""


def text() -> str:
    """A section of the page."""
    rows = ["| | import neuroode | first call, CPU | first call, wall | again |", "|---|---|---|---|---|"]
    with tempfile.TemporaryDirectory() as folder:
        for name in ("first use", "cached, new process"):
            imported, cpu, wall, again = _measure(folder)
            rows.append(f"| {name} | {imported:.3f} | {cpu:.2f} | {wall:.2f} | {again:.3f} |")
    what = "Load, derive, generate, compile and call an ALIF, torch imported before; seconds."
    return f"## The first use of a neuron\n\n{what}\n\n" + "\n".join(rows)


def _measure(folder: str) -> tuple[float, float, float, float]:
    environment = os.environ | {"NEUROODE_CACHE": folder}
    out = subprocess.run([sys.executable, "-c", FIRST_USE], capture_output=True, text=True, check=True, env=environment)
    imported, cpu, wall, again = (float(v) for v in out.stdout.split())
    return imported, cpu, wall, again
