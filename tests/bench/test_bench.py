"""The benchmark times only what computes our neuron, lists what is not there, and writes whole pages."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from neuroode.bench import page
from neuroode.bench.cases import CASES, SMALL, Case, Peer, problem
from neuroode.bench.measure import Row, interleaved
from neuroode.bench.ours_torch import loop_lif, neuroode, training
from neuroode.bench.table import Line, Table, absent, assert_same, peers, tables

HERE = [(c, p) for c in CASES for p in peers(c) if p.package in ("", "jax") and "JAX layer" not in p.name]


@pytest.mark.parametrize(("case", "peer"), HERE, ids=[f"{c.name}-{p.name}" for c, p in HERE])
def test_what_needs_no_library_computes_our_neuron(case: Case, peer: Peer) -> None:
    if absent(peer):
        pytest.skip(absent(peer))
    assert_same(peer, case)


def test_another_neuron_is_refused() -> None:
    lif = CASES[0]
    slower = Peer("lif", "slower", "", lambda p: loop_lif(replace(p, values={"tau": 1.01 * p.values["tau"]})), "", {})
    with pytest.raises(AssertionError, match=r"slower: .* of the spikes of lif differ"):
        assert_same(slower, lif)
    wider = Peer("lif", "wider", "", loop_lif, "", {"surrogate": {"kind": "fast_sigmoid", "width": 0.51}})
    with pytest.raises(AssertionError, match="wider: the gradient of lif differs"):
        assert_same(wider, lif)


def test_a_drive_makes_every_neuron_spike_now_and_then() -> None:
    for case in CASES:
        spikes, _ = neuroode(problem(case, SMALL, "float64")).result()
        assert 0.005 < spikes.mean() < 0.5, case.name


def test_a_library_that_is_missing_is_listed_with_what_installs_it() -> None:
    nobody = Peer("lif", "Nobody", "no_such_library", loop_lif, "", {})
    assert absent(nobody) == "not installed: pip install no_such_library"
    line = Line("Nobody", "", None, absent(nobody))
    assert "| Nobody | | | | not installed: pip install no_such_library |" in page.table(
        Table(CASES[0], SMALL, (line,))
    )


def test_a_table_of_the_quick_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("neuroode.bench.table.QUICK", ((8, 2, 4),))
    monkeypatch.setattr("neuroode.bench.measure.SAMPLE", 0.001)
    (table,) = tables(("brf",), quick=True)
    rows = {line.name: line for line in table.lines}
    assert rows["neuroode"].row is not None
    assert rows["neuroode"].row.ratio == 1
    assert any(line.note.startswith("not installed: pip install spikingjelly") or line.version for line in table.lines)
    assert "| neuroode | " in page.table(table)


def test_ratios_are_to_the_base_of_each() -> None:
    def work(n: int) -> object:
        return lambda: np.ones(200 * n).cumsum()

    runs = {"a": work(100), "b": work(1000), "c": work(1000)}
    rows = {r.name: r for r in interleaved(runs, {"a": "a", "b": "a", "c": "b"}, rounds=3)}
    assert rows["b"].ratio > 3
    assert 0.3 < rows["c"].ratio < 3


def test_a_gain_scales_the_input_and_its_gradient() -> None:
    p = problem(CASES[0], (3, 1, 2), "float64")
    out, by_x = training(lambda x: x, p, [], gain=2.0).result()
    assert (out == 2 * p.x).all()
    assert (by_x == 2 * p.g).all()


def test_a_page_is_written_whole(tmp_path: Path) -> None:
    target = tmp_path / "page.md"
    target.write_text("old")
    text = page.page([page.plain("Some step", [Row("ours", 1.5, 1.0, 0.9, 1.25)])], "make bench")
    page.write(text, target)
    assert target.read_text() == text
    assert list(tmp_path.iterdir()) == [target]
    assert "| ours | 1.50 | 1.00 | 0.90 to 1.25 |" in text
    assert "numpy" in text


def test_an_unknown_part_is_refused() -> None:
    done = subprocess.run([sys.executable, "-m", "neuroode.bench", "lift"], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "unknown part lift\nhint: choose among lif, alif, brf, brf recurrent, ecg, memory, start" in done.stderr
