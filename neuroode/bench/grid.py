"""Long sequences: every schedule of ours beside libraries and JAX, checked and timed over lengths and lanes."""

from __future__ import annotations

import importlib.util
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import import_module

import numpy as np

from neuroode.bench.cases import Array, Case, Peer, Problem, Run
from neuroode.bench.measure import samples
from neuroode.bench.table import absent, version

STEPS, LANES = (1024, 2048, 4096, 8192, 16384, 32768), {1: (1, 1), 64: (1, 64), 4096: (32, 128)}
QUICK_STEPS = (1024, 8192)
LIMIT = 2**23  # numbers an array may have: 32 MiB in float32
ROUNDS, TAKES, BUDGET = 7, 0.015, 8.0  # seconds that a sample takes at least, and a cell at most
SLOW, STOP = 0.25, 2.0  # seconds a step: timed once only; not timed in larger cells any more
AUTO, BASES = "neuroode", ("sequential", "scan", "fft")
SPAN = 1.1  # a peer is called faster where all its ratios but the largest tenth are this much below ours

CASES = (
    Case("leaky", "li", (), 1.0, 0.0),
    Case("lif", "lif", (), 4.0, 4.0),
    Case("prf", "prf", (), 30.0, 0.0),
    Case("drf", "drf", (), 10.0, 0.0),
    Case("sliding_psn", "sliding_psn", (), 0.5, 0.0),
)
#: lengths of a case; the first is the full grid
LENGTHS = {"leaky": STEPS, "lif": STEPS, "prf": (1024, 4096, 32768), "drf": (1024, 4096, 32768), "sliding_psn": STEPS}


@dataclass(slots=True)
class Entry:
    """A candidate in a cell: CPU milliseconds, ratios to our auto layer, largest errors; or why there are none."""

    milliseconds: float = 0.0
    ratios: list[float] = field(default_factory=list)
    error: float = 0.0
    gradient: float = 0.0
    why: str = ""


Cell = dict[str, Entry]


def problem(case: Case, steps: int, lanes: int, dtype: str) -> Problem:
    """Input, cotangent and parameters of a cell, the same numbers in every dtype."""
    shape, draw = (steps, *LANES[lanes]), np.random.default_rng(0)
    x = draw.normal(size=shape, scale=case.scale) + case.offset
    values = {"tau": draw.uniform(15, 25, shape[2])} if case.name == "leaky" else {}
    if case.name == "lif":
        values = {"tau": np.full(shape[2], 20.0)}
    if case.name == "prf":
        values = {"delta": draw.uniform(0.01, 0.1, shape[2]), "theta": draw.uniform(0.1, 6, shape[2])}
    if case.name == "drf":
        C = draw.normal(size=(shape[2], 4)) + 1j * draw.normal(size=(shape[2], 4))
        values = {"delta": draw.uniform(0.01, 0.1, shape[2]), "C": C, "alpha": draw.uniform(0, 0.5, 4)}
    kinds = {"f": dtype, "c": "complex64" if dtype == "float32" else "complex128"}
    given = {k: v.astype(kinds[v.dtype.kind]) for k, v in values.items()}
    return Problem(
        case, x.astype("float32").astype(dtype), draw.normal(size=shape).astype("float32").astype(dtype), given
    )


def peers(case: Case) -> list[Peer]:
    """Ours by schedule, then loops of torch and JAX, then libraries."""
    rows = [*import_module("neuroode.bench.grid_torch").PEERS]
    if importlib.util.find_spec("jax"):
        rows += import_module("neuroode.bench.grid_jax").PEERS
    return [p for p in rows if p.case == case.name]


def cell(case: Case, steps: int, lanes: int, late: dict[str, str]) -> Cell:
    """Every candidate of a case at one length and number of lanes; `late` gains those that took too long.

    Raises:
        AssertionError: a candidate computes something else.
    """
    import_module("torch").manual_seed(0)
    wide = _reference(case, steps, lanes)
    given, found, runs, once = problem(case, steps, lanes, "float32"), Cell(), dict[str, Run](), dict[str, float]()
    for peer in peers(case):
        why = late.get(peer.name) or absent(peer) or _too_large(peer, steps)
        found[peer.name] = Entry(why=why)
        if not why:
            runs[peer.name] = run = peer.build(given)
            if peer.package == "jax":
                run.step()  # compiles for this shape
            else:
                peer.build(problem(case, 4, lanes, "float32")).step()  # imports, compiles
            start = time.process_time()
            _compare(found[peer.name], run.result(), wide, f"{peer.name}, {case.name} ({steps}, {lanes})")
            once[peer.name] = time.process_time() - start
    late |= {name: f"over {STOP:g} s a step in a smaller cell" for name, t in once.items() if t > STOP}
    _time(found, runs, once)
    return found


def _too_large(peer: Peer, steps: int) -> str:
    """SlidingPSN multiplies with a matrix of steps times steps, filled row by row in Python."""
    return "its (T, T) matrix exceeds 1 GiB" if "SlidingPSN" in peer.name and steps**2 * 4 > 2**30 else ""


def _reference(case: Case, steps: int, lanes: int) -> tuple[Array, Array]:
    """Outputs and gradient of the input in float64, by the fused loop, which the tests compare with the interpreter."""
    ours = import_module("neuroode.bench.grid_torch").ours
    return ours(problem(case, steps, lanes, "float64"), schedule="sequential").result()


