"""What every read means in a step: small neurons against loops written by hand (language.md, section 3)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from references import distance, neuron, slots, torch_run
from timing_cases import DT, RNG, SPIKES, A, G, T, X
from timing_of_delays import CASES

from neuroode.program import interpret


@pytest.mark.parametrize("name", CASES)
def test_reads(name: str) -> None:
    text, loop, x = CASES[name]
    n = neuron(text)
    found = n.simulate(x.reshape(-1, 1, 1), DT) if n.spec.inputs else n.simulate(steps=T, dt=DT)
    rows = list(loop())
    for key in rows[0]:
        assert distance(found[key].ravel(), np.ravel([row[key] for row in rows])) <= 1e-12, key


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("cut", [1, 17])
def test_two_calls_equal_one(name: str, cut: int) -> None:
    text, _, x = CASES[name]
    n = neuron(text)
    program = n.program(DT)
    values = slots(n, DT, (1,))
    inputs = {program.inputs[0]: x.reshape(-1, 1, 1)} if program.inputs else {}
    whole = interpret.run(program, values, inputs)
    first = interpret.run(program, values, {k: v[:cut] for k, v in inputs.items()})
    second = interpret.run(program, values, {k: v[cut:] for k, v in inputs.items()}, first.carry)
    for key, value in whole.trace.items():
        assert np.array_equal(value, np.concatenate([first.trace[key], second.trace[key]])), key
    assert all(np.array_equal(v, second.carry[k]) for k, v in whole.carry.items())


@pytest.mark.parametrize("name", CASES)
def test_the_carry_is_what_the_language_says_and_no_more(name: str) -> None:
    """after(x) of every state, lags that are read, late resets: each slot is a state, or the body reads it."""
    n = neuron(CASES[name][0])
    program = n.program(DT)
    read = {x for a in program.body for x in a.args} | {v for _, v in (*program.outputs, *program.next, *program.trace)}
    names = [s.name for s in n.system(DT).states]
    states = {*names, *(f"{name}.{part}" for name in names for part in ("re", "im"))}
    whole = {x.replace(".im", ".re") for x in read}
    assert all(f"c.{s.name}".replace(".im", ".re") in whole or s.name in states for s in program.carry)


@pytest.mark.parametrize("name", CASES)
def test_the_emitted_text_agrees_and_so_do_its_gradients(name: str) -> None:
    """Values, and the gradients of random cotangents of every output and of the last carry."""
    text, _, x = CASES[name]
    n = neuron(text)
    program, values = n.program(DT), slots(n, DT, (1,))
    inputs = {program.inputs[0]: x.reshape(-1, 1, 1)}
    wanted = interpret.run(program, values, inputs)
    seeds = {k: RNG.normal(size=v.shape) for k, v in wanted.outputs.items()}
    ends = {k: RNG.normal(size=v.shape) for k, v in wanted.carry.items()}
    slopes = interpret.gradients(program, values, wanted, seeds, ends)
    leaf = torch.tensor(x.reshape(-1, 1, 1), requires_grad=True)
    held = {k[2:]: torch.tensor(v, dtype=torch.float64) for k, v in values.items() if k != "dt"}
    outputs, carry, trace = torch_run(program, held, DT, {program.inputs[0]: leaf})
    for key, value in wanted.trace.items():
        assert distance(trace[key].detach().numpy(), value) <= 1e-12, key
    total = sum((outputs[k] * torch.tensor(g)).sum() for k, g in seeds.items())
    total = total + sum((carry[k] * torch.tensor(g)).sum() for k, g in ends.items())
    found = torch.autograd.grad(total, leaf)[0].numpy() if total.requires_grad else np.zeros_like(leaf.detach())
    assert distance(found, slopes.inputs[program.inputs[0]]) <= 1e-11


def test_two_inputs_with_lags_and_kinds() -> None:
    n = neuron(
        """
inputs: {I: current, x: {kind: impulse, at: end}}
equations: |
  dv/dt = (-v + I + I[t-1])/4 + x
  q[t] = x[t-2]
"""
    )
    found = n.simulate({"I": X.reshape(-1, 1, 1), "x": SPIKES.reshape(-1, 1, 1)}, DT)
    v, rows = 0.0, []
    for t in range(T):
        v = A * v + G * (X[t] + (X[t - 1] if t else 0.0)) + SPIKES[t]
        rows.append(v)
    assert distance(found["v"].ravel(), rows) <= 1e-12
    assert np.array_equal(found["q"].ravel(), np.r_[0, 0, SPIKES[:-2]])
