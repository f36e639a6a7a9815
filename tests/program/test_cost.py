"""The cost model: counts of work, the fit, the choice; the file of measured constants."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import neuroode as no
from neuroode._errors import RunError
from neuroode.nn import costs
from neuroode.program import cost
from neuroode.solvers.native import cache_dir, cached_kernels, clear


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NEUROODE_CACHE", str(tmp_path))
    costs._measured_here.cache_clear()
    costs._choices.clear()
    yield tmp_path
    costs._measured_here.cache_clear()
    costs._choices.clear()


def program(name: str) -> Any:
    return no.load(name).program()


@pytest.mark.parametrize(
    ("name", "kernel", "wanted"),
    [
        ("prf", True, ("sequential", "scan", "fft")),
        ("prf", False, ("eager", "scan", "fft")),
        ("sliding_psn", True, ("sequential", "scan")),
        ("izhikevich", True, ("sequential",)),
    ],
)
def test_what_applies(name: str, kernel: bool, wanted: tuple[str, ...]) -> None:
    assert cost.applicable(program(name), kernel=kernel) == wanted
    assert cost.applicable(program(name), kernel=kernel, mixed=True) == wanted[:1]


def test_what_applies_can_be_built() -> None:
    """A schedule that auto may take is one that a layer takes by name."""
    for name in ("li", "lif", "prf", "drf", "sliding_psn", "brf", "alif", "izhikevich"):
        neuron = no.load(name)
        for schedule in cost.applicable(neuron.program(), kernel=True):
            neuron.program(schedule=schedule)


@pytest.mark.parametrize("schedule", cost.KNOWN)
def test_amounts_are_counts(schedule: str) -> None:
    """Named as declared, and those of lanes grow with lanes and steps, those of steps with steps."""
    p = program("drf")
    one, wide, long = (cost.amounts(p, schedule, *at) for at in ((100, 1), (100, 7), (1000, 1)))
    assert set(one) == set(cost.KINDS[schedule])
    for kind in ("lane ops", "lane steps", "scanned", "looped"):
        if kind in one:
            assert (wide[kind], long[kind]) == (7 * one[kind], 10 * one[kind])
    for kind in ("step ops", "steps"):
        if kind in one:
            assert (wide[kind], long[kind]) == (one[kind], 10 * one[kind])
    assert all(v >= 0 for v in one.values())


def test_the_fit_finds_the_constants_that_made_the_times() -> None:
    true = {"call": 2e-4, "steps": 1e-7, "step ops": 3e-9, "lane steps": 2e-9, "lane ops": 2e-10}
    cells = [(t, n) for t in (1, 30, 1000, 30000) for n in (1, 30, 1000)]
    samples = [
        cost.Sample(p, "sequential", t, n, cost.seconds(p, "sequential", t, n, true))
        for p in (program("li"), program("drf"))
        for t, n in cells
    ]
    found = cost.fitted(samples)
    assert list(found) == ["sequential"]
    for s in samples:
        assert math.isclose(
            cost.seconds(s.program, s.schedule, s.steps, s.lanes, found["sequential"]), s.seconds, rel_tol=1e-3
        )
    assert min(found["sequential"].values()) > 0


def test_the_least_prediction_is_chosen_and_cores_share_wide_work() -> None:
    p = program("prf")
    table = {"sequential": {"call": 1.0}, "scan": {"stages": 0.1}, "fft": {"lane ops": 1.0}}
    found = cost.ranked(p, 2**10, 2**10, table, ("sequential", "scan", "fft"))
    assert [c.schedule for c in found] == ["scan", "sequential", "fft"]
    assert found[1].milliseconds == 1000.0
    four = cost.seconds(p, "fft", 2**10, 2**10, table["fft"], cores=4)
    assert math.isclose(4 * four, cost.seconds(p, "fft", 2**10, 2**10, table["fft"]))
    assert cost.seconds(p, "fft", 2**10, 1, table["fft"], cores=4) == cost.seconds(p, "fft", 2**10, 1, table["fft"])


def test_measured_constants_are_kept_and_used(folder: Path) -> None:
    """They lie with the kernels, and clearing those leaves them."""
    p, package = program("prf"), costs.chosen(program("prf"), 1000, 10, kernel=True)
    assert package[0].schedule == "sequential"
    assert all(np.isfinite(c.milliseconds) for c in package)
    made = {"torch": {"sequential": {"call": 9.0}, "scan": {"stages": 1.0}, "fft": {"stages": 2.0}}}
    file = costs.save(made)
    assert file.parent == cache_dir()
    clear()
    assert file.exists()
    assert cached_kernels() == []
    assert costs.chosen(p, 1000, 10, kernel=True)[0].schedule == "scan"
    assert costs.choose(p, 1000, 10, "cpu", framework="torch", kernel=True, cores=1) == "scan"
    assert costs.chosen(p, 1000, 10, kernel=False)[0].schedule in ("scan", "fft")  # not measured: the package's


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"layout": 0, "constants": {}}', '{"layout": 1, "constants": {"torch": {"warp": {"call": 1.0}}}}',
     '{"layout": 1, "constants": {"torch": {"scan": {"stages": -1.0}}}}',
     '{"layout": 1, "constants": {"torch": {"scan": {"stages": NaN}}}}',
     '{"layout": 1, "constants": {"torch": {"scan": {"stages": "1"}}}}'],
)  # fmt: skip
def test_a_damaged_file_is_named_and_not_used(folder: Path, text: str) -> None:
    wanted = costs.chosen(program("prf"), 100, 1, kernel=True)
    costs._measured_here.cache_clear()
    costs.path().write_text(text)
    with pytest.warns(RuntimeWarning, match="measured costs in .* are not used: .*neuroode bench --calibrate"):
        assert costs.chosen(program("prf"), 100, 1, kernel=True) == wanted


def test_constants_of_another_machine_are_not_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    costs.save({"torch": {"scan": {"stages": 1e-9}, "sequential": {"call": 1.0}}})
    assert costs.chosen(program("prf"), 100, 1, kernel=True)[0].schedule == "scan"
    monkeypatch.setattr(costs, "cpu", lambda: "another")
    assert costs.chosen(program("prf"), 100, 1, kernel=True)[0].schedule == "sequential"


def test_a_folder_that_cannot_be_written_is_an_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(costs, "path", lambda: folder / "nowhere" / "costs.json")
    with pytest.raises(RunError, match="cannot be kept in"):
        costs.save({})


def test_what_was_never_measured_gets_the_loop() -> None:
    for where in ({"device": "cuda"}, {"framework": "abacus"}):
        (found,) = costs.chosen(program("prf"), 100, 1, kernel=True, **where)
        assert found.schedule == "sequential"
        assert math.isnan(found.milliseconds)


def test_the_package_knows_every_schedule_by_name() -> None:
    assert costs._is_ours(json.loads(json.dumps({"layout": costs.LAYOUT, "constants": costs.MEASURED})))
    assert set(costs.MEASURED["torch"]) == {"sequential", "scan", "fft"}
    assert set(costs.MEASURED["torch without a compiler"]) == {"eager", "scan", "fft"}
