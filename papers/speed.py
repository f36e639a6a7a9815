"""Training steps of several candidates over growing lengths, side by side: what the papers' headline figures are about.

One process, one thread, CPU time, shuffled rounds (`neuroode.bench.measure`). A candidate that takes too long at one
length is not run at longer ones, and the table says so.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from importlib import import_module

from neuroode._errors import Unsupported
from neuroode.bench.measure import Row, row, samples
from neuroode.bench.page import machine
from neuroode.papers.claims import read
from neuroode.papers.page import markdown, write_section

LENGTHS = (1024, 2048, 4096, 8192, 16384, 32768)
LONGEST = 6.0  # seconds of a step; a candidate above it stops there
QUICK = (1024, 4096, 32768)
Step = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Candidate:
    """`build(steps, device)` gives one training step: forward and backward, finished when it returns.

    It, or the first step, raises Unsupported where it cannot run.
    """

    name: str
    build: Callable[[int, str], Step]


@dataclass(frozen=True, slots=True)
class Ratio:
    """A column of the table: how many times as long one candidate takes as another; `paper`: its figures by length."""

    name: str
    slow: str
    fast: str
    paper: Mapping[int, float]


@dataclass(frozen=True, slots=True)
class Experiment:
    """What a paper timed. `lanes` in words; `ratios` may ask for the same candidates several times."""

    paper: str
    title: str
    lanes: str
    candidates: Sequence[Candidate]
    ratios: Sequence[Ratio]


@dataclass(frozen=True, slots=True)
class Cell:
    """One length: milliseconds of what was timed, the ratios, and why a candidate has none."""

    steps: int
    rows: Mapping[str, Row]
    ratios: Mapping[str, Row]
    reasons: Mapping[str, str]


def measure(
    experiment: Experiment,
    lengths: Sequence[int],
    rounds: int,
    budget: float,
    longest: float = LONGEST,
    device: str = "cpu",
) -> Iterator[Cell]:
    """Cells in the order of the lengths; at least three rounds each, then more within `budget` seconds.

    CPU time on a CPU; elsewhere the time on the wall, since the host only waits.
    """
    clock = time.process_time if device == "cpu" else time.perf_counter
    out: dict[str, str] = {}
    for steps in lengths:
        runs: dict[str, Step] = {}
        for c in experiment.candidates:
            if c.name not in out:
                _add(runs, out, c, steps, device)
        times = samples(runs, rounds, budget, clock)
        asked = [r for r in experiment.ratios if r.slow in times and r.fast in times]
        ratios = {r.name: row(r.name, times[r.slow], times[r.fast]) for r in asked}
        rows = {name: row(name, mine, mine) for name, mine in times.items()}
        yield Cell(steps, rows, ratios, dict(out))
        for name, found in rows.items():
            if found.milliseconds > 1e3 * longest:
                out[name] = f"not run: {found.milliseconds / 1e3:.1f} s a step at {steps:,}"


def _add(runs: dict[str, Step], out: dict[str, str], c: Candidate, steps: int, device: str) -> None:
    try:
        step = c.build(steps, device)
        step()
        runs[c.name] = step
    except Unsupported as error:
        out[c.name] = f"does not run: {error.what}"


def section(experiment: Experiment, cells: Sequence[Cell], command: str, device: str = "cpu") -> str:
    """The part of a page: machine, milliseconds, ratios beside the paper's, and what did not run."""
    names = [c.name for c in experiment.candidates]
    times = [(f"{c.steps:,}", *(_time(c, n) for n in names)) for c in cells]
    heads = [f"{r.name} ({'paper, ' if r.paper else ''}here)" for r in experiment.ratios]
    ratios = [(f"{c.steps:,}", *(_ratio(c, r) for r in experiment.ratios)) for c in cells]
    reasons = [f"- {name}: {reason}" for name, reason in cells[-1].reasons.items()]
    return "\n\n".join(
        [
            f"Measured by `{command}` on {date.today()}: {experiment.lanes}.",
            machine() + ("" if device == "cpu" else f"\n- {_device_name(device)}"),
            f"Milliseconds of {'CPU time' if device == 'cpu' else 'wall time'} of a training step, medians:",
            markdown(("steps", *names), times),
            "How many times as long, medians over rounds with their 10 % and 90 % marks:",
            markdown(("steps", *heads), ratios),
            *(["Without a figure:\n\n" + "\n".join(reasons)] if reasons else []),
        ]
    )


def _time(cell: Cell, name: str) -> str:
    return _short(cell.rows[name].milliseconds) if name in cell.rows else "–"


def _ratio(cell: Cell, ratio: Ratio) -> str:
    if ratio.name not in cell.ratios:
        here = "–"
    else:
        r = cell.ratios[ratio.name]
        here = f"{_short(r.ratio)} ({_short(r.low)} to {_short(r.high)})"
    paper = f"{ratio.paper[cell.steps]:g}" if cell.steps in ratio.paper else "–"
    return f"{paper}, {here}" if ratio.paper else here


def _short(x: float) -> str:
    """Three digits."""
    return f"{x:,.0f}" if x >= 100 else f"{x:.3g}"


def main(experiment: Experiment, extra: Callable[[], str] | None = None, argv: Sequence[str] | None = None) -> None:
    """Measure, print, and with --write put the section `speed` into the paper's page; `extra` gives what follows."""
    parser = argparse.ArgumentParser(description=experiment.title)
    parser.add_argument("--quick", action="store_true", help="three lengths, three rounds, no step above half a second")
    parser.add_argument("--write", action="store_true", help="write the section into the paper's README.md")
    parser.add_argument("--device", default="cpu", metavar="NAME", help="cpu, cuda or cuda:1; default cpu, one core")
    given = parser.parse_args(argv)
    if given.device == "cpu":
        _one_core()
    elif not import_module("torch").cuda.is_available():
        parser.error(f"--device is {given.device}, but torch finds no GPU")
    lengths, rounds, budget, longest = (QUICK, 3, 10.0, 0.5) if given.quick else (LENGTHS, 11, 40.0, LONGEST)
    cells = []
    for cell in measure(experiment, lengths, rounds, budget, longest, given.device):
        print(f"{cell.steps:,} steps: " + ", ".join(f"{n} {_time(cell, n)} ms" for n in cell.rows), file=sys.stderr)
        cells.append(cell)
    flags = " --quick" * given.quick + f" --device {given.device}" * (given.device != "cpu")
    text = section(experiment, cells, f"neuroode claims {experiment.paper} --speed{flags}", given.device) + (
        f"\n\n{extra()}" if extra else ""
    )
    print(text)
    if given.write:
        where = "speed" if given.device == "cpu" else "speed on a GPU"
        write_section(read(experiment.paper).page, where, text)


def _device_name(device: str) -> str:
    return import_module("torch").cuda.get_device_name(device)


def _one_core() -> None:
    """One core where the system can say so, and one thread of torch, which the experiments have loaded."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    import_module("torch").set_num_threads(1)
