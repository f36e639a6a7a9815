"""`python -m neuroode.bench [--quick] [--out FILE] [PART ...]`."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from neuroode.bench import memory, page
from neuroode.bench.cases import CASES
from neuroode.bench.table import tables

PARTS = (*(c.name for c in CASES), "ecg", "memory", "start")


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
    if "start" in parts:
        yield import_module("neuroode.bench.start_torch").text()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m neuroode.bench", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS) + "; default all")
    parser.add_argument("--quick", action="store_true", help="one small shape and three rounds: does it run?")
    parser.add_argument("--out", type=Path, help="write a page")
    given = parser.parse_args()
    if unknown := set(given.parts) - set(PARTS):
        sys.exit(f"unknown part {', '.join(sorted(unknown))}; choose among {', '.join(PARTS)}")
    warnings.simplefilter("ignore")  # of the libraries
    one_thread()
    found = []
    for section in sections(tuple(given.parts) or PARTS, given.quick):
        print(section, end="\n\n", flush=True)
        found.append(section)
    if given.out:
        page.write(page.page(found, "python -m neuroode.bench " + " ".join(sys.argv[1:])), given.out)


main()
