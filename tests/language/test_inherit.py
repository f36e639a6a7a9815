"""Inheritance, compat, YAML and Python forms, and `checks` with the constructs of these tests."""

from __future__ import annotations

from pathlib import Path

import pytest

import neuroode as no
from neuroode.cli.main import main
from neuroode.spec.read_yaml import read_text

BASE = """neuron: base
dt: 0.5
inputs: {x: impulse}
parameters:
  tau: {value: 4, domain: positive, per: network}
  d: 2
  n: {value: 2, type: integer}
equations: |
  U = v^2/2
  dv/dt = -grad(U, v)/tau + delay(x, d)
  q[t] = q[t-n] + step*s
spike: v > 0.5 + 0.1*q[t-1]
reset: v -= 0.5
refractory: {duration: d, hold: [v]}
checks: ["d >= n*dt", "exp(-dt/tau) < 1"]
compat:
  other:
    about: everything changed
    remove: [U]
    add: {operators: {W: dense}}
    replace:
      refractory: 1
      parameters: {n: {value: 3, type: integer}}
      equations: |
        dv/dt = -v/tau + W(delay(s, d)) + x
"""


def test_yaml_round_trip_and_compat() -> None:
    spec = read_text(BASE, "base.yaml")
    assert read_text(no.Neuron.from_spec(spec).to_yaml(), "base.yaml") == spec
    other = read_text(BASE, "base.yaml", compat="other")
    assert other.operators == (("W", "dense"),)
    assert other.events[0].refractory.hold == ()
    assert no.Neuron.from_spec(other).torch(3).program.plan.rows[0].schedule == "eager"
    program = no.Neuron.from_spec(spec).program()
    assert {s.name for s in program.carry} == {
        "v", "q", "q[t-2]", "refractory(s)", "step", *(f"x[t-{k}]" for k in range(1, 5))
    }  # fmt: skip


def test_extends_a_file(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(BASE)
    (tmp_path / "more.yaml").write_text(
        "neuron: more\nextends: base.yaml\nremove: [refractory]\nadd: {reset_gradient: detached}\n"
        "replace: {parameters: {d: 3}}\n"
    )
    n = no.load(str(tmp_path / "more.yaml"))
    assert n.spec.events[0].refractory is None
    assert n.program().carry[-1].name.startswith("x[t-") or "x[t-6]" in {s.name for s in n.program().carry}
    (tmp_path / "again.yaml").write_text(
        "neuron: again\nextends: more.yaml\nadd: {refractory: {duration: 1, hold: [v]}}\n"
    )
    assert no.load(str(tmp_path / "again.yaml")).spec.events[0].refractory.hold == ("v",)


def test_python_forms_are_equal() -> None:
    spec = read_text(BASE.partition("compat:")[0], "base.yaml")
    same = no.Neuron(
        "base",
        dt=0.5,
        inputs={"x": "impulse"},
        parameters={
            "tau": no.Parameter(4, domain="positive", per="network"),
            "d": 2,
            "n": no.Parameter(2, type="integer"),
        },
        equations="U = v^2/2; dv/dt = -grad(U, v)/tau + delay(x, d); q[t] = q[t-n] + step*s",
        spike="v > 0.5 + 0.1*q[t-1]",
        reset="v -= 0.5",
        refractory={"duration": "d", "hold": ["v"]},
        checks=["d >= n*dt", "exp(-dt/tau) < 1"],
    )
    assert same.spec == spec
    v, q, x, s = no.symbols("v q x s")
    mixed = same.replace(equations={"dv/dt": -no.grad("U", v) / no.symbol("tau") + no.symbol("x")})
    assert mixed.spec != spec
    assert str(no.at(q, -1)) == "q[t-1]"
    assert {v, x, s}


def test_checks_are_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "base.yaml"
    file.write_text(BASE)
    assert main(["check", str(file)]) == 0
    assert "d >= n*dt" in capsys.readouterr().out
    file.write_text(BASE.replace("  d: 2", "  d: 0.5"))
    assert main(["check", str(file)]) == 1


def test_show_tells_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "base.yaml"
    file.write_text(BASE)
    assert main(["show", str(file), "--plan"]) == 0
    text = capsys.readouterr().out
    for part in ("refractory(s)", "rests while s is refractory", "x[t-d/dt]", "t as a whole number"):
        assert part in text, part
