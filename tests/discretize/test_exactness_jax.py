"""The cases of docs/exactness.md by a jax layer: values and gradients against mpmath."""

from __future__ import annotations

import numpy as np
import pytest
from exact_cases import CASES, Case
from exactness import TOLERANCES, errors, exact, made, weights

jax = pytest.importorskip("jax")
eqx = pytest.importorskip("equinox")
jax.config.update("jax_enable_x64", True)
QUICK = {"one state, I a ramp", "third order, A reads g"}


@pytest.mark.parametrize("case", [
    pytest.param(c, id=c.name, marks=() if c.name in QUICK else pytest.mark.slow) for c in CASES
])  # fmt: skip
def test_exact_in_jax(case: Case) -> None:
    layer = made(case).jax(len(case.lanes), dt=1.0, key=jax.random.PRNGKey(0), dtype="float64").set(**case.values())
    x = {n: jax.numpy.asarray(v[:, None]) for n, v in case.samples().items()}

    def total(layer):
        out, _ = layer(x if len(x) > 1 else next(iter(x.values())))
        rows = [out[n] for n, _ in case.outputs()] if isinstance(out, dict) else [out]
        last = jax.numpy.stack([r[-1, 0] for r in rows])
        return (jax.numpy.asarray(weights(case))[:, None] * last).sum(), last

    (_, last), slopes = eqx.filter_value_and_grad(total, has_aux=True)(layer)
    found = np.asarray(last), np.stack([np.asarray(slopes.parameters_of_neuron.raw[n]) for n in case.parameters])
    value, slope = errors(case, found, exact(case), 1)
    assert value <= TOLERANCES[0]
    assert slope <= TOLERANCES[1]
