"""Does schedule="auto" choose well? Every schedule over a grid of lengths and lanes, with and without a compiler."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from math import exp, log

import torch

import neuroode as no
from neuroode._errors import RunError
from neuroode.bench.calibrate_torch import step_of
from neuroode.bench.measure import least_seconds, samples
from neuroode.nn import costs
from neuroode.program.cost import applicable
from neuroode.solvers.native import compiler_here

STEPS, LANES = (64, 256, 1024, 4096, 16384, 32768), (1, 8, 64, 256, 512)
MODEL = "prf"
OUT = 3.0  # a schedule that takes so many times the best is not timed again
LATE = 4.0  # seconds a step of a slow schedule may take before larger cells leave it out


def sections(quick: bool) -> Iterator[str]:
    """One table with a compiler, one without."""
    for kernel in (True, False):
        rows = cells(quick) if kernel else _of_another_process(quick)
        yield table(rows, "with compiled loops" if kernel else "without a compiler")


def cells(quick: bool) -> list[dict]:
    """Of each model and cell: the schedule that auto takes, the best one, and the ratio of their times."""
    torch.set_num_threads(1)
    late: set[str] = set()
    grid = [(t, n) for t in (STEPS[::3] if quick else STEPS) for n in (LANES[::3] if quick else LANES)]
    return [_cell(MODEL, *at, late, rounds=3 if quick else 11) for at in grid]


def _cell(model: str, steps: int, lanes: int, late: set[str], rounds: int) -> dict:
    program, kernel = no.load(model).program(), compiler_here()
    taken = costs.choose(program, steps, lanes, "cpu", framework="torch", kernel=kernel, cores=1)
    runs = {s: r for s in applicable(program, kernel=kernel) if s not in late if (r := step_of(model, s, steps, lanes))}
    once = {s: least_seconds(r) for s, r in runs.items()}
    late |= {s for s, t in once.items() if t > LATE}
    best = min(once.values())
    times = samples({s: r for s, r in runs.items() if once[s] <= OUT * best}, rounds, budget=60.0)
    fastest = min(times, key=lambda s: statistics.median(times[s]))
    ratios = [a / b for a, b in zip(times[taken], times[fastest], strict=True)] if taken in times else [OUT]
    return {"model": model, "steps": steps, "lanes": lanes, "auto": taken, "best": fastest,
            "ms": 1e3 * statistics.median(times[fastest]), "ratio": statistics.median(ratios)}  # fmt: skip


def dump(quick: bool) -> None:
    """Print the cells as JSON, for a process that has another environment."""
    print(json.dumps(cells(quick)))


def _of_another_process(quick: bool) -> list[dict]:
    command = [sys.executable, "-W", "ignore", "-c", f"from neuroode.bench.auto_torch import dump; dump({quick})"]
    done = subprocess.run(command, env=os.environ | {"CC": os.devnull}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RunError(f"the grid without a compiler failed: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout)


def table(rows: list[dict], what: str) -> str:
    """A row a length, a column a number of lanes: what auto takes, and its time over that of the best."""
    parts = [f'## What schedule="auto" chooses on a CPU, {what}', ABOUT]
    for model in dict.fromkeys(r["model"] for r in rows):
        mine = [r for r in rows if r["model"] == model]
        lanes = sorted({r["lanes"] for r in mine})
        head = f"| {model}, steps | " + " | ".join(f"{n} lanes" for n in lanes) + " |"
        lines = [head, "|---" * (len(lanes) + 1) + "|"]
        for steps in sorted({r["steps"] for r in mine}):
            at = {r["lanes"]: r for r in mine if r["steps"] == steps}
            lines.append(f"| {steps} | " + " | ".join(_text(at.get(n)) for n in lanes) + " |")
        ratios = [r["ratio"] for r in mine]
        mean = exp(statistics.mean(map(log, ratios)))
        parts.append(
            "\n".join(lines) + f"\n\nGeometric mean {mean:.2f}, worst {max(ratios):.2f} of {len(ratios)} cells."
        )
    return "\n\n".join(parts)


ABOUT = """\
The schedule that auto takes, and its time over that of the fastest one (median over rounds of the ratios of a round;
a training step, CPU time, one thread). A schedule three times slower than the best is timed once."""


def _text(row: dict | None) -> str:
    if row is None:
        return ""
    best = "" if row["best"] == row["auto"] else f", best {row['best']}"
    return f"{row['auto']} {row['ratio']:.2f}{best}"