def _compare(entry: Entry, found: tuple[Array, Array], wide: tuple[Array, Array], what: str) -> None:
    """Errors relative to the largest value; of spikes, the share that differs."""
    (out, g), (true, by_x) = found, wide
    spikes = np.isin(true, (0, 1)).all()
    entry.error = float((out != true).mean()) if spikes else float(np.abs(out - true).max() / np.abs(true).max())
    entry.gradient = float(np.abs(g - by_x).max() / np.abs(by_x).max())
    assert entry.error < (0.02 if spikes else 1e-3), f"{what}: outputs differ, {entry.error:.1e}"


def _time(found: Cell, runs: dict[str, Run], once: dict[str, float]) -> None:
    """Shuffled rounds of what is quick; what is slow was timed once and is set beside our median."""
    fast = {n: r.step for n, r in runs.items() if n == AUTO or once[n] < SLOW}
    times = samples(fast, ROUNDS, BUDGET, least=TAKES)
    ours = statistics.median(times[AUTO])
    for name in runs:
        row = times.get(name, [once[name]])
        found[name].milliseconds = 1e3 * statistics.median(row)
        found[name].ratios = (
            sorted(t / o for t, o in zip(row, times[AUTO], strict=True)) if name in times else [row[0] / ours]
        )


def sections(quick: bool) -> Iterator[str]:
    """A table a case, then where a peer is faster, then accuracy."""
    found: dict[tuple[str, int, int], Cell] = {}
    yield f"## Long sequences\n\n{ABOUT}"
    for case in CASES:
        late: dict[int, dict[str, str]] = {n: {} for n in LANES}
        for steps in QUICK_STEPS if quick else LENGTHS[case.name]:
            for lanes in LANES:
                if steps * lanes <= (LIMIT // 8 if quick else LIMIT):
                    found[case.name, steps, lanes] = cell(case, steps, lanes, late[lanes])
        yield _table(case, {k[1:]: v for k, v in found.items() if k[0] == case.name})
    yield "### Where a peer is faster\n\n" + _faster(found)
    yield f"### Accuracy\n\n{ACCURACY}\n\n" + _accuracy(found)


def _table(case: Case, cells: dict[tuple[int, int], Cell]) -> str:
    names = list(next(iter(cells.values())))
    head = [f"| {n} {version(_package(case, n))}".rstrip() for n in names]
    lines = [
        f"### {case.name}: {NOTES[case.name]}",
        "",
        "| (L, lanes) " + " ".join(head) + " |",
        "|---" * (len(names) + 1) + "|",
    ]
    for (steps, lanes), row in cells.items():
        lines.append(f"| {steps}, {lanes} | " + " | ".join(_entry(n, row[n]) for n in names) + " |")
    reasons = {f"- {n}: {e.why}." for row in cells.values() for n, e in row.items() if e.why}
    return "\n".join(lines) + ("\n\n" + "\n".join(sorted(reasons)) if reasons else "")


def _package(case: Case, name: str) -> str:
    return next((p.package for p in peers(case) if p.name == name and not absent(p) and p.package != "jax"), "")


def _entry(name: str, e: Entry) -> str:
    if e.why:
        return "-"
    if name == AUTO:
        return f"{e.milliseconds:.2f} ms"
    return f"{statistics.median(e.ratios):.2f} ({_mark(e, 0.1):.2f} to {_mark(e, 0.9):.2f})"


def _mark(e: Entry, share: float) -> float:
    return e.ratios[round(share * (len(e.ratios) - 1))]


def _faster(found: dict[tuple[str, int, int], Cell]) -> str:
    """Peers whose ratios lie below 1 by more than the spread."""
    lines = [
        f"- {case}, ({steps}, {lanes}): {name}, {statistics.median(e.ratios):.2f}"
        for (case, steps, lanes), row in found.items()
        for name, e in row.items()
        if e.ratios and not name.startswith(AUTO) and _mark(e, 0.9) * SPAN < 1
    ]
    return "\n".join(lines) or "In no cell, beyond the spread."


def _accuracy(found: dict[tuple[str, int, int], Cell]) -> str:
    rows = ["| case | candidate | outputs | gradient of the input |", "|---|---|---|---|"]
    for case in dict.fromkeys(k[0] for k in found):
        cells = [v for k, v in found.items() if k[0] == case]
        for name in cells[0]:
            known = [c[name] for c in cells if not c[name].why]
            if known:
                worst = max(e.error for e in known), max(e.gradient for e in known)
                rows.append(f"| {case} | {name} | {worst[0]:.1e} | {worst[1]:.1e} |")
    return "\n".join(rows)


NOTES = {
    "leaky": "a leaky integrator, what StateLeaky and LinearLeaky compute",
    "lif": "with soft reset",
    "prf": "complex, linear, spikes read off",
    "drf": "four branches, threshold raised by past pre-spikes",
    "sliding_psn": "k = 32 taps",
}
ABOUT = f"""\
A training step of float32 inputs (L, 1, 1), (L, 1, 64), (L, 32, 128): `neuroode` is the layer with schedule="auto", in
milliseconds; the others are ratios to it, median over shuffled rounds, with 10 % and 90 % marks (CPU time, one thread).
Below 1 is faster than ours. Arrays above {LIMIT * 4 // 2**20} MiB are left out; so is, in the larger cells, what took
more than {STOP:g} s a step; what takes more than {SLOW:g} s is timed once, in its first call."""
ACCURACY = """\
The largest error over all cells against float64, relative to the largest value; of spikes, the share that differs. The
gradient of a spiking neuron is that of its own spikes: where one differs, so does it."""
