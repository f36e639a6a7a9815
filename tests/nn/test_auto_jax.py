"""schedule="auto" of a jax layer runs what the cost model takes; the numbers are those of the loop."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
import pytest

import neuroode as no
from neuroode.nn import costs, parallel_jax


@pytest.mark.parametrize("best", ["eager", "scan"])
def test_auto_runs_what_is_predicted_to_be_fastest(best: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEUROODE_CACHE", str(tmp_path))
    other = {"eager": "scan", "scan": "eager"}[best]
    costs.save({"jax": {best: {"lane ops": 1e-12}, other: {"lane ops": 1.0}}})
    ran = []
    original = parallel_jax.run
    monkeypatch.setattr(parallel_jax, "run", lambda *a, **k: ran.append(k["schedule"]) or original(*a, **k))
    steps = {"eager": 31, "scan": 33}[best]  # a shape that no other test has compiled
    x = jax.random.normal(jax.random.key(0), (steps, 1, 2))
    layers = [no.load("li").jax(2, key=jax.random.key(1), schedule=s) for s in ("auto", "eager")]
    found, wanted = (jax.grad(lambda x, f=f: (f(x)[0] ** 2).sum())(x) for f in layers)
    assert ran == (["scan"] if best == "scan" else [])
    assert np.abs(found - wanted).max() < 1e-5 * np.abs(wanted).max()
    costs._measured_here.cache_clear()
    costs._choices.clear()
