"""What every read means in a step: small neurons against loops written by hand (language.md, section 3)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from references import distance, neuron, slots, torch_run

from neuroode.program import interpret

T = 40
RNG = np.random.default_rng(3)
X = RNG.normal(0.4, 1.0, T)
SPIKES = RNG.poisson(0.5, T).astype(float)
A = np.exp(-0.5 / 4.0)  # decay of tau = 4 in a step of 0.5
G = 1 - A
DT = 0.5

Row = dict[str, complex]
CASES: dict[str, tuple[str, Callable[[], Iterator[Row]], np.ndarray]] = {}


def case(text: str, x: np.ndarray = X) -> Callable:
    """Register a loop that yields the traces of each step."""

    def register(loop: Callable[[], Iterator[Row]]) -> Callable[[], Iterator[Row]]:
        CASES[loop.__name__] = (text, loop, x)
        return loop

    return register


@case("equations: |\n  dv/dt = (-v + I)/4\n  q[t] = 0.5*q[t-1] + v + 2*v[t-1]\n")
def a_map_reads_the_end_of_the_flow_and_its_start() -> Iterator[Row]:
    v = q = 0.0
    for x in X:
        old, v = v, A * v + G * x
        q = 0.5 * q + v + 2 * old
        yield {"v": v, "q": q}


@case("equations: |\n  dv/dt = (-v + q)/4\n  q[t] = 0.5*q[t-1] + I\n")
def a_flow_reads_the_map_of_this_step() -> Iterator[Row]:
    v = q = 0.0
    for x in X:
        q = 0.5 * q + x
        v = A * v + G * q
        yield {"v": v, "q": q}


@case("equations: |\n  dv/dt = (-v + q[t-1])/4\n  q[t] = 0.5*q[t-1] + v\n  w[t] = v[t-2] - q[t-3] + I[t-2]\n")
def lags_are_what_earlier_steps_left() -> Iterator[Row]:
    vs, qs = [0.0], [0.0]
    for t, _ in enumerate(X):
        v = A * vs[-1] + G * qs[-1]
        q = 0.5 * qs[-1] + v
        past = vs[-2] if len(vs) > 1 else 0.0
        older = qs[-3] if len(qs) > 2 else 0.0
        yield {"v": v, "q": q, "w": past - older + (X[t - 2] if t > 1 else 0.0)}
        vs.append(v)
        qs.append(q)


@case("states: {v: 0.3}\nequations: |\n  dv/dt = (-v + I)/4\n  w[t] = v[t-3]\n")
def before_the_first_step_states_have_their_init() -> Iterator[Row]:
    past = [0.3] * 4
    for x in X:
        yield {"w": past[-3], "v": (now := A * past[-1] + G * x)}
        past.append(now)


@case(
    """
equations: |
  dv/dt = (-v + I)/4
  w[t] = v[t-1]
