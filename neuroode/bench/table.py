"""The tables: which peers are there, whether they compute the same neuron, how long a training step takes."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module, metadata
from typing import Any

import numpy as np

from neuroode._errors import NeuroodeError
from neuroode.bench.cases import CASES, QUICK, SMALL, Case, Peer, Run, problem
from neuroode.bench.measure import Row, interleaved

OURS, FLOOR = "neuroode", "floor: five passes over the arrays"
#: package -> what pip installs
INSTALL = {"jax": "'neuroode[jax]'"}


@dataclass(frozen=True, slots=True)
class Line:
    """A row of a table: figures, or why there are none."""

    name: str
    version: str
    row: Row | None
    note: str


@dataclass(frozen=True, slots=True)
class Table:
    case: Case
    shape: tuple[int, int, int]
    lines: tuple[Line, ...]


def peers(case: Case) -> list[Peer]:
    """The rows of data for a case; those of jax only where it is installed, else one that says so."""
    rows = [*import_module("neuroode.bench.libraries_torch").PEERS]
    if importlib.util.find_spec("jax"):
        rows += import_module("neuroode.bench.scans_jax").PEERS
    else:
        rows.append(Peer(case.name, "JAX", "jax", _not_built, "", {}))
    return [p for p in rows if p.case == case.name]


def _not_built(_: Any) -> Run:
    raise AssertionError("a peer that is not installed is not built")


def absent(peer: Peer) -> str:
    """Why a peer cannot run here; empty if it can."""
    if peer.package and importlib.util.find_spec(peer.package) is None:
        return f"not installed: pip install {INSTALL.get(peer.package, peer.package)}"
    return ""


def assert_same(peer: Peer, case: Case) -> None:
    """A peer and our layer in float64: the same spikes, and the same gradient of the input.

    Raises:
        AssertionError: it is another neuron, so that its time would mean nothing.
    """
    p = problem(case, SMALL, "float64")
    ours = import_module("neuroode.bench.ours_torch").neuroode
    (s, g), (spikes, by_x) = ours(p, **peer.options).result(), peer.build(p).result()
    assert 0.005 < s.mean() < 0.7, f"{case.name}: {s.mean():.3f} spikes a step"
    assert (s == spikes).all(), f"{peer.name}: {(s != spikes).mean():.2%} of the spikes of {case.name} differ"
    off = np.abs(g - by_x).max() / np.abs(g).max()
    assert off < 1e-6, f"{peer.name}: the gradient of {case.name} differs by {off:.1e}"


def tables(names: tuple[str, ...], quick: bool) -> Iterator[Table]:
    for case in CASES:
        if case.name in names:
            shapes = QUICK if quick else case.shapes
            reasons = {p.name: _reason(p, case) for p in peers(case)}
            for shape in shapes:
                yield Table(case, shape, tuple(_lines(case, shape, reasons, quick)))


def _reason(peer: Peer, case: Case) -> str:
    if reason := absent(peer):
        return reason
    try:
        assert_same(peer, case)
    except (NeuroodeError, ImportError) as error:  # a peer that this machine cannot run; a different neuron is an error
        return f"does not run: {error}".splitlines()[0]
    return ""


def _lines(case: Case, shape: tuple[int, int, int], reasons: dict[str, str], quick: bool) -> Iterator[Line]:
    ours = import_module("neuroode.bench.ours_torch")
    p = problem(case, shape, "float32")
    known = {peer.name: peer for peer in peers(case)}
    runs, bases = {OURS: ours.neuroode(p), FLOOR: ours.floor(p)}, {OURS: OURS, FLOOR: OURS}
    notes = {OURS: "one generated C kernel forward, one backward", FLOOR: "what any step has to read and write"}
    for name, peer in known.items():
        if not reasons[name]:
            base, compat = OURS, peer.options.get("compat")
            if compat:
                base = f"{OURS}, compat {compat}"
                runs[base], bases[base], notes[base] = ours.neuroode(p, compat=compat), base, "the base of the next row"
            runs[name], bases[name], notes[name] = peer.build(p), base, peer.timing
    limits = {"rounds": 3, "budget": 4.0} if quick else {"rounds": 11, "budget": 35.0}
    for row in interleaved({n: r.step for n, r in runs.items()}, bases, **limits):  # type: ignore[arg-type]
        yield Line(row.name, version(known[row.name].package) if row.name in known else "", row, notes[row.name])
    for name, reason in reasons.items():
        if reason:
            yield Line(name, "", None, reason)


@cache
def version(package: str) -> str:
    return metadata.version(package) if package else ""
