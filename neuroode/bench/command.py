"""What `neuroode bench` does, part by part."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path

from neuroode._errors import RunError
from neuroode.bench import grid, memory, page
from neuroode.bench.cases import CASES
from neuroode.bench.table import tables

PARTS = (*(c.name for c in CASES), "ecg", "memory", "start", "grid", "auto")
USUAL = tuple(p for p in PARTS if p != "auto")  # without what takes longest


def one_thread() -> None:
    """Before torch and jax are loaded: one core where the system can say so, and no pools."""
    os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "JAX_PLATFORMS": "cpu"}
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    import_module("torch").set_num_threads(1)


def sections(parts: tuple[str, ...], quick: bool) -> Iterator[str]:
    for table in tables(parts, quick):
        yield page.table(table)
    if "ecg" in parts:
        ecg = import_module("neuroode.bench.ecg_torch")
        yield page.plain(ecg.TITLE, ecg.step_rows(rounds=3 if quick else 7))
    if "memory" in parts:
        yield page.peaks(memory.peaks(), memory.MEGABYTES)
        for case in ("leaky", "prf") if quick else [c.name for c in grid.CASES]:
            what = f"{case}, {memory.LONG} steps of {memory.LANES} lanes"
            yield page.peaks(memory.long_peaks(case), memory.MEGABYTES, what)
    if "grid" in parts:
        yield from grid.sections(quick)
    if "auto" in parts:
        yield from import_module("neuroode.bench.auto_torch").sections(quick)
    if "start" in parts:
        yield import_module("neuroode.bench.start_torch").text()


def run(wanted: Sequence[str], quick: bool, out: Path | None) -> None:
    """Measure, print, and write a page if wanted.

    Raises:
        RunError: no such part.
    """
    if unknown := set(wanted) - set(PARTS):
        raise RunError(f"unknown part {', '.join(sorted(unknown))}", hint=f"choose among {', '.join(PARTS)}")
    warnings.simplefilter("ignore")  # of the libraries
    found = []
    for section in sections(tuple(wanted) or USUAL, quick):
        print(section, end="\n\n", flush=True)
        found.append(section)
    if out:
        page.write(page.page(found, "neuroode bench " + " ".join(sys.argv[1:]).removeprefix("bench ")), out)
