"""flax modules as potentials: values and gradients of the same network in torch, training, what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import neuroode as no

jax = pytest.importorskip("jax")
pytest.importorskip("flax")
import equinox as eqx  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import optax  # noqa: E402
from flax import linen, nnx  # noqa: E402

F64 = torch.float64
N, HIDDEN = 3, 5


@pytest.fixture(autouse=True)
def _float64() -> Any:
    with jax.enable_x64(True):
        yield


class Nnx(nnx.Module):
    """One energy of the last axis, shared out over it, with a scale that rests."""

    def __init__(self, n: int = N, dropout: float = 0.0) -> None:
        rngs = nnx.Rngs(0)
        self.inner = nnx.Linear(n, HIDDEN, rngs=rngs, param_dtype=jnp.float64)
        self.outer = nnx.Linear(HIDDEN, 1, rngs=rngs, param_dtype=jnp.float64)
        self.scale = nnx.BatchStat(jnp.ones(()))
        self.dropout = nnx.Dropout(dropout, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        y = self.outer(self.dropout(jnp.tanh(self.inner(x))))
        return jnp.broadcast_to(y * self.scale[...], x.shape) / x.shape[-1]


class Linen(linen.Module):
    @linen.compact
    def __call__(self, x: Any) -> Any:
        inner = linen.Dense(HIDDEN, param_dtype=jnp.float64, name="inner")
        outer = linen.Dense(1, param_dtype=jnp.float64, name="outer")
        return jnp.broadcast_to(outer(jnp.tanh(inner(x))), x.shape) / x.shape[-1]


class Torch(torch.nn.Module):
    """The same with the numbers of an nnx module."""

    def __init__(self, net: Nnx) -> None:
        super().__init__()
        self.inner, self.outer = torch.nn.Linear(N, HIDDEN, dtype=F64), torch.nn.Linear(HIDDEN, 1, dtype=F64)
        with torch.no_grad():
            for ours, theirs in ((self.inner, net.inner), (self.outer, net.outer)):
                ours.weight.copy_(torch.tensor(np.array(theirs.kernel[...]).T))
                ours.bias.copy_(torch.tensor(np.array(theirs.bias[...])))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.outer(torch.tanh(self.inner(x))).expand_as(x) / x.shape[-1]


def neuron() -> no.Neuron:
    return no.Neuron(
        "learned",
        dt=0.1,
        inputs={"I": "current"},
        operators={"net": "external"},
        equations="U = 0.7*net(2*q) + q^2/2; dq = p*dt; dp = (-grad(U, q) - p + I)*dt + dW",
        outputs={"q": "q", "p": "p"},
    )


def layer_of(net: Any) -> Any:
    return neuron().jax(N, dtype=np.float64, operators={"net": net}, key=jax.random.key(0))


def variables_of(net: Nnx) -> dict[str, Any]:
    rows = {n: {"kernel": m.kernel[...], "bias": m.bias[...]} for n, m in (("inner", net.inner), ("outer", net.outer))}
    return {"params": rows}


FORMS = {
    "nnx": lambda net: net,
    "linen": lambda net: (Linen(), variables_of(net)),
    "bound linen": lambda net: Linen().bind(variables_of(net)),
}


def loss(layer: Any, x: Any) -> Any:
    return (layer(x, seed=4)[0]["q"] ** 2).sum()


@pytest.mark.parametrize("form", FORMS)
def test_flax_is_the_same_network_in_torch(form: str) -> None:
    net = Nnx()
    x = np.random.default_rng(0).normal(size=(12, 2, N))
    layer, theirs = layer_of(FORMS[form](net)), Torch(net)
    ours = neuron().torch(N, dtype=F64, operators={"net": theirs})
    wanted = ours(torch.tensor(x), seed=4)[0]["q"]
    np.testing.assert_allclose(layer(jnp.asarray(x), seed=4)[0]["q"], wanted.detach(), rtol=0, atol=1e-12)
    wanted.pow(2).sum().backward()
    slopes = eqx.filter_grad(loss)(layer, jnp.asarray(x)).operators_of_neuron.given["net"]
    found = slopes.parameters if form == "nnx" else slopes.variables["params"]
    np.testing.assert_allclose(found["inner"]["kernel"].T, theirs.inner.weight.grad, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(found["outer"]["kernel"].T, theirs.outer.weight.grad, rtol=1e-10, atol=1e-12)


def test_forces_are_finite_differences_of_the_energy() -> None:
    net = Nnx()
    q = np.random.default_rng(1).normal(size=(4, N))
    x, still = jnp.zeros((1, 4, N)), {"dW": jnp.zeros((1, 4, N))}
    # euler_maruyama: p after one step from rest is -dt*grad
    layer = neuron().jax(N, method="euler_maruyama", dtype=np.float64, operators={"net": net}, key=jax.random.key(0))
    start = layer.init_carry(4, seed=0)
    force = layer(x, type(start)({**start, "q": jnp.asarray(q)}, start.digest), noise=still)[0]["p"][0] / 0.1

    def energy(q: np.ndarray) -> np.ndarray:
        return np.asarray((0.7 * net(jnp.asarray(2 * q))).sum(-1) + (q**2).sum(-1) / 2)

    steps = 1e-5 * np.eye(N)
    wanted = np.stack([-(energy(q + h) - energy(q - h)) / 2e-5 for h in steps], axis=-1)
    np.testing.assert_allclose(force, wanted, atol=1e-8)


def test_layers_with_flax_are_pytrees(tmp_path: Any) -> None:
    net, x = Nnx(), jnp.ones((5, 2, N))
    layer = layer_of(net)
    wanted = loss(layer, x)
    assert float(eqx.filter_jit(loss)(layer, x)) == pytest.approx(float(wanted), rel=1e-13)
    many = jax.vmap(lambda x: loss(layer, x))(jnp.stack([x, 2 * x]))
    assert float(many[0]) == pytest.approx(float(wanted), rel=1e-13)
    other = layer_of(nnx.clone(net))
    doubled = eqx.tree_at(
        lambda m: m.operators_of_neuron.given["net"].parameters["outer"]["kernel"], other, net.outer.kernel[...] * 2
    )
    assert abs(loss(doubled, x) - wanted) > 1e-3
    eqx.tree_serialise_leaves(tmp_path / "layer", layer)
    again = eqx.tree_deserialise_leaves(tmp_path / "layer", doubled)
    assert float(loss(again, x)) == float(wanted)
    back = again.operators_of_neuron.given["net"].module()
    np.testing.assert_array_equal(back.outer.kernel[...], net.outer.kernel[...])
    slopes = eqx.filter_grad(loss)(layer, x).operators_of_neuron.given["net"]
    assert not any(np.any(np.asarray(a)) for a in jax.tree.leaves(slopes.rest) if a.dtype.kind == "f")


@pytest.mark.slow
def test_a_double_well_is_learned_from_its_increments() -> None:
    """Steps of an overdamped particle in (q^2 - 1)^2 from everywhere; least squares of the step is its likelihood."""
    dt, count = 0.05, 1500
    well = no.Neuron(
        "well", dt=dt, operators={"net": "external"}, equations="U = net(q); dq = -grad(U, q)*dt + 0.4*dW", outputs="q",
        method="euler_maruyama",
    )  # fmt: skip
    random = np.random.default_rng(0)
    q = random.uniform(-1.6, 1.6, (count, 1))
    after = jnp.asarray(q - 4 * q * (q**2 - 1) * dt + 0.4 * random.normal(size=q.shape) * dt**0.5)
    layer = well.jax(1, dtype=np.float64, operators={"net": Nnx(1)}, key=jax.random.key(0))

    def step(layer: Any, q: Any) -> Any:
        start = layer.init_carry(len(q), seed=0)
        start = type(start)({**start, "q": q}, start.digest)
        return layer(carry=start, steps=1, batch=len(q), noise={"dW": jnp.zeros((1, *q.shape))})[0][0]

    adam = optax.adam(0.03)

    def update(state: Any, _: Any) -> Any:
        trained, moments = state
        slopes = eqx.filter_grad(lambda m: ((step(eqx.combine(m, rest), jnp.asarray(q)) - after) ** 2).mean())(trained)
        moves, moments = adam.update(slopes, moments)
        return (eqx.apply_updates(trained, moves), moments), None

    trained, rest = eqx.partition(layer, eqx.is_inexact_array)
    state = eqx.filter_jit(lambda s: jax.lax.scan(update, s, None, length=600))((trained, adam.init(trained)))[0]
    grid = jnp.linspace(-1.4, 1.4, 57)[:, None]
    force = (step(eqx.combine(state[0], rest), grid) - grid)[:, 0] / dt
    assert np.corrcoef(force, -4 * grid[:, 0] * (grid[:, 0] ** 2 - 1))[0, 1] > 0.98
    zeros = np.asarray(grid[:-1, 0])[np.asarray((force[:-1] > 0) & (force[1:] <= 0))]  # stable ones
    np.testing.assert_allclose(zeros, [-1, 1], atol=0.1)


@pytest.mark.slow
def test_a_flax_module_sees_all_coordinates_of_an_axis() -> None:
    """A module of (B, 2, 3) -> (B, 2, 1), against the quadratic form that it is."""
    A = np.array([[2.0, 0.3, 0.0], [0.3, 1.0, -0.2], [0.0, -0.2, 1.5]])

    class Form(nnx.Module):
        def __init__(self) -> None:
            self.A = nnx.Param(jnp.asarray(A))

        def __call__(self, q: Any) -> Any:
            return ((q @ self.A[...]) * q).sum(-1, keepdims=True) / 2

    text = "dq[k] = p[k]*dt; dp[k] = (-grad(U, q[k]) - p[k])*dt + dW[k]; U = "
    common = {"dt": 0.1, "axes": {"k": 3, "l": "k"}, "method": "baoab", "outputs": {"q": "q[k]"}}
    learned = no.Neuron(
        "form", operators={"net": "external"}, equations=text + "net(q)", **(common | {"axes": {"k": 3}})
    )
    known = no.Neuron(
        "form", parameters={"A": no.Parameter(A.tolist(), per=["k", "l"])},
        equations=text + "sum_k(sum_l(A[k, l]*q[k]*q[l]))/2", **common,
    )  # fmt: skip
    options = {"dtype": np.float64, "key": jax.random.key(0)}
    found = learned.jax(2, operators={"net": Form()}, **options)(steps=20, batch=3, seed=1)[0]
    wanted = known.jax(2, **options)(steps=20, batch=3, seed=1)[0]
    np.testing.assert_allclose(found, wanted, atol=1e-13)


def test_what_is_not_accepted_is_named() -> None:
    x = jnp.ones((2, 1, N))
    with pytest.raises(no.RunError, match="a call of the flax module Nnx changes it"):
        layer_of(Nnx(dropout=0.5))(x, seed=0)
    resting = Nnx(dropout=0.5)
    resting.eval()
    layer_of(resting)(x, seed=0)
    with pytest.raises(no.RunError, match=r"'net' is a flax\.linen module without variables"):
        layer_of(Linen())
    with pytest.raises(no.RunError, match="'net' is a module of torch, which cannot be called here") as caught:
        layer_of(Torch(Nnx()))
    assert "equinox modules of one sample, flax.nnx modules" in str(caught.value)
    with pytest.raises(no.RunError, match="'net' is a module of flax") as caught:
        neuron().torch(N, operators={"net": Nnx()})
    assert "torch modules" in str(caught.value)
    with pytest.raises(no.RunError, match="'net' is a module of flax"):
        neuron().simulate(np.zeros((3, 1, N)), operators={"net": Nnx()})
    with pytest.raises(no.RunError, match="'net' is a int"):
        layer_of(3)
