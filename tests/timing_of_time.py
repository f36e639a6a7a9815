"""More of `timing_cases`: running time, the number of the step, whole numbers, neurons without inputs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from timing_cases import DT, A, G, Row, T, X, case
from timing_of_refractory import CASES

__all__ = ["CASES"]


@case("equations: q[t] = t + 100*step + I\n")
def a_map_reads_the_end_of_its_step() -> Iterator[Row]:
    for k, x in enumerate(X):
        yield {"q": (k + 1) * DT + 100 * k + x}


@case("equations: |\n  b = t\n  dv/dt = (-v + b)/4 + I\n  q[t] = b[t-2]\nspike: v > 1 + t/4\nreset: v -= 0.1*t\n")
def a_flow_reads_the_running_time() -> Iterator[Row]:
    """dv/dt = (-v + t)/4 + I: v - (t - 4) - 4*I decays by A."""
    v = 0.0
    for k, x in enumerate(X):
        h = A * (v - (k * DT - 4)) + (k * DT + DT - 4) + 4 * G * x
        s = float(h > 1 + (k + 1) * DT / 4)
        v = h - 0.1 * (k + 1) * DT * s
        yield {"v": v, "s": s, "q": (k - 1) * DT if k > 1 else 0.0, "b": (k + 1) * DT}


@case("method: heun\nequations: dv/dt = -v + cos(v)*sin(2*t) + step*I/40\n")
def stages_read_the_time_at_which_they_stand() -> Iterator[Row]:
    v = 0.0
    for k, x in enumerate(X):
        a = -v + np.cos(v) * np.sin(2 * k * DT) + k * x / 40
        h = v + DT * a
        b = -h + np.cos(h) * np.sin(2 * (k + 1) * DT) + k * x / 40
        v = v + DT * (a + b) / 2
        yield {"v": v}


@case(
    """
parameters: {n: {value: 3, type: integer}, m: {value: 2, type: integer}}
equations: |
  v[t] = 0.5*v[t-1] + I
  q[t] = v[t-n] + 10*I[t - m*n + 1] + n*where(step - m*floor(step/m) > 0, 1, -1)
"""
)
def lags_and_numbers_may_be_whole_parameters() -> Iterator[Row]:
    v, past = 0.0, [0.0] * 3
    for k, x in enumerate(X):
        v = 0.5 * v + x
        late = X[k - 5] if k >= 5 else 0.0
        yield {"v": v, "q": past[-3] + 10 * late + 3 * (1 if k % 2 else -1)}
        past.append(v)


@case(
    """
states: {v: 0.5}
parameters: {c: 0.3}
equations: |
  dv/dt = (-v + 2)/4
  q[t] = 0.5*q[t-1] + step + s[t-1]
spike: v > 1
reset: v = c
"""
)
def a_neuron_without_inputs_runs_by_itself() -> Iterator[Row]:
    v, q, s = 0.5, 0.0, 0.0
    for k in range(T):
        h = A * v + 2 * G
        q = 0.5 * q + k + s
        s = float(h > 1)
        v = 0.3 if s else h
        yield {"v": v, "q": q, "s": s}


@case(
    """
equations: |
  dv/dt = (-v + I + 0.1*w[t-1])/4
  w[t] = 0.5*w[t-1] + after(v) + a
  r[t] = after(w) - after(v)
events:
  a: {when: v > 0.3, reset: "v -= 0.4; w *= 0.5"}
  b: {when: w > 0.5, reset: "w -= r[t-1]", reset_gradient: detached}
outputs: {r: r, w: after(w)}
"""
)
def maps_and_outputs_read_what_resets_left() -> Iterator[Row]:
    v = w = r = 0.0
    for x in X:
        h = A * v + G * (x + 0.1 * w)
        a = float(h > 0.3)
        v = h - 0.4 * a
        k = 0.5 * w + v + a
        b = float(k > 0.5)
        w = k * (0.5 if a else 1) - r * b
        r = w - v
        yield {"v": v, "w": w, "r": r, "a": a, "b": b}
