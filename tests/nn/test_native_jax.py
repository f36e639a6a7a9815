"""The C kernel inside jax against the interpreter and against the scan: values, gradients, transforms, refusals."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from jax_oracles import KEY, as_jax, by_jax, twins
from oracles import assert_same, by_interpreter, by_layer, distance, drive

import neuroode as no
from neuroode._errors import Unsupported
from neuroode.nn import native_jax
from neuroode.solvers.native.compiler import find_compiler

try:
    find_compiler()
except Unsupported:
    pytest.skip("no C compiler", allow_module_level=True)


@pytest.mark.parametrize("name", ["lif", "levels", "spiral", "two_inputs", "channels"])
def test_equals_the_interpreter(name: str) -> None:
    one, layer = twins(name, (2, 3) if name == "channels" else 5, schedule="sequential")
    x = drive(one, 40, 3)
    assert_same(by_jax(layer, x), by_interpreter(one, x))


@pytest.mark.parametrize(
    ("name", "recurrent"),
    [("alif", no.Recurrent(self_connections=False, bias=True)), ("levels", {"I": "graded"})],
    ids=["alif", "levels"],
)
def test_a_recurrent_layer_equals_torchs(name: str, recurrent: object) -> None:
    one, layer = twins(name, 9, recurrent=recurrent, schedule="sequential")
    x = drive(one, 35, 11)
    assert_same(by_jax(layer, x), by_layer(one, x))


def test_lengths_and_a_carry() -> None:
    one, layer = twins("two_inputs", 3, schedule="sequential")
    x = drive(one, 20, 4)
    lengths = torch.tensor([20, 0, 7, 1])
    for v in x.values():
        for b, n in enumerate(lengths):
            v[int(n) :, b] = torch.nan
    _, carry = one({n: torch.nan_to_num(v) for n, v in x.items()})
    held = layer.init_carry(4)
    held = type(held)({n: as_jax(v) for n, v in carry.items()}, held.digest)
    assert_same(by_jax(layer, x, held, lengths=as_jax(lengths)), by_layer(one, x, carry, lengths=lengths))


def test_without_x64() -> None:
    """float32, and no type of 64 bits for event bits and lengths."""
    with jax.enable_x64(False):
        layers = [no.load("alif").jax(70, key=jax.random.key(0), schedule=s) for s in ("sequential", "eager")]
        x = jnp.asarray(np.random.default_rng(0).normal(5, 8, (50, 3, 70)), jnp.float32)
        lengths = jnp.asarray([50, 20, 0])

        def loss(layer: Any, x: Any) -> Any:
            out, carry = layer(x, lengths=lengths)
            return (out * jnp.cos(jnp.arange(out.size)).reshape(out.shape)).sum() + carry["v"].sum(), out

        (g, out), (h, wanted) = (jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))(m, x) for m in layers)
        assert np.mean(out != wanted) < 1e-3
        assert out.dtype == jnp.float32
        for a, b in zip(jax.tree.leaves(g), jax.tree.leaves(h), strict=True):
            assert distance(a, b) <= 2e-3


def test_transforms_of_jax() -> None:
    x = jnp.asarray(np.random.default_rng(0).normal(8, 8, (4, 12, 2, 3)))
    layer, scan = (no.load("lif").jax(3, key=KEY, schedule=s) for s in ("sequential", "eager"))
    assert np.array_equal(jax.vmap(lambda row: layer(row)[0])(x), jnp.stack([scan(row)[0] for row in x]))

    def loss(x: Any) -> Any:
        return layer(x)[1]["v"].sum()

    with pytest.raises(Unsupported, match="second derivative"):
        jax.grad(lambda x: jax.grad(loss)(x).sum())(x[0])
    with pytest.raises(TypeError):  # jax's own: no forward mode of a custom reverse rule
        jax.jvp(loss, (x[0],), (x[0],))


def test_a_number_that_this_process_does_not_know_fails() -> None:
    """What a computation from another process would meet."""
    native_jax._shim()
    call = jax.ffi.ffi_call(native_jax.TARGET, jax.ShapeDtypeStruct((1,), np.float32))
    with pytest.raises(Exception, match="not loaded the kernel"):
        jax.block_until_ready(call(np.zeros(1, np.float32), words=np.array([1, 0, 0], np.int64)))
    layer = no.load("lif").jax(1, key=KEY, schedule="sequential")
    number = native_jax._numbers[native_jax.kernel_of(layer.program, layer.frame.dtype, None).key, "forward"]
    with pytest.raises(Exception, match="not there"):
        jax.block_until_ready(call(np.zeros(1, np.float32), words=np.array([number, 1, 5], np.int64)))


def test_no_compiler_is_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native_jax, "_compiled", {})
    monkeypatch.setattr(native_jax, "_kernels", {})
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(Unsupported, match="no C compiler"):
        no.load("lif").jax(3, key=KEY, schedule="sequential")
