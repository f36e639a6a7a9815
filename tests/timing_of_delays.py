"""More of `timing_cases`: delays by whole steps."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from timing_cases import DT, SPIKES, A, G, Row, X, case
from timing_of_potentials import CASES

__all__ = ["CASES"]


def past(rows: list, k: int, first: float = 0.0) -> float:
    """What the last but k of the rows is, before the first one `first`."""
    return rows[-k] if k <= len(rows) else first


@case(
    """
parameters: {d: 1.2, e: {value: 0.3, trainable: false}}
states: {v: 0.3}
equations: |
  b = 2*v + I
  dv/dt = (-v + I + delay(v, d) - delay(q, 2*dt))/4
  q[t] = 0.5*q[t-1] + delay(I, d + e) + delay(b, 0.9) + delay(v, 1)
  w[t] = delay(s, 0.6) + 10*delay(I, 0.2)
spike: v > 0.6 + 0.1*delay(s, 0.4)
reset: v -= 0.4*delay(q, 1)
outputs: {q: q, w: w}
"""
)
def every_signal_can_be_delayed_to_the_nearest_step() -> Iterator[Row]:
    vs, qs, ss, bs = [0.3], [0.0], [0.0], [0.0]
    for t, x in enumerate(X):
        late = X[t - 3] if t >= 3 else 0.0
        drive = past(vs, 2, 0.3) - past(qs, 2)
        h = A * vs[-1] + G * (x + drive)
        q = 0.5 * qs[-1] + late + past(bs, 2) + past(vs, 2, 0.3)
        s = float(h > 0.6 + 0.1 * ss[-1])
        v = h - 0.4 * past(qs, 2) * s
        yield {"v": v, "q": q, "w": ss[-1] + 10 * x, "s": s}
        vs, qs, ss, bs = [*vs, v], [*qs, q], [*ss, s], [*bs, 2 * h + x]


@case(
    """
inputs: {x: {kind: impulse, at: end}}
parameters: {d: 1}
equations: |
  h = delay(x, d)
  dv/dt = -v/4 + 2*h + x - 0.3*delay(x, 0)
  q[t] = h + x[t-1]
spike: v > 4
reset: v = 0
""",
    SPIKES,
)
def a_delayed_impulse_stays_an_impulse() -> Iterator[Row]:
    v = 0.0
    for t, x in enumerate(SPIKES):
        late, last = (SPIKES[t - k] if t >= k else 0.0 for k in (2, 1))
        h = A * v + 2 * late + 0.7 * x
        s = float(h > 4)
        v = 0.0 if s else h
        yield {"v": v, "q": late + last, "s": s}


@case("inputs: {x: spike}\nequations: dv/dt = -v/4 + 3*delay(x, 1.5)\n", SPIKES)
def a_delayed_impulse_at_the_start_decays_with_its_step() -> Iterator[Row]:
    v = 0.0
    for t in range(len(SPIKES)):
        v = A * (v + 3 * (SPIKES[t - 3] if t >= 3 else 0.0))
        yield {"v": v}


@case("inputs: {I: {kind: current, hold: linear}}\nequations: dv/dt = -v/4 + delay(I, 1)\n")
def a_delayed_ramp_stays_a_ramp() -> Iterator[Row]:
    v = 0.0
    for t in range(len(X)):
        a, b = (X[t - k] if t >= k else 0.0 for k in (3, 2))
        c = (b - a) / DT
        v = A * (v - 4 * a + 16 * c) + 4 * b - 16 * c
        yield {"v": v}


@case(
    """
axes: {k: 3}
parameters: {d: {init: "0.5 + 0.5*k", per: [k], trainable: false}, w: {value: [1, 2, 4], per: [k]}}
inputs: {x: impulse}
equations: dv/dt = -v/4 + sum_k(w[k]*delay(x, d[k]))
""",
    SPIKES,
)
def a_delay_for_each_index() -> Iterator[Row]:
    v = 0.0
    for t in range(len(SPIKES)):
        v = A * (v + sum(2**k * SPIKES[t - k - 1] for k in range(3) if t > k))
        yield {"v": v}


@case(
    """
inputs: {x: impulse}
equations: dv/dt = -v/4 + delay(x, 1)
spike: v > 0.6
reset: v = 0.1
refractory: {duration: 1, hold: [v]}
""",
    np.minimum(SPIKES, 1),
)
def a_held_state_misses_delayed_impulses() -> Iterator[Row]:
    v, left = 0.0, 0
    for t in range(len(SPIKES)):
        late = min(SPIKES[t - 2], 1) if t >= 2 else 0.0
        h = v if left else A * (v + late)
        s = float(h > 0.6 and not left)
        left = 2 if s else max(left - 1, 0)
        v = 0.1 if s else h
        yield {"v": v, "s": s}
