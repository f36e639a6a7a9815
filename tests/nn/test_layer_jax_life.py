"""What a jax layer does besides running: parameters, steps, carries, transforms of jax, refusals, stacks."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from jax_oracles import KEY, by_jax, twins, with_numbers_of
from oracles import assert_same, by_layer, distance, drive, neuron

import neuroode as no
from neuroode._errors import NeuroodeError, RunError, SpecError, Unsupported
from neuroode.nn.stack_jax import Stack

X = np.random.default_rng(0).normal(8, 8, (12, 2, 3))


@pytest.fixture(scope="module")
def lif() -> Any:
    return no.load("lif").jax(3, key=KEY)


# parameters

DOMAINS = """
parameters:
  a: {value: 3, domain: positive, per: neuron}
  b: {value: 0.5, domain: nonnegative, per: neuron}
  c: {value: 0.3, domain: unit, per: channel}
  d: {value: 4, domain: "interval(1, 10)", transform: tanh}
  e: {value: 2, domain: positive, transform: exp}
  f: {value: 0.7, domain: positive, transform: project, per: neuron}
  g: {value: 0.2 + 0.3i, type: complex, per: neuron}
  h: {value: 1, transform: none}
  k: {value: 5, domain: "interval(0, 1/dt)", transform: abs}
  n: 7
