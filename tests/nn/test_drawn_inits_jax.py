"""States whose initial value is drawn, in JAX layers: the numbers of the interpreter and of torch layers."""

import jax
import numpy as np
import pytest
from nn.test_drawn_inits import leak, walker

import neuroode as no
from neuroode.program.start import start_of_run

X = np.zeros((6, 4, 3), np.float32)


def test_jax_draws_the_same_start() -> None:
    n, x = walker(), X
    layer = n.jax(3, key=jax.random.key(0), dtype=np.float32)
    wanted = n.simulate(X, seed=5)
    whole, _ = layer(x, seed=5)
    first, carry = layer(x[:2], seed=5)
    second, _ = layer(x[2:], carry)
    for name in ("q", "r", "u"):
        np.testing.assert_allclose(whole[name], wanted[name], atol=2e-5)
        np.testing.assert_array_equal(np.concatenate([first[name], second[name]]), whole[name])
    own = start_of_run(n.program(), {"dt": np.asarray(0.1)}, (4, 3), 5)
    assert own is not None
    np.testing.assert_allclose(layer.init_carry(4, seed=5)["q"][..., 1], own["q__1"], rtol=3e-6, atol=3e-6)
    with pytest.raises(no.RunError, match="passes no key"):
        leak("normal(0, 1)").jax(3, key=jax.random.key(0), dtype=np.float32)(x)


def test_jax_has_gradients_to_parameters_of_a_draw() -> None:
    n, x = leak("normal(m, 1)", parameters={"m": {"value": 0.5}}), X
    layer = n.jax(3, key=jax.random.key(0), dtype=np.float32)
    slope = jax.grad(lambda layer: layer(x, key=jax.random.key(1))[0][0].sum())(layer)
    assert abs(float(jax.tree.leaves(slope)[0]) - 6) < 1e-5
