"""Tables on continuous time: references against textbooks, closed forms against differences, and what is printed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from neuroode._errors import RunError
from neuroode.bench import command, gradients, gradients_torch, precision, precision_torch
from neuroode.bench.problems import PROBLEMS, Run, distance, reference

QIF, IZHIKEVICH, ADEX, HH = PROBLEMS


def test_references_agree_with_textbooks() -> None:
    """First spikes: AdEx 17.720 ms at 800 pA, 11.792 at 1000; Hodgkin-Huxley 1.9012 ms at 10; QIF in closed form."""
    adex = reference(ADEX, True).spikes
    assert (adex[0][0], adex[-1][0]) == (pytest.approx(17.720, abs=1e-3), pytest.approx(11.792, abs=1e-3))
    assert reference(HH, True).spikes[0][0] == pytest.approx(1.9012, abs=1e-3)
    root = np.sqrt(0.25 * 0.1 - 0.0625**2)
    q = 1 / (-0.125 / 2 + 0.1)
    first = (np.arctan(root * q) % np.pi) / root
    assert reference(QIF, True).spikes[0] == pytest.approx(first * np.arange(1, 5), rel=1e-10)


def test_points_of_qif_and_a_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision_torch, "METHODS", ("exact", "strang", "exp_euler"))
    points = list(precision_torch.ours(QIF, True, (0.5,)))
    monkeypatch.setattr(precision_torch, "METHODS", ("exact", "heun"))
    points += list(precision_torch.ours(QIF, False, (0.5, 0.25)))
    found = {(p.method, p.spiking, p.at): p.error for p in points}
    assert found["exact", False, 0.5] < 1e-12
    assert found["exact", True, 0.5] < 1e-10
    assert found["heun", False, 0.5] / found["heun", False, 0.25] == pytest.approx(4, rel=0.3)
    assert ("strang", True, 0.5) not in found
    points += list(precision_torch.peer(QIF, (1e-6,)))
    assert points[-1].error < 1e-6
    precision.picture(points, tmp_path / "work.png")
    assert (tmp_path / "work.png").stat().st_size > 10_000
    assert "| torchdiffeq dopri5 | 1e-06 | " in precision.table(QIF, False, points)


def test_spikes_that_are_lost_are_said() -> None:
    found, wanted = Run(np.zeros(0), (np.array([1.0, 2.5]),)), Run(np.zeros(0), (np.array([1.0, 2.0, 3.0]),))
    assert distance(found, wanted, True) == (0.5, "2 spikes for 3")


def test_the_closed_forms_are_those_of_the_interpreter() -> None:
    rows = dict(gradients_torch.spike_time())
    assert gradients.spike_time() == pytest.approx((1.0986123, -1.3333333), abs=5e-8)
    assert np.array(rows["differences of the interpreter"]) / 20 == pytest.approx(gradients.spike_time(), rel=1e-7)
    assert np.array(rows["torch, located"]) / 20 == pytest.approx(gradients.spike_time(), rel=1e-12)
    assert gradients_torch._loss("locate", gradient="event") == pytest.approx(gradients.end_of_window(), rel=1e-10)
    surrogate = gradients_torch._loss("saturate")
    assert abs(surrogate[1] / gradients.end_of_window()[1] - 1) > 0.5  # no gradient of this loss


def test_a_picture_belongs_to_precision(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="--plot is a picture of the part precision"):
        command.run(("orders",), quick=True, out=None, plot=tmp_path / "x.png")
    assert not set(command.EXTRA) & set(command.USUAL)
