"""The table of measured orders: every method on every model reaches its order, or says why not."""

from __future__ import annotations

from dataclasses import replace

import pytest

import neuroode as no
from neuroode.bench.orders import METHODS, OrderRow, of_model, orders, text
from neuroode.models import names

QUICK = ["lif", "qif", "izhikevich", "adex"]


def check(rows: list[OrderRow]) -> None:
    wrong = [r for r in rows if r.reached is False]
    assert not wrong, text(rows)
    for r in rows:
        if r.measured is not None and not r.note:
            assert r.measured == pytest.approx(r.declared, abs=0.15), r


def test_orders_of_some_models() -> None:
    rows = orders(QUICK)
    check(rows)
    found = {(r.model, r.method): r for r in rows}
    assert {m for n, m in found if n == "adex"} == set(METHODS) - {"exact", "exp_euler", "bilinear"}
    assert found["izhikevich", "auto"].taken == "strang"
    assert found["izhikevich", "auto"].measured == pytest.approx(2, abs=0.05)
    assert found["qif", "auto"].measured is None  # exact
    table = text(rows)
    assert "model" in table.splitlines()[0]
    assert "izhikevich  2.00   -" in table


@pytest.mark.slow
def test_orders_of_all_models() -> None:
    rows = orders()
    check(rows)
    assert {r.model for r in rows} == set(names())
    nonlinear = ("izhikevich", "adex", "eif", "fitzhugh_nagumo", "morris_lecar", "hodgkin_huxley", "qif")
    assert all((n, m) in {(r.model, r.method) for r in rows} for n in nonlinear for m in ("strang", "rk4"))


def test_an_order_that_is_not_reached_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """A discretization that claims the order 2 for a method of order 1."""
    euler = no.load("lif").discretize(method="euler")
    lie = replace(euler, updates=tuple(replace(u, convergence_order=2) for u in euler.updates))
    monkeypatch.setattr(no.Neuron, "discretize", lambda *_: lie)
    (row,) = of_model("lif", no.load("lif"), ("euler",))
    assert (row.declared, row.reached) == (2, False)
    assert "1.01 !" in text([row])


def test_what_has_no_flow_says_so() -> None:
    (row,) = orders(["tc_lif"])
    assert (row.method, row.reached, row.note) == ("", None, "not measured: maps only")


def test_a_flow_that_maps_drive_is_not_measured() -> None:
    (row,) = orders(["elm"])
    assert (row.reached, row.note.partition(",")[0]) == (None, "not measured: its flow reads a map")