equations: "v[t] = v[t-1]*c/a + b*I + d*e + f*real(g) + h + k/n"
"""


def declared(text: str) -> no.Neuron:
    from references import neuron as made

    return made(text)


def test_stored_numbers_and_values_are_torchs() -> None:
    n = declared(DOMAINS)
    one, other = n.torch((2, 3), dt=0.1, dtype=torch.float64), n.jax((2, 3), dt=0.1, key=KEY, dtype="float64")
    inner = one.parameters_of_neuron
    for p in n.spec.parameters:
        assert distance(other.values[p.name], one.values[p.name].detach()) <= 1e-15
        if p.trainable:
            assert distance(other.parameters_of_neuron.raw[p.name], inner.stored(p).detach()) <= 2e-15, p.name
    assert set(other.values) == set(one.values)
    assert other.a.shape == (2, 3)
    assert other.c.shape == (2,)


def test_project_is_torchs() -> None:
    n = declared(DOMAINS)
    one = n.torch(4, dt=0.1, dtype=torch.float64)
    with torch.no_grad():
        for i, raw in enumerate(one.parameters()):
            raw.copy_(torch.linspace(-30, 30, raw.numel(), dtype=torch.float64).reshape(raw.shape) + i)
    other = with_numbers_of(one, n.jax(4, dt=0.1, key=KEY))
    one.project()
    projected = eqx.filter_jit(type(other).project)(other)
    for p in n.spec.parameters:
        if p.trainable:
            found = projected.parameters_of_neuron.raw[p.name]
            assert distance(found, one.parameters_of_neuron.stored(p).detach()) <= 1e-14, p.name
    projected.set(n=7.0)  # every value is inside its domain


def test_set_returns_another_layer_or_raises(lif: Any) -> None:
    other = lif.set(tau=[3.0, 4.0, 5.0])
    assert np.allclose(other.tau, [3, 4, 5], atol=0, rtol=1e-15)
    assert np.allclose(lif.tau, 20, atol=0, rtol=1e-15)
    assert other.set(v_th=2.0).values["v_th"] == 2
    for wrong in ({"tau": -1.0}, {"tau": [1.0, 2.0]}, {"none": 1.0}):
        with pytest.raises((RunError, SpecError)):
            lif.set(**wrong)
    with pytest.raises(Unsupported, match="inside jit"):
        jax.jit(lambda layer: layer.set(tau=2.0))(lif)


def test_at_dt_and_back_to_a_declaration(lif: Any) -> None:
    trained = lif.set(tau=7.5)
    again = trained.to_neuron().jax(3, key=KEY)
    half = trained.at_dt(0.5)
    assert np.array_equal(again(X)[0], trained(X)[0])
    wanted = no.load("lif").simulate(X, dt=0.5, parameters={"tau": 7.5})["s"]
    assert np.array_equal(half(X)[0], wanted)
    with pytest.raises(RunError):
        declared(DOMAINS).jax(2, dt=0.1, key=KEY).at_dt(1.0)  # k = 5 > 1/dt


def test_no_optimiser_moves_a_constant(lif: Any) -> None:
    """Weight decay moves all leaves: constants are none."""
    adam = optax.adamw(0.1, weight_decay=0.5)
    slopes = jax.tree.map(jnp.ones_like, lif)
    moves, _ = adam.update(slopes, adam.init(lif), lif)
    moved = optax.apply_updates(lif, moves)
    assert moved.values["v_th"] == 1
    assert not np.allclose(moved.tau, lif.tau)
    assert len(jax.tree.leaves(lif)) == 1


def test_copies(lif: Any) -> None:
    trained = lif.set(tau=3.0)
    for other in (copy.deepcopy(trained), pickle.loads(pickle.dumps(trained))):
        assert jax.tree.structure(other) == jax.tree.structure(trained)
        assert np.array_equal(other(X)[0], trained(X)[0])


# running


def test_pieces_equal_the_whole(lif: Any) -> None:
    whole, end = lif(X)
    first, carry = lif(X[:5])
    second, last = lif(X[5:], no.detach_carry(carry))
    assert np.array_equal(whole, jnp.concatenate([first, second]))
    assert np.array_equal(end["v"], last["v"])


def test_a_detached_carry_passes_no_gradient(lif: Any) -> None:
    def loss(x: Any, cut: bool) -> Any:
        _, carry = lif(x[:5])
        _, last = lif(x[5:], no.detach_carry(carry) if cut else carry)
        return last["v"].sum()

    slopes = [np.asarray(jax.grad(loss)(jnp.asarray(X), cut)) for cut in (True, False)]
    assert not slopes[0][:5].any()
    assert slopes[1][:5].any()
    assert slopes[0][5:].any()


def test_jit_grad_vmap_and_forward_mode_agree(lif: Any) -> None:
    def loss(layer: Any, x: Any) -> Any:
        out, carry = layer(x)
        return (out * jnp.arange(out.size).reshape(out.shape)).sum() + carry["v"].sum()

    x = jnp.asarray(X)
    slope = jax.grad(loss)(lif, x)
    again = jax.jit(jax.grad(loss))(lif, x)
    forward = jax.jacfwd(loss)(lif, x)
    tau = [s.parameters_of_neuron.raw["tau"] for s in (slope, again, forward)]
    assert distance(tau[1], tau[0]) <= 1e-12
    assert distance(tau[2], tau[0]) <= 1e-12
    layers = [lif, lif.set(tau=5.0)]
    stacked = jax.tree.map(lambda *rows: jnp.stack(rows), *layers)
    both = jax.vmap(lambda layer: layer(x)[0])(stacked)
    assert np.array_equal(both, jnp.stack([layer(x)[0] for layer in layers]))


def test_a_carry_passes_through_a_scan_of_jax(lif: Any) -> None:
    def window(carry: Any, x: Any) -> Any:
        out, carry = lif(x, carry)
        return carry, out

    _, rows = jax.lax.scan(window, lif.init_carry(2), jnp.asarray(X).reshape(3, 4, 2, 3))
    assert np.array_equal(rows.reshape(X.shape), lif(X)[0])


@pytest.mark.slow
def test_a_hessian_of_a_smooth_neuron() -> None:
    layer = neuron("li").jax(2, key=KEY, schedule="eager")  # a scan has no second derivative
    x = jnp.asarray(X[:6, :, :2])
    form = jax.tree.structure(layer)

    def loss(tau: Any) -> Any:
        return jnp.square(jax.tree.unflatten(form, [tau])(x)[0]).sum()

    (start,) = jax.tree.leaves(layer)
    found = jax.hessian(loss)(start)
    h = 1e-5 * jnp.eye(2)
    wanted = jnp.stack([(jax.grad(loss)(start + e) - jax.grad(loss)(start - e)) / 2e-5 for e in h])
    assert distance(found, wanted) <= 1e-6


def test_half_precision_comes_back_as_it_went() -> None:
    layer = no.load("lif").jax(3, key=KEY, dtype="float32")
    out, carry = layer(jnp.asarray(X, jnp.bfloat16))
    assert out.dtype == jnp.bfloat16
    assert carry["v"].dtype == jnp.float32


# refusals


def test_refusals(lif: Any) -> None:
    n = no.load("lif")
    for bad, kind in (
        (lambda: n.jax(3), RunError),
        (lambda: n.jax(3, key=KEY, dtype="float16"), Unsupported),
        (lambda: n.jax(3, key=KEY, unknown=1), TypeError),
        (lambda: n.jax(3, key=KEY, schedule="fft"), Unsupported),
        (lambda: n.jax((3, 2), key=KEY, recurrent=True), Unsupported),
        (lambda: n.jax(3, key=KEY, init={"none": 1}), RunError),
        (lambda: jax.jit(lambda k: n.jax(3, key=k))(KEY), Unsupported),
        (lambda: lif(X.tolist()), RunError),
        (lambda: lif(X[..., :2]), RunError),
        (lambda: lif(X.astype(np.float32)), RunError),
        (lambda: lif({"J": X}), RunError),
        (lambda: lif(X, {"v": X[0]}), RunError),
        (lambda: lif(X, no.load("alif").jax(3, key=KEY).init_carry(2)), RunError),
        (lambda: lif(X, lif.init_carry(3)), RunError),
        (lambda: lif(X, lengths=jnp.asarray([1, 13])), RunError),
        (lambda: lif(X, lengths=jnp.asarray([1.0, 2.0])), RunError),
        (lambda: lif.init_carry(-1), RunError),
    ):
        with pytest.raises(kind):
            bad()


def test_float64_needs_x64() -> None:
    with jax.enable_x64(False):
        with pytest.raises(Unsupported, match="float32") as found:
            no.load("lif").jax(3, key=KEY, dtype="float64")
        assert 'jax.config.update("jax_enable_x64", True)' in str(found.value)
        layer = no.load("brf").jax(3, key=jax.random.key(0))
        out, carry = layer(X.astype(np.float32))
        assert out.dtype == carry["q"].dtype == jnp.float32


def test_what_is_not_finite_is_located() -> None:
    layer = declared("equations: v[t] = 0.5*v[t-1] + exp(I)\n").jax(3, dt=1, key=KEY, check_finite=True)
    x = np.zeros((6, 2, 3))
    layer(x)
    x[4, 1, 2] = 1e4
    with pytest.raises(RunError, match=r"'v' .* from step 4 on, lane \(1, 2\)"):
        layer(x)
    with pytest.raises(Exception, match="not finite"):
        jax.block_until_ready(jax.jit(lambda x: layer(x)[0])(x))


# stacks


def test_a_stack_threads_its_carries(lif: Any) -> None:
    linear, dropout = eqx.nn.Linear(4, 3, key=KEY, dtype=float), eqx.nn.Dropout(0.5)
    stack = Stack(linear, lif, dropout, neuron("li").jax(3, key=KEY))
    x = jnp.asarray(np.random.default_rng(1).normal(8, 8, (12, 2, 4)))
    quiet = eqx.nn.inference_mode(stack)
    whole, _ = quiet(x)
    first, carries = quiet(x[:7])
    second, _ = quiet(x[7:], carries)
    assert distance(jnp.concatenate([first, second]), whole) <= 1e-13
    hidden = lif(jnp.einsum("tbc,nc->tbn", x, linear.weight) + linear.bias)[0]
    assert distance(whole, stack.layers[3](hidden)[0]) <= 1e-12
    assert not np.array_equal(stack(x, key=KEY)[0], whole)
    assert stack.project().layers[0] is linear
    with pytest.raises(RunError, match="2 layers with a carry"):
        quiet(x, carries[:1])
    plain = eqx.nn.Sequential([lif.only_output])
    assert np.array_equal(plain(jnp.asarray(X)), lif(X)[0])


@pytest.mark.slow
def test_a_layer_learns() -> None:
    """A few steps of optax bring the rate near a goal."""
    layer = no.load("lif").jax(3, key=KEY)
    adam = optax.adam(0.3)
    state = adam.init(layer)

    @jax.jit
    def step(layer: Any, state: Any) -> Any:
        value, slopes = jax.value_and_grad(lambda m: jnp.square(m(X)[0].mean() - 0.1))(layer)
        moves, state = adam.update(slopes, state)
        return optax.apply_updates(layer, moves).project(), state, value

    values = []
    for _ in range(50):
        layer, state, value = step(layer, state)
        values.append(float(value))
    assert values[0] > 0.02
    assert min(values) < values[0] / 2


def test_names_are_refused_like_in_torch() -> None:
    with pytest.raises(NeuroodeError):
        no.load("lif").jax(3, key=KEY, gradient="event")


@pytest.mark.parametrize("kind", ["detached"])
def test_options_reach_the_program(kind: str) -> None:
    one, other = twins("alif", 2, reset_gradient=kind, surrogate="triangle")
    x = drive(one, 12, 2)
    assert_same(by_jax(other, x), by_layer(one, x))


def test_a_parameter_called_self_is_set() -> None:
    declared = no.Neuron(
        "own", equations="v[t] = self*v[t-1] + I", parameters={"self": no.Parameter(0.5)}, outputs={"v": "v"}
    )
    layer = declared.jax(2, dt=1.0, key=jax.random.key(0)).set(self=0.25)
    assert layer.values["self"] == 0.25
