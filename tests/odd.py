"""One neuron with much that a step can hold: ramps, delays, impulses, maps, a refractory time, a late reset."""

from __future__ import annotations

import neuroode as no

REST = {"duration": "2 ms", "hold": ["v"]}
ODD = no.Neuron(
    "odd",
    dt="1 ms",
    inputs={"I": no.Input("current", hold="linear"), "x": no.Input("impulse", at="end"), "z": "impulse"},
    parameters={"tau": no.Parameter("10 ms", domain="positive"), "v_th": 1.0},
    equations="""
        dv/dt = (-v + I + 0.3*I[t-2] + 0.1*q[t-1] + sin(t/1 ms))/tau + x + 0.5*z
        du/dt = (v^2 - u)/tau
        q[t] = 0.9*q[t-1] + s + 0.1*r[t-1]
    """,
    events={
        "s": {"when": "v > v_th and u > 0", "reset": "v -= v_th; q += 1", "refractory": REST},
        "r": {"when": "u + q > 2", "reset": {"do": "u = 0.1*u + q[t-1]", "when": "next_step"}},
    },
    outputs={"s": "s", "w": "after(v) + q"},
)  # fmt: skip
