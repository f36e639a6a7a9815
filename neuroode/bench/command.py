"""What `neuroode bench` does, part by part."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path

from neuroode._errors import RunError
from neuroode.bench import fractional, gradients, grid, memory, orders, page, precision
from neuroode.bench.cases import CASES
from neuroode.bench.table import tables

EXTRA = ("auto", "precision", "gradients", "orders", "fractional", "noise")  # by name only: they take longest
PARTS = (*(c.name for c in CASES), "ecg", "memory", "start", "grid", *EXTRA)
PICTURED = {"precision", "fractional"}
USUAL = tuple(p for p in PARTS if p not in EXTRA)


def one_thread() -> None:
    """Before torch and jax are loaded: one core where the system can say so, and no pools."""
    os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "JAX_PLATFORMS": "cpu"}
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    import_module("torch").set_num_threads(1)


def sections(parts: tuple[str, ...], quick: bool, plot: Path | None = None) -> Iterator[str]:
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
    yield from _of_continuous_time(parts, quick, plot)


def _of_continuous_time(parts: tuple[str, ...], quick: bool, plot: Path | None) -> Iterator[str]:
    if "precision" in parts:
        yield from precision.sections(quick, plot)
    if "gradients" in parts:
        yield from gradients.sections(quick)
    if "orders" in parts:
        yield f"## Measured orders\n\n{orders.text(orders.orders(precision.NAMES if quick else None))}"
    if "noise" in parts:
        yield f"## Orders of stochastic methods\n\n{import_module('neuroode.bench.noise_torch').text(quick)}"
    if "fractional" in parts:
        yield from fractional.sections(quick, plot)


def run(wanted: Sequence[str], quick: bool, out: Path | None, plot: Path | None = None) -> None:
    """Measure, print, and write a page if wanted, and a picture of work against precision.

    Raises:
        RunError: no such part, or a picture of a part that is not run.
    """
    if plot and len(PICTURED.intersection(wanted)) != 1:
        hint = "neuroode bench precision --plot FILE"
        raise RunError("--plot is a picture of the part precision or fractional", hint=hint)
    if unknown := set(wanted) - set(PARTS):
        raise RunError(f"unknown part {', '.join(sorted(unknown))}", hint=f"choose among {', '.join(PARTS)}")
    warnings.simplefilter("ignore")  # of the libraries
    found = []
    for section in sections(tuple(wanted) or USUAL, quick, plot):
        print(section, end="\n\n", flush=True)
        found.append(section)
    if out:
        page.write(page.page(found, "neuroode bench " + " ".join(sys.argv[1:]).removeprefix("bench ")), out)
