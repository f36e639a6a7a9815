"""More of `timing_cases`: refractory times and what they hold (language.md, section 3, rule 7)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.linalg import expm
from timing_cases import DT, SPIKES, A, G, Row, X, case
from timing_of_events import CASES

__all__ = ["CASES"]

LIVELY = X + 0.8


@case("equations: dv/dt = (-v + I)/4\nspike: v > 0.2\nreset: v -= 0.7\nrefractory: 1.4\n", LIVELY)
def the_guard_is_false_for_the_steps_that_cover_the_duration() -> Iterator[Row]:
    v, last = 0.0, -99
    for t, x in enumerate(LIVELY):
        h = A * v + G * x
        s = float(h > 0.2 and t - last > 3)
        last = t if s else last
        v = h - 0.7 * s
        yield {"v": v, "s": s, "v.before": h}


@case("equations: dv/dt = (-v + I)/4\nspike: v > 0.2\nreset: v = 0.1\nrefractory: {duration: 2, hold: [v]}\n", LIVELY)
def a_held_state_keeps_what_the_event_left() -> Iterator[Row]:
    v, left = 0.0, 0
    for x in LIVELY:
        h = v if left else A * v + G * x
        s = float(h > 0.2 and not left)
        left = 4 if s else max(left - 1, 0)
        v = 0.1 if s else h
        yield {"v": v, "s": s, "v.before": h}


@case(
    """
inputs: {x: {kind: impulse, at: end}}
equations: dv/dt = -v/4 + x
spike: v > 0.5
reset: {do: v -= 0.6, when: next_step}
refractory: {duration: 1, hold: [v]}
""",
    SPIKES,
)
def impulses_do_not_move_a_held_state_and_late_resets_do() -> Iterator[Row]:
    v, left, s = 0.0, 0, 0.0
    for x in SPIKES:
        v = (v if left else A * v + x) - 0.6 * s
        s = float(v > 0.5 and not left)
        left = 2 if s else max(left - 1, 0)
        yield {"v": v, "s": s}


@case(
    """
equations: |
  v[t] = 0.9*v[t-1] + I
  w[t] = 0.5*w[t-1] + v
events:
  a: {when: v > 1 and w > 0, reset: v = 0.2, refractory: {duration: 2*dt, hold: [v]}}
  b: {when: w > 1.5, reset: "v += 1; w *= 0.5", refractory: {duration: 1, hold: [w]}}
outputs: {a: a, b: b}
""",
    LIVELY,
)
def events_have_counters_of_their_own_and_resets_assign_held_states() -> Iterator[Row]:
    v, w, m, n = 0.0, 0.0, 0, 0
    for x in LIVELY:
        h = v if m else 0.9 * v + x
        k = w if n else 0.5 * w + h
        a, b = float(h > 1 and k > 0 and not m), float(k > 1.5 and not n)
        m, n = 2 if a else max(m - 1, 0), 2 if b else max(n - 1, 0)
        v, w = (0.2 if a else h) + b, k * (0.5 if b else 1)
        yield {"v": v, "w": w, "a": a, "b": b}


@case(
    """
inputs: {x: impulse}
equations: |
  dv/dt = (-v - w)/4 + x
  dw/dt = (v - w)/2
spike: v > 0.6
reset: v = 0.3; w += 0.1
refractory: {duration: 1, hold: [v]}
""",
    SPIKES,
)
def what_a_coupled_flow_reads_of_a_held_state_stands_still() -> Iterator[Row]:
    z, left = np.zeros(2), 0
    free = expm(DT * np.array([[-1 / 4, -1 / 4], [1 / 2, -1 / 2]]))
    beside = expm(DT * np.array([[0, 0], [1 / 2, -1 / 2]]))
    for x in SPIKES:
        h = beside @ z if left else free @ (z + np.array([x, 0]))
        s = float(h[0] > 0.6 and not left)
        left = 2 if s else max(left - 1, 0)
        z = np.array([0.3, h[1] + 0.1]) if s else h
        yield {"v": z[0], "w": z[1], "s": s}


COUPLED = """
method: euler
equations: |
  dv/dt = (-v + w + I)/4
  dw/dt = (v - w + u)/2
  du/dt = v - u
events:
  a: {when: v > 0.3, reset: v -= 0.5, refractory: {duration: 1, hold: [v]}}
  b: {when: w > 0.25, reset: w -= 0.3, refractory: {duration: 1.5, hold: [w, u]}}
outputs: {a: a, b: b}
"""


@case(
    """
method: heun
inputs: {x: {kind: impulse, at: end}}
equations: |
  dv/dt = 1 - v - w
  dw/dt = v/(1 + v^2) - w + 0.1*x*(1 + v)
spike: v > 0.6
reset: v = 0.3; w += 0.1
refractory: {duration: 1, hold: [v]}
states: {v: 0.7}
""",
    SPIKES,
)
def stages_of_a_method_read_the_held_state_at_rest() -> Iterator[Row]:
    v, w, left = 0.7, 0.0, 0

    def slope(v: float, w: float) -> tuple[float, float]:
        return (0.0 if left else 1 - v - w), v / (1 + v * v) - w

    for x in SPIKES:
        a, b = slope(v, w)
        c, d = slope(v + DT * a, w + DT * b)
        h, k = v + DT * (a + c) / 2, w + DT * (b + d) / 2
        k += 0.1 * x * (1 + h)
        s = float(h > 0.6 and not left)
        left = 2 if s else max(left - 1, 0)
        v, w = (0.3, k + 0.1) if s else (h, k)
        yield {"v": v, "w": w, "s": s}


@case(COUPLED, LIVELY)
def several_events_may_hold_states_of_one_flow() -> Iterator[Row]:
    v, w, u, m, n = 0.0, 0.0, 0.0, 0, 0
    for x in LIVELY:
        dv, dw, du = (-v + w + x) / 4, (v - w + u) / 2, v - u
        h, k, u = v + DT * dv * (not m), w + DT * dw * (not n), u + DT * du * (not n)
        a, b = float(h > 0.3 and not m), float(k > 0.25 and not n)
        m, n = 2 if a else max(m - 1, 0), 3 if b else max(n - 1, 0)
        v, w = h - 0.5 * a, k - 0.3 * b
        yield {"v": v, "w": w, "u": u, "a": a, "b": b}


@case(
    """
equations: 'du/dt = (-0.5 + 3i)*u + I : complex'
spike: imag(u) > 0.2
reset: u = i
refractory: {duration: 1, hold: [u]}
outputs: {out: s, m: abs(u)}
"""
)
def a_complex_state_is_held_as_a_whole() -> Iterator[Row]:
    u, pole, left = 0j, -0.5 + 3j, 0
    e = np.exp(pole * DT)
    for x in X:
        h = u if left else e * u + (e - 1) / pole * x
        s = float(h.imag > 0.2 and not left)
        left = 2 if s else max(left - 1, 0)
        u = 1j if s else h
        yield {"u": u, "s": s, "m": abs(h)}