spike: v > 0.3
reset: v -= 0.7
outputs: {w: w, a: after(v), b: v}
"""
)
def a_lag_and_after_see_the_reset_and_a_plain_read_does_not() -> Iterator[Row]:
    v = 0.0
    for x in X:
        w, h = v, A * v + G * x
        s = float(h > 0.3)
        v = h - 0.7 * s
        yield {"w": w, "a": v, "b": h, "v": v, "v.before": h, "s": s}


@case("equations: |\n  b = 2*v + I\n  dv/dt = (-v + I)/4\n  q[t] = b\n  w[t] = b[t-1] + 3*b[t-2]\n")
def a_recorded_definition_meant_the_end_of_its_step() -> Iterator[Row]:
    v, past = 0.0, [0.0, 0.0]
    for x in X:
        v = A * v + G * x
        b = 2 * v + x
        yield {"v": v, "b": b, "q": b, "w": past[-1] + 3 * past[-2]}
        past.append(b)


@case("equations: |\n  b = 2*v + I\n  dv/dt = b - 4*v\nmethod: exact\n")
def a_definition_in_a_flow_is_its_running_value() -> Iterator[Row]:
    v, decay = 0.0, np.exp(-2 * DT)
    for x in X:
        v = decay * v + (1 - decay) / 2 * x
        yield {"v": v, "b": 2 * v + x}


@case("equations: |\n  h = h[t-1]*0.5 + I\n  q[t] = h\n")
def a_definition_may_read_its_own_past() -> Iterator[Row]:
    h = 0.0
    for x in X:
        h = 0.5 * h + x
        yield {"h": h, "q": h}


@case("inputs: {x: impulse}\nequations: |\n  dv/dt = -v/4 + 3*x\n  q[t] = x + v\n", SPIKES)
def an_impulse_at_the_start_decays_with_the_step() -> Iterator[Row]:
    v = 0.0
    for x in SPIKES:
        v = A * (v + 3 * x)
        yield {"v": v, "q": x + v}


@case("inputs: {x: {kind: impulse, at: end}}\nequations: dv/dt = -v/4 + 3*x\nspike: v >= 3\nreset: v = 0\n", SPIKES)
def an_impulse_at_the_end_is_seen_undecayed() -> Iterator[Row]:
    v = 0.0
    for x in SPIKES:
        h = A * v + 3 * x
        s = float(h >= 3)
        v = h * (1 - s)
        yield {"v": v, "v.before": h, "s": s}


@case("inputs: {x: spike}\nequations: |\n  di_s/dt = -i_s/2 + x\n  dv/dt = (-v + i_s)/4\n", SPIKES)
def a_spike_input_jumps_its_own_state_only() -> Iterator[Row]:
    v, i, a = 0.0, 0.0, np.exp(-DT / 2)
    for x in SPIKES:
        i = i + x
        v, i = A * v + (A - a) / (1 / 2 - 1 / 4) / 4 * i, a * i
        yield {"v": v, "i_s": i}


@case(
    """
inputs: {x: impulse}
equations: |
  dv/dt = -v/4 + (1 + q)*x + 2*x*w[t-1]
  q[t] = 0.5*q[t-1] + x
  w[t] = v
""",
    SPIKES,
)
def the_coefficient_of_an_impulse_may_read_held_values() -> Iterator[Row]:
    v = q = w = 0.0
    for x in SPIKES:
        q = 0.5 * q + x
        v = A * (v + (1 + q) * x + 2 * x * w)
        w = v
        yield {"v": v, "q": q, "w": w}


@case(
    """
equations: |
  dv/dt = (-v + I)/4
  q[t] = 0.5*q[t-1] + s
  w[t] = s[t-1] - s[t-2]
events: {s: {when: v > 0.2}}
"""
)
def events_are_numbers_of_this_step_and_can_be_lagged() -> Iterator[Row]:
    v, q, past = 0.0, 0.0, [0.0, 0.0]
    for x in X:
        v = A * v + G * x
        s = float(v > 0.2)
        q = 0.5 * q + s
        yield {"v": v, "s": s, "q": q, "w": past[-1] - past[-2]}
        past.append(s)


@case("equations: |\n  dv/dt = (-v + 2*p)/4\n  q[t] = 0.9*q[t-1] + I\nevents: {p: {when: q > 0.5}}\noutputs: v\n")
def a_flow_reads_an_event_of_this_step_whose_guard_does_not_need_it() -> Iterator[Row]:
    v = q = 0.0
    for x in X:
        q = 0.9 * q + x
        p = float(q > 0.5)
        v = A * v + G * 2 * p
        yield {"v": v, "q": q, "p": p}


@case("equations: v[t] = 0.9*v[t-1] + I\nspike: v > 1\nreset: {do: v -= 1, when: next_step}\n")
def a_late_reset_is_the_last_part_of_the_next_update() -> Iterator[Row]:
    v = s = 0.0
    for x in X:
        v = 0.9 * v + x - s
        s = float(v > 1)
        yield {"v": v, "s": s}


@case("equations: |\n  dv/dt = (-v + I)/4\n  q[t] = v\nspike: v > 0.4\nreset: {do: v = 0.5*v, when: next_step}\n")
def a_late_assignment_is_made_before_anyone_reads() -> Iterator[Row]:
    v = s = 0.0
    for x in X:
        v = A * v + G * x
        v = 0.5 * v if s else v
        s = float(v > 0.4)
        yield {"v": v, "q": v, "s": s}


@case(
    """
