"""The eight declarations of the language: read, round trip, compat, and what they say."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from neuroode import SpecError
from neuroode.expr.show import show
from neuroode.spec.read_yaml import read, read_text
from neuroode.spec.write_yaml import to_yaml

GOOD = sorted((Path(__file__).parent / "good").glob("*.yaml"))
COMPAT = [(file, name) for file in GOOD for name, _ in read(file).compat]


@pytest.mark.parametrize("file", GOOD, ids=[f.stem for f in GOOD])
def test_round_trip(file: Path) -> None:
    spec = read(file)
    again = read_text(to_yaml(spec))
    assert again == spec
    assert to_yaml(again) == to_yaml(spec)
    assert hash(again) == hash(spec)


@pytest.mark.parametrize(("file", "name"), COMPAT, ids=[f"{f.stem}-{n}" for f, n in COMPAT])
def test_compat(file: Path, name: str) -> None:
    changed = read(file, compat=name)
    assert changed != read(file)
    assert changed.compat == ()
    assert read_text(to_yaml(changed)) == changed


def _good(name: str):
    return read(next(f for f in GOOD if f.stem == name))


def test_brf() -> None:
    spec = _good("brf")
    assert [(e.kind, e.name) for e in spec.equations] == [
        ("definition", "p"),
        ("definition", "b"),
        ("flow", "u"),
        ("map", "q"),
    ]
    assert [(s.name, s.type) for s in spec.states] == [("u", "complex"), ("q", "real")]
    omega, b_0, theta_c, _ = spec.parameters
    assert omega.per == ("neuron",)
    assert omega.domain == "interval(0, 1/dt)"
    assert omega.trainable
    assert b_0.transform == "abs"
    assert not theta_c.trainable
    assert spec.dt is not None
    assert spec.dt.value == Fraction(1, 100)
    assert [e.name for e in spec.events] == ["s"]
    assert dict(spec.events[0].surrogate.options)["normalised"] is True


def test_langevin() -> None:
    spec = _good("langevin")
    assert [e.kind for e in spec.equations] == ["definition", "differential", "differential"]
    assert spec.equations[1].axes == ("k",)
    assert spec.outputs[0][0] == "q"
    assert next(p for p in spec.parameters if p.name == "W").per == ("layer", "k", "l")


def test_fractional() -> None:
    spec = _good("f_lif")
    (equation,) = spec.equations
    assert equation.kind == "fractional"
    assert [(c, show(a)) for c, a in equation.fractional] == [(None, "alpha")]
    restarted = read(next(f for f in GOOD if f.stem == "f_lif"), compat="spikede")
    assert restarted.events[0].reset_gradient == "detached"
    assert restarted.events[0].reset is not None
    assert restarted.events[0].reset.memory == "current"


def test_qif_at_infinity() -> None:
    spec = read(next(f for f in GOOD if f.stem == "qif"), compat="theta")
    assert show(spec.events[0].when) == "v >= inf"
    assert [p.name for p in spec.parameters] == ["a", "u_1", "u_2"]


def test_units_are_kept() -> None:
    spec = _good("hodgkin_huxley")
    assert [s.unit for s in spec.states] == ["mV", None, None, None]
    assert [p.unit for p in spec.parameters] == ["uF", "mS", "mS", "mS"]


def test_short_event_makes_way_for_another_s() -> None:
    spec = read_text("neuron: x\nequations: |\n  ds/dt = -s + I\nspike: s > 1\nreset: s = 0\n")
    assert spec.events[0].name == "spike"
    assert spec.outputs == (("spike", spec.outputs[0][1]),)
    assert read_text(to_yaml(spec)) == spec


def test_states_are_outputs_without_events() -> None:
    spec = read_text("neuron: x\nequations: |\n  x'' = -x - x' + I\nstates: {\"x'\": 1}\n")
    assert [s.name for s in spec.states] == ["x", "x'"]
    assert [(n, show(e)) for n, e in spec.outputs] == [("x", "x"), ("x'", "x'")]
    assert [i.name for i in spec.inputs] == ["I"]
    assert read_text(to_yaml(spec)) == spec


def test_suffix_equals_type() -> None:
    suffix = read_text("neuron: x\nequations: |\n  du/dt = i*u + I : complex\n")
    declared = read_text("neuron: x\nstates: {u: {type: complex}}\nequations: |\n  du/dt = i*u + I\n")
    assert suffix == declared


def test_a_definition_may_begin_with_d() -> None:
    spec = read_text(
        "neuron: x\nparameters: {tau: 5}\nequations: |\n  decay = exp(-dt/tau)\n  v[t] = decay*v[t-1] + I\n"
    )
    assert spec.equations[0].kind == "definition"


def test_multi_term_fractional_round_trip() -> None:
    text = "neuron: x\nparameters: {a: {value: 1}}\nequations: |\n  D^0.5 v + (1 + a)*D^(1/4) v = -v + I\n"
    spec = read_text(text)
    assert len(spec.equations[0].fractional) == 2
    assert read_text(to_yaml(spec)) == spec


def test_whole_sequence_and_tables() -> None:
    text = (
        "neuron: x\nhorizon: 8\naxes: {tau: time}\ninputs: {x: current}\n"
        'parameters: {W: {init: "normal(0, 1)", per: [tau, time]}, E: {value: 1, per: [neuron, time]}}\n'
        "equations: |\n  h = E[t]*sum_tau(W[tau, t]*x[tau])\nspike: h > 1\n"
    )
    spec = read_text(text)
    assert spec.parameters[0].per == ("layer", "tau", "time")
    assert read_text(to_yaml(spec)) == spec


def test_values_keep_products_of_units() -> None:
    text = "neuron: x\ndt: 1 ms\nparameters: {k: 0.02 1/ms, g: -3 mS/cm^2}\nequations: dv/dt = -k*v\nchecks: [g < 0]\n"
    spec = read_text(text)
    assert [p.unit for p in spec.parameters] == ["1/ms", "mS/cm^2"]
    assert read_text(to_yaml(spec)) == spec
    with pytest.raises(SpecError, match="unknown name 'cm'"):  # products of units stand in values only
        read_text(text.replace("g < 0", "g < 1 mS/cm"))
