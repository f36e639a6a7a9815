"""Small neurons with loops written by hand, one for each thing that a read can mean in a step (language.md, 3)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

T = 40
RNG = np.random.default_rng(3)
X = RNG.normal(0.4, 1.0, T)
SPIKES = RNG.poisson(0.5, T).astype(float)
A = np.exp(-0.5 / 4.0)  # decay of tau = 4 in a step of 0.5
G = 1 - A
DT = 0.5

Row = dict[str, complex]
#: name -> text, loop, input
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
