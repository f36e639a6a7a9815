"""`neuroode bench fractional`: loops agree, published gradients are as far off as they were, tables, a picture."""

from __future__ import annotations

from math import gamma
from pathlib import Path

import numpy as np
import pytest
import torch

from neuroode.bench import command, fractional, fractional_torch
from neuroode.bench import fractional_cost_torch as cost
from neuroode.bench import fractional_loops_torch as loops
from neuroode.bench.fractional_picture import picture


def test_loops_written_by_hand_agree() -> None:
    x = 8 + torch.randn(80, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    spikes = [run(x, 0.4, 2.0, 0.1) for run in (loops.buffered, loops.stacked, loops.pushed_ahead)]
    assert spikes[0].sum() > 20
    assert torch.equal(spikes[0], spikes[1])
    assert torch.equal(spikes[0], spikes[2])
    grads = []
    for run in (loops.stacked, loops.pushed_ahead):
        leaf = x.clone().requires_grad_()
        (run(leaf, 0.4, 2.0, 0.1) * torch.arange(80.0)[:, None]).sum().backward()  # type: ignore[no-untyped-call]
        grads.append(leaf.grad)
    assert torch.allclose(grads[0], grads[1], rtol=0, atol=1e-12 * float(grads[0].abs().max()))


def test_published_gradients_are_off() -> None:
    found = {n: fractional.final_value(m, 0.5, 0.0, 0.05, 200).sum() for n, m in fractional.PUBLISHED.items()}
    assert found == pytest.approx({"predictor-f": 10.0, "gl-f": 0.797, "trap-f": 0.681}, abs=5e-4)
    right = fractional.transposed(0.5, 0.0, 0.05, 200)
    assert right.sum() == pytest.approx(10**0.5 / gamma(1.5), rel=1e-12)


def test_orders_are_printed() -> None:
    text = fractional.orders((100, 200, 400))
    assert "| gl | 1 | 1.00 (" in text
    assert "| mittag_leffler | exact | exact" in text
    assert "| published gl | 1, they say | -0.0" in text


def test_layers_beside_plain_loops() -> None:
    """The layer's gradients by gl are autograd's of the loop, to rounding; alpha's too."""
    found, wanted = fractional_torch._of_random("gl"), fractional_torch._of_loop(fractional_torch.plain_gl)
    for a, b in zip(found, wanted, strict=True):
        assert np.abs(a - b).max() < 1e-8 * np.abs(b).max()


def test_what_takes_too_long_is_not_run() -> None:
    loop = "plain loop, past stacked"
    assert cost._worth(loop, {}, 1024)
    assert cost._worth(loop, {loop: (1024, 0.4)}, 2048)
    assert not cost._worth(loop, {loop: (1024, 0.6)}, 2048)
    assert not cost._worth(loop, {"sum of exponentials, kernel": (1024, 0.6)}, cost.AT_LEAST)
    assert cost._worth("plain loop, pushed ahead", {"sum of exponentials, kernel": (8192, 0.6)}, cost.AT_LEAST)


def test_times_and_a_picture(tmp_path: Path) -> None:
    found = {n: {name: 1e-3 * n * (k + 1) for k, name in enumerate(reversed(cost.TRAINING))} for n in (256, 512)}
    assert "| 256 | 256 (1) | 512 (2) | 768 (3) | 1,024 (4) |" in cost.times("A step", found)
    errors = {(a, t): (round(-np.log10(t)), t) for a in (0.3, 0.5, 0.8, 1.0) for t in (1e-2, 1e-3)}
    assert "| 0.001 | 3, 1.0e-03 |" in fractional_torch.modes(errors)
    picture(errors, found, tmp_path / "cost.png")
    assert (tmp_path / "cost.png").stat().st_size > 10_000


@pytest.mark.slow
def test_the_whole_part_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command.run(["fractional"], True, None, tmp_path / "cost.png")
    text = capsys.readouterr().out
    assert text.count("\n## ") == 7
    assert "does not run" not in text
    assert "| method gl | autograd of a plain loop | " in text
    assert (tmp_path / "cost.png").stat().st_size > 10_000
