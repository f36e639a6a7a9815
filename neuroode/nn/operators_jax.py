"""Functions across the neurons of a layer as parts of its pytree: given ones, and learned matrices."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from math import prod
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from neuroode._errors import RunError
from neuroode.expr.functions import GRADIENT
from neuroode.program.operators import bound, check_operators, check_shape, framework
from neuroode.program.types import Program

Array = jax.Array
ACCEPTED = {"equinox": "equinox modules of one sample", "flax": "flax.nnx modules and (linen module, variables)"}


class Whole(eqx.Module):
    """What is called with all samples at once, (B, *size*); other modules see one."""

    @abstractmethod
    def __call__(self, x: Array) -> Array: ...


class Plain(Whole):
    """A function without numbers of its own; static."""

    function: Callable[[Array], Array] = eqx.field(static=True)

    def __call__(self, x: Array) -> Array:
        return self.function(x)


class Operators(eqx.Module):
    """`matrices[NAME]`: dense operators (N, N), [to, from]; `given`: external ones, modules with their numbers.

    Raises:
        RunError: an external operator is missing, or one is given that is not declared.
    """

    matrices: dict[str, Array]
    given: dict[str, Any]
    networks: tuple[str, ...] = eqx.field(static=True)

    @classmethod
    def build(
        cls, program: Program, given: Mapping[str, Any], size: tuple[int, ...], dtype: Any, key: Any
    ) -> Operators:
        """Drawn matrices, and what the caller gave."""
        given = {name: _part(name, f) for name, f in given.items()}
        check_operators(program, given, accepted=ACCEPTED)
        n, limit = prod(size), bound(size)
        names = [name for name, kind in program.operators if kind == "dense"]
        keys = jax.random.split(key, len(names) + 1)
        drawn = {m: jax.random.uniform(k, (n, n), dtype, -limit, limit) for m, k in zip(names, keys, strict=False)}
        return cls(drawn, given, tuple(name for name, kind in program.operators if kind == "network"))

    def written(self, values: Mapping[str, Any]) -> Operators:
        """With matrices replaced.

        Raises:
            RunError: a shape that does not fit.
        """
        fresh = {n: jnp.asarray(v, self.matrices[n].dtype) for n, v in values.items()}
        for name, value in fresh.items():
            if value.shape != self.matrices[name].shape:
                raise RunError(f"operator '{name}' is {value.shape}, expected {self.matrices[name].shape}")
        return Operators(self.matrices | fresh, self.given, self.networks)

    def calls(self) -> dict[str, Callable[[Array], Array]]:
        """Functions of (B, *size*) by name; networks of (B, *size*, axis)."""
        dense = {n: _product(m) for n, m in self.matrices.items()}
        found = dense | {n: _checked(n, f, n in self.networks) for n, f in self.given.items()}
        return found | {GRADIENT + n: _gradient(f) for n, f in found.items()}


def _part(name: str, given: Any) -> Any:
    """What is given as a module whose numbers are leaves; what cannot be called stays for `check_operators`."""
    if isinstance(given, eqx.Module) or framework(given) in ("torch", "keras"):
        return given
    if framework(given[0] if isinstance(given, tuple) and given else given) == "flax":
        from neuroode.nn.flax_jax import part

        return part(name, given)
    return Plain(given) if callable(given) else given


def _gradient(f: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """The gradient of f(x).sum()."""
    return jax.grad(lambda x: f(x).sum())


def _product(matrix: Array) -> Callable[[Array], Array]:
    return lambda x: (x.reshape(len(x), -1) @ matrix.T).reshape(x.shape)


def _checked(name: str, given: Any, energy: bool) -> Callable[[Array], Array]:
    function = given if isinstance(given, Whole) else _of_each(given) if energy else jax.vmap(given)

    def call(x: Array) -> Array:
        y = function(x)
        found = y.shape if isinstance(y, jax.Array) else None
        wanted = x.shape[:-1] if energy else x.shape
        if energy and found == (*wanted, 1):
            return y[..., 0]
        check_shape(name, found, x.shape, wanted)
        return y

    return call


def _of_each(energy: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """An energy of one vector, for every neuron of every sample."""

    def call(x: Array) -> Array:
        y = jax.vmap(energy)(x.reshape(-1, x.shape[-1]))
        return y.reshape(*x.shape[:-1], *y.shape[1:])

    return call
