"""More of `timing_cases`: late resets, several events, complex states, inits, steps of inputs and states."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from timing_cases import CASES, DT, SPIKES, A, G, Row, X, case

__all__ = ["CASES"]


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
