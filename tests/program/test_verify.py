"""verify_program finds each planted fault; digests are the same in every process and tell programs apart."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

import pytest
from oracles import INVENTED
from oracles import neuron as invented
from references import neuron

from neuroode._errors import LoweringError
from neuroode.models import names
from neuroode.program.slices import signed
from neuroode.program.types import Assign, CarrySlot, Coefficient, Program
from neuroode.program.verify import verify_program

ALIF = """
parameters: {tau: {value: 5, domain: positive}, b: {value: 0.5, per: neuron}}
equations: |
  dv/dt = (-v + I)/tau
  q[t] = 0.9*q[t-1] + s
spike: v > 1 + b*q[t-1]
reset: v -= 1
"""
PROGRAM = neuron(ALIF).program(1.0)
FIRST = PROGRAM.body[-1]


def with_body(p: Program, *more: Assign) -> Program:
    return replace(p, body=(*p.body, *more))


FAULTS: dict[str, Callable[[Program], Program]] = {
    "twice": lambda p: with_body(p, FIRST),
    "unknown op": lambda p: with_body(p, Assign("%z", "conjure", ("x.I",))),
    "arity": lambda p: with_body(p, Assign("%z", "add", ("x.I",))),
    "unknown read": lambda p: with_body(p, Assign("%z", "exp", ("%nowhere",))),
    "later read": lambda p: replace(p, body=p.body[::-1]),
    "prologue reads the carry": lambda p: replace(p, prologue=(*p.prologue, Assign("%z", "exp", ("c.v",)))),
    "prologue reads an input": lambda p: replace(p, prologue=(*p.prologue, Assign("%z", "exp", ("x.I",)))),
    "body reads a parameter that is no coefficient": lambda p: with_body(p, Assign("%z", "exp", ("p.tau",))),
    "coefficient": lambda p: replace(p, coefficients=(*p.coefficients, Coefficient("%no", "layer", False))),
    "init": lambda p: replace(p, carry=(CarrySlot("v", "%no"), *p.carry[1:])),
    "output": lambda p: replace(p, outputs=(("s", "%no"),)),
    "trace": lambda p: replace(p, trace=(("s", "%no"),)),
    "next": lambda p: replace(p, next=(("v", "%no"), *p.next[1:])),
    "next names": lambda p: replace(p, next=p.next[::-1]),
    "next missing": lambda p: replace(p, next=p.next[:-1]),
    "margin": lambda p: replace(p, events=(replace(p.events[0], margin="%no"),)),
    "slope": lambda p: replace(p, events=(replace(p.events[0], slope_id="%no"),)),
    "slope reads": lambda p: replace(p, events=(replace(p.events[0], slope=(Assign("%z", "exp", ("%no",)),)),)),
    "event without a slot": lambda p: with_body(p, Assign("%z", "event", ("x.I",), "other")),
    "two slots of one name": lambda p: replace(p, events=p.events * 2),
    "slot without an event": lambda p: replace(p, events=(*p.events, replace(p.events[0], name="other"))),
    "an event of another margin": lambda p: replace(p, events=(replace(p.events[0], margin="x.I"),)),
    "exponential of a wrong size": lambda p: replace(
        p, prologue=(*p.prologue, Assign("%z", "expm", ("dt",), (2, 0, 0)))
    ),
    "power without exponent": lambda p: with_body(p, Assign("%z", "ipow", ("x.I",))),
    "phi of order 0": lambda p: with_body(p, Assign("%z", "phi", ("x.I",), 0)),
    "constant without number": lambda p: with_body(p, Assign("%z", "const", ())),
    "difference at one node": lambda p: with_body(p, Assign("%z", "edd", ("x.I",))),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(fault: str) -> None:
    verify_program(PROGRAM)
    with pytest.raises(LoweringError):
        verify_program(FAULTS[fault](PROGRAM))


SCRIPT = """
import sys
sys.path.insert(0, {tests!r})
from oracles import INVENTED, neuron
from neuroode.models import names
for name in [*names(), *INVENTED]:
    print(name, neuron(name).program(0.01 if neuron(name).spec.dt is None else None).digest)
"""


@pytest.mark.slow
def test_digests_do_not_depend_on_the_process() -> None:
    answers = []
    for seed in ("0", "1", "77"):
        code = SCRIPT.format(tests=os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        env = os.environ | {"PYTHONHASHSEED": seed}
        done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
        answers.append(done.stdout)
    assert answers[0] == answers[1] == answers[2]
    assert len(answers[0].splitlines()) == len([*names(), *INVENTED])


def test_equal_declarations_have_equal_digests_and_others_do_not() -> None:
    again = ALIF.replace("parameters: {tau", "parameters:  { tau").replace("  q[t]", "  # a remark\n  q[t]")
    assert neuron(again).program(1.0).digest == PROGRAM.digest == signed(PROGRAM).digest
    assert neuron(ALIF).program(0.5).digest == PROGRAM.digest  # dt is a parameter of the program
    for old, new in (
        ("0.9", "0.8"), ("v > 1", "v >= 1"), ("v -= 1", "v = 0"), ("per: neuron", "per: channel"), ("0.5,", "0.6,"),
        ("v > 1", "v > 1 - 0"),
    ):  # fmt: skip
        other = neuron(ALIF.replace(old, new)).program(1.0).digest
        same = old == "0.5," or new == "v > 1 - 0"  # a value is no part of the program, nor is a way of writing
        assert (other == PROGRAM.digest) is same, (old, new)


@pytest.mark.parametrize("name", [*names(), *INVENTED])
def test_names_of_digests_differ(name: str) -> None:
    found = {invented(n).program(0.01 if invented(n).spec.dt is None else None).digest for n in (name, "lif")}
    assert len(found) == (1 if name == "lif" else 2)