inputs: {x: {kind: impulse, at: end}}
equations: dv/dt = -v/4 + x
spike: v > 1
reset: {do: v *= 0.25, when: next_step}
""",
    SPIKES,
)
def a_late_reset_comes_after_impulses_at_the_end() -> Iterator[Row]:
    v = s = 0.0
    for x in SPIKES:
        v = (A * v + x) * (0.25 if s else 1)
        s = float(v > 1)
        yield {"v": v, "s": s}


LATE = """
equations: |
  v[t] = 0.9*v[t-1] + I
  w[t] = 0.5*w[t-1] + I
events:
  a: {when: v > 0.5, reset: {do: v -= w, when: next_step}}
  b: {when: w > 0.2, reset: {do: v *= 0.5, when: next_step}}
  c: {when: v < 0, reset: v += 0.25}
outputs: v
"""


@case(LATE)
def late_resets_act_in_order_and_read_the_step_in_which_they_act() -> Iterator[Row]:
    v = w = a = b = 0.0
    for x in X:
        w = 0.5 * w + x
        h = (0.9 * v + x - w * a) * (0.5 if b else 1)
        a, b, c = float(h > 0.5), float(w > 0.2), float(h < 0)
        v = h + 0.25 * c
        yield {"v": v, "w": w, "a": a, "b": b, "c": c}


EVENTS = """
equations: |
  dv/dt = (-v + I)/4
  w[t] = 0.5*w[t-1] + I
events:
  a: {when: v > 0.1, reset: "v += 2*w; w -= 0.1"}
  b: {when: w > 0.5, reset: "v *= 0.5; w *= v"}
  c: {when: v > 0.3 and w > 0.2, reset: "v = 7*v + w"}
  d: {when: not (v > 0) or w < -1, reset: v -= 0.25}
outputs: v
"""


@case(EVENTS)
def events_act_in_order_on_what_earlier_ones_left_and_read_values_before_them() -> Iterator[Row]:
    v = w = 0.0
    for x in X:
        h, k = A * v + G * x, 0.5 * w + x
        a, b, c, d = h > 0.1, k > 0.5, h > 0.3 and k > 0.2, not h > 0 or k < -1
        v, w = h + 2 * k * a, k - 0.1 * a
        v, w = v * (0.5 if b else 1), w * (h if b else 1)
        v = 7 * h + k if c else v
        v = v - 0.25 * d
        yield {"v": v, "w": w, "a": a, "b": b, "c": c, "d": d}


@case("equations: v[t] = 0.9*v[t-1] + I\nspike: v > 0 and v[t-1] <= 0\n")
def an_upward_crossing() -> Iterator[Row]:
    v = 0.0
    for x in X:
        old, v = v, 0.9 * v + x
        yield {"v": v, "s": float(v > 0 and old <= 0)}


@case(
    """
equations: v[t] = I
events: {a: {when: v >= 1}, b: {when: v > 1}, c: {when: v <= 1}, d: {when: v < 1}}
outputs: a + 2*b + 4*c + 8*d
""",
    np.round(X),
)
def ties_are_told_apart() -> Iterator[Row]:
    for x in np.round(X):
        yield {"a": x >= 1, "b": x > 1, "c": x <= 1, "d": x < 1}


@case(
    """
equations: 'du/dt = (-0.5 + 3i)*u + I : complex'
spike: imag(u) > 0.2
reset: u = i
outputs: {out: s, m: abs(u)}
"""
)
def a_complex_state_is_reset_as_a_whole() -> Iterator[Row]:
    u, pole = 0j, -0.5 + 3j
    e = np.exp(pole * DT)
    for x in X:
        h = e * u + (e - 1) / pole * x
        s = float(h.imag > 0.2)
        u = 1j if s else h
        yield {"u": u, "u.before": h, "s": s, "out": s, "m": abs(h)}


@case(
    """
