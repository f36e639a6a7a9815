"""The grid of long sequences: what is timed computes our neuron; slow, large and absent candidates say so."""

from __future__ import annotations

from dataclasses import replace

import pytest

from neuroode.bench import grid
from neuroode.bench.cases import Peer
from neuroode.bench.grid_torch import loop_leaky, ours


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grid, "ROUNDS", 1)
    monkeypatch.setattr(grid, "TAKES", 0.0)
    monkeypatch.setitem(grid.LANES, 64, (2, 3))


QUICK = ("leaky", "prf")
CASES = [c if c.name in QUICK else pytest.param(c, marks=pytest.mark.slow) for c in grid.CASES]


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_candidates_compute_our_neuron(case: grid.Case, small: None) -> None:
    """`cell` compares each with float64; their errors are of single precision. Spikes come, and not always."""
    found = grid.cell(case, 70, 64, {})
    for name, entry in found.items():
        assert entry.why or (entry.ratios and entry.error < 1e-2 and entry.milliseconds > 0), name
    spikes = grid._reference(case, 70, 64)[0]
    assert case.name == "leaky" or 0.005 < spikes.mean() < 0.9


def test_another_neuron_is_refused(small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    slower = Peer(
        "leaky", "slower", "", lambda p: loop_leaky(replace(p, values={"tau": 1.1 * p.values["tau"]})), "", {}
    )
    monkeypatch.setattr(grid, "peers", lambda _: [Peer("leaky", grid.AUTO, "", ours, "", {}), slower])
    with pytest.raises(AssertionError, match=r"slower, leaky \(50, 64\): outputs differ"):
        grid.cell(grid.CASES[0], 50, 64, {})


def test_what_is_slow_is_left_out_later(small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grid, "STOP", 0.0)
    late: dict[str, str] = {}
    grid.cell(grid.CASES[0], 20, 64, late)
    assert "torch loop" in late
    row = grid.cell(grid.CASES[0], 30, 64, {"torch loop": late["torch loop"]})
    assert row["torch loop"].why.startswith("over 0 s a step")
    text = grid._table(grid.CASES[0], {(30, 64): row})
    assert "- torch loop: over 0 s a step in a smaller cell." in text
    assert grid._too_large(Peer("sliding_psn", "SpikingJelly SlidingPSN", "", ours, "", {}), 32768)


def test_a_faster_peer_is_named() -> None:
    row = {
        "neuroode": grid.Entry(1.0, [1.0]),
        "neuroode scan": grid.Entry(0.1, [0.1]),
        "swift": grid.Entry(0.5, [0.4, 0.5]),
    }
    assert grid._faster({("leaky", 8, 1): row}) == "- leaky, (8, 1): swift, 0.45"
    row["swift"].ratios = [0.4, 1.2]
    assert grid._faster({("leaky", 8, 1): row}) == "In no cell, beyond the spread."
