"""The pieces of a step around its flow: Euler's method by hand through them is method euler."""

from __future__ import annotations

import numpy as np
import pytest
from odd import ODD

import neuroode as no
from neuroode import models
from neuroode._errors import Unsupported
from neuroode.analysis.report import analyse
from neuroode.program.hybrid import Hybrid, hybrid
from neuroode.program.interpret import Env, evaluate, prologue, run
from neuroode.program.types import CLOCK, Program
from neuroode.program.values import initial_values, slots
from neuroode.program.verify import verify_program

LANES, STEPS = (2, 3), 8

SYSTEMS = {n: no.load(n).system() for n in models.names()}
#: theta: its peak at infinity; f_if and its like remember more than a state
LEFT_OUT = {"theta", *(n for n, s in SYSTEMS.items() if not s.flows or s.diffusion or s.fractional)}


def pieces(neuron: no.Neuron) -> Hybrid:
    return hybrid(analyse(neuron.system()))


def values(program: Program, env: Env) -> Env:
    now = evaluate(program.body, env, program)
    return {n: np.broadcast_to(now[v], LANES) for n, v in program.outputs}


def euler(h: Hybrid, parameters: Env, x: Env, dt: float) -> tuple[Env, Env]:
    """Outputs and traces, and the last carry, of steps put together from the pieces."""
    env = prologue(h.whole, parameters)
    carry = {s.name: np.broadcast_to(env[s.init], LANES) for s in h.whole.carry}
    rows: dict[str, list[np.ndarray]] = {}
    for t in range(STEPS):
        known = (
            {n: v[t] for n, v in x.items()} | {f"c.{n}": v for n, v in carry.items()} | {"fraction": np.zeros(LANES)}
        )
        around = env | {f"x.{n}": v for n, v in known.items()}
        y = values(h.start, around)
        d = values(h.field, around | {f"x.{n}": v for n, v in y.items()})
        around |= {f"x.y.{s}": y[f"y.{s}"] + dt * d[f"d.{s}"] for s in h.states}
        bits = {n: v for n, v in values(h.guards, around).items() if n.startswith("e.")} if h.events else {}
        around |= {f"x.{n}": v for n, v in bits.items()} | {f"x.j.{n[2:]}": v for n, v in bits.items()}
        found = values(h.finish, around)
        for n, v in found.items():
            rows.setdefault(n, []).append(v)
        carry = {s.name: found[f"next.{s.name}"] for s in h.whole.carry}
        jumped = values(h.jump, around)
        for s in h.states:
            np.testing.assert_array_equal(jumped[f"y.{s}"], carry[s])
    return {n: np.stack(v) for n, v in rows.items()}, carry


@pytest.mark.parametrize("name", [n for n in models.names() if n not in LEFT_OUT] + ["odd"])
def test_eulers_method_through_the_pieces_is_method_euler(name: str) -> None:
    neuron = ODD if name == "odd" else no.load(name)
    h, program, dt = pieces(neuron), neuron.program(method="euler"), neuron.step_length()
    for part in (h.start, h.field, h.guards, h.jump, h.finish):
        verify_program(part)
    draw = np.random.default_rng(0)
    declared = initial_values(neuron.spec, dt, LANES[1:], draw, {})
    parameters = slots(neuron.spec, declared, LANES[1:]) | {"dt": np.asarray(dt)}
    x = {n: draw.normal(3, 5, (STEPS, *LANES)) for n in program.inputs}
    reference = run(program, parameters, x)
    rows, carry = euler(h, parameters, x | {CLOCK: np.zeros((STEPS, *LANES))}, dt)
    for n, v in reference.outputs.items():
        np.testing.assert_allclose(rows[f"out.{n}"], v, rtol=1e-12, atol=1e-12, err_msg=n)
    for n, v in reference.trace.items():
        np.testing.assert_allclose(rows[f"trace.{n}"], v, rtol=1e-12, atol=1e-12 * max(1, np.abs(v).max()), err_msg=n)
    for n, v in reference.carry.items():
        np.testing.assert_allclose(carry[n], v, rtol=1e-12, atol=1e-12 * max(1, np.abs(v).max()), err_msg=n)


def test_events_happened_in_the_odd_neuron() -> None:
    trace = ODD.simulate({n: np.full((40, 1, 1), 4.0) for n in ("I", "x", "z")})
    assert trace["s"].sum() > 3
    assert trace["r"].sum() > 3


def test_maps_alone_and_operators_are_refused() -> None:
    with pytest.raises(Unsupported, match="'tc_lif' has no flow"):
        pieces(no.load("tc_lif"))
    with pytest.raises(Unsupported, match="v at infinity needs the exact step"):
        pieces(no.load("theta"))
    mixing = no.Neuron(
        "mixing", dt=1, inputs={"I": "current"}, operators={"W": "dense"}, equations="dv/dt = -v + W(v[t-1]) + I"
    )
    with pytest.raises(Unsupported, match=r"operators mix neurons.*\(W\)"):
        pieces(mixing)