equations: 'du/dt = (-0.5 + 3i)*u + I : complex'
events: {a: {when: real(u) > 0.2, reset: u -= 0.1 + 0.2i}, b: {when: imag(u) > 0, reset: u *= 1i}}
outputs: real(u)
"""
)
def complex_resets_in_order() -> Iterator[Row]:
    u, pole = 0j, -0.5 + 3j
    e = np.exp(pole * DT)
    for x in X:
        h = e * u + (e - 1) / pole * x
        u = h - (0.1 + 0.2j) * (h.real > 0.2)
        u = u * (1j if h.imag > 0 else 1)
        yield {"u": u}


@case("equations: 'z[t] = 0.5*real(z[t-1]) + I : complex'\nspike: real(z) > 1\nreset: z = 2i\noutputs: real(z)\n")
def a_complex_state_with_a_real_equation_keeps_its_imaginary_part() -> Iterator[Row]:
    z = 0j
    for x in X:
        h = 0.5 * z.real + x
        z = 2j if h > 1 else complex(h)
        yield {"z": z}


@case(
    """
equations: |
  du/dt = (-0.5 + 3i)*u + I : complex
  h = u*(1 + 2i)
  q[t] = imag(h[t-1]) + 3*real(h[t-2])
outputs: q
"""
)
def a_recorded_definition_may_be_complex() -> Iterator[Row]:
    u, pole, past = 0j, -0.5 + 3j, [0j, 0j]
    e = np.exp(pole * DT)
    for x in X:
        u = e * u + (e - 1) / pole * x
        yield {"u": u, "q": past[-1].imag + 3 * past[-2].real, "h": u * (1 + 2j)}
        past.append(u * (1 + 2j))


@case("inputs: {x: impulse}\nequations: |\n  h = 2*x\n  v[t] = 0.5*v[t-1] + h[t-1]\n", SPIKES)
def a_recorded_definition_may_read_an_impulse() -> Iterator[Row]:
    v = h = 0.0
    for x in SPIKES:
        v, h = 0.5 * v + h, 2 * x
        yield {"v": v, "h": h}


@case("states: {x: 0.2, \"x'\": 1}\nmethod: euler\nequations: |\n  x'' = -3*x - 0.2*x' + I\n  q[t] = x' + x'[t-1]\n")
def a_flow_of_second_order() -> Iterator[Row]:
    x, y = 0.2, 1.0
    for i in X:
        old = y
        x, y = x + DT * y, y + DT * (-3 * x - 0.2 * y + i)
        yield {"x": x, "x'": y, "q": y + old}


@case(
    """
parameters: {a: 0.3}
states: {v: a + 0.1, w: 2*v - a, q: w}
equations: |
  dv/dt = (-v + I)/4
  dw/dt = -w/4
  q[t] = q[t-1] + v
"""
)
def an_init_reads_parameters_and_other_inits() -> Iterator[Row]:
    v, w, q = 0.4, 0.5, 0.5
    for x in X:
        v, w = A * v + G * x, A * w
        q += v
        yield {"v": v, "w": w, "q": q}


@case("equations: dv/dt = -v/4 + where(I > 0, 1, -1)\n")
def a_step_of_an_input_is_held() -> Iterator[Row]:
    v = 0.0
    for x in X:
        v = A * v + G * 4 * (1 if x > 0 else -1)
        yield {"v": v}


@case("equations: dv/dt = -v/4 + detach(I) + round(I)\n")
def detached_and_rounded_inputs_are_not_lost() -> Iterator[Row]:
    v = 0.0
    for x in X:
        v = A * v + G * 4 * (x + np.round(x))
        yield {"v": v}


@case(
    """
