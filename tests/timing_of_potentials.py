"""More of `timing_cases`: derivatives of potentials."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from timing_cases import DT, RNG, Row, X, case
from timing_of_time import CASES

__all__ = ["CASES"]

W = RNG.uniform(0, 1, (2, 2))


@case(
    """
method: semi_implicit(p, q)
parameters: {a: {value: 1.5, domain: positive}}
equations: |
  U = q^2/2 - a*cos(q) + log(1 + exp(q*w))
  dq/dt = p
  dp/dt = -grad(U, q) - 0.4*p + I
  w[t] = 0.5*w[t-1] + 0.1*I + 0.2*q[t-1]
  r[t] = grad(U, q) - grad(U, w)
outputs: {q: q, r: r}
"""
)
def the_slope_of_a_potential_holds_everything_else() -> Iterator[Row]:
    q = p = w = 0.0
    for x in X:
        w = 0.5 * w + 0.1 * x + 0.2 * q

        def slopes(q: float, w: float = w) -> tuple[float, float]:
            pull = 1 / (1 + np.exp(-q * w))
            return q + 1.5 * np.sin(q) + w * pull, q * pull

        p = p + DT * (-slopes(q)[0] - 0.4 * p + x)
        q = q + DT * p
        yield {"q": q, "p": p, "w": w, "r": slopes(q)[0] - slopes(q)[1]}


@case(
    f"""
axes: {{k: 2, l: k}}
method: euler
states: {{q: "0.5 + k"}}
parameters: {{W: {{value: {W.tolist()}, per: [k, l]}}}}
equations: |
  U = sum_k(q[k]^2/2) + sum_k(sum_l(W[k, l]*(q[k] - q[l])^2))/4
  dq[k]/dt = -grad(U, q[k]) + I
outputs: {{q: "q[k]"}}
"""
)
def the_slope_of_a_sum_over_an_axis() -> Iterator[Row]:
    q = np.array([0.5, 1.5])
    S = (W + W.T) / 2
    for x in X:
        q = q + DT * (-q - S.sum(1) * q + S @ q + x)
        yield {"q": q.copy()}