states: {v: 2}
method: euler
equations: dv/dt = -detach(v)/4 + round(v)/8 + where(v > 1, 1, 0) + straight_through(I, v)
"""
)
def detached_and_stepped_states_are_their_values() -> Iterator[Row]:
    v = 2.0
    for x in X:
        v += DT * (-v / 4 + np.round(v) / 8 + (v > 1) + x)
        yield {"v": v}


@case("parameters: {g: 1}\nequations: dv/dt = (-v + I)/4\nevents: {on: {when: g >= 1, reset: v *= 0.5}}\n")
def a_guard_of_parameters_only() -> Iterator[Row]:
    v = 0.0
    for x in X:
        v = (A * v + G * x) / 2
        yield {"v": v, "on": 1.0}


@case("equations: v[t] = dt*v[t-1] + I\n")
def dt_is_the_step() -> Iterator[Row]:
    v = 0.0
    for x in X:
        v = DT * v + x
        yield {"v": v}


@pytest.mark.parametrize("name", CASES)
def test_reads(name: str) -> None:
    text, loop, x = CASES[name]
    found = neuron(text).simulate(x.reshape(-1, 1, 1), DT)
    rows = list(loop())
    for key in rows[0]:
        assert distance(found[key].ravel(), [row[key] for row in rows]) <= 1e-12, key


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
    states = {s.name for s in n.system().states} | {f"{s.name}.{p}" for s in n.system().states for p in ("re", "im")}
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


def _gradient(text: str, x: np.ndarray) -> np.ndarray:
    n = neuron(text)
    program = n.program(1.0)
    values = slots(n, 1.0, (1,))
    result = interpret.run(program, values, {"I": x.reshape(-1, 1, 1)})
    seed = {program.outputs[0][0]: np.eye(len(x))[-1].reshape(-1, 1, 1)}  # of the last output
    return interpret.gradients(program, values, result, seed).inputs["I"].ravel()


RESET = (
    "equations: v[t] = 0.5*v[t-1] + I\nspike: v > 1\nreset: {reset}\noutputs: v\nsurrogate: {{kind: atan, width: 2}}\n"
)


@pytest.mark.parametrize("detached", [False, True])
@pytest.mark.parametrize(
    ("reset", "target"), [("v -= 3", lambda h: h - 3), ("v = 0.2", lambda h: 0.2), ("v *= 0.3", lambda h: 0.3 * h)]
)
def test_the_gradient_of_a_reset(reset: str, target: Callable[[float], float], detached: bool) -> None:
    """Of x + e*(target - x): the slope of the branch, and the jump times the surrogate unless it is detached."""
    text = RESET.format(reset=reset) + ("reset_gradient: detached\n" if detached else "")
    h = 1.5  # fires in step 0
    slope_of_e = 0.0 if detached else 1 / (1 + ((h - 1) / 2) ** 2)
    inner = (target(h + 1e-6) - target(h - 1e-6)) / 2e-6
    wanted = 0.5 * (inner + slope_of_e * (target(h) - h))
    found = _gradient(text, np.array([h, 0.1]))
    assert abs(found[0] - wanted) <= 1e-9
    assert found[1] == 1


def test_the_gradient_of_a_late_reset_passes_the_event() -> None:
    text = RESET.format(reset="{do: v -= 3, when: next_step}")
    assert abs(_gradient(text, np.array([1.5, 0.1]))[0] - (0.5 - 3 / (1 + 0.25**2))) <= 1e-12
    text += "reset_gradient: detached\n"
    assert _gradient(text, np.array([1.5, 0.1]))[0] == 0.5


def test_the_gradient_of_combined_guards() -> None:
    """`and` multiplies, `or` is 1-(1-a)(1-b), `not` is 1-a, each comparison with its own surrogate."""
    surrogate = "surrogate: straight_through\n"
    for guard, wanted in (
        ("v > 1 and v > 2", 1.0),  # v = 1.5: a = 1, b = 0: a' b + a b' = 1
        ("v > 1 or v > 2", 1.0),  # (1 - b) a' + (1 - a) b' = 1
        ("not (v > 1)", -1.0),
        ("v < 1 or v > 2", 0.0),  # a = 0 with slope -1, b = 0 with slope 1
        ("v > 1 and not (v > 2)", 0.0),  # 1*(1 - 0) + 1*(-1)
    ):
        found = _gradient(f"equations: v[t] = I\nspike: {guard}\n{surrogate}", np.array([1.5]))
        assert found[0] == wanted, guard
