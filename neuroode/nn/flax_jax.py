"""flax modules as operators of a layer: parameters are leaves of its pytree, what does not train rests.

flax is imported here only, and this file only where somebody passes a flax module.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
from flax import linen, nnx

from neuroode._errors import RunError
from neuroode.nn.operators_jax import Whole

Array = jax.Array
HELD = nnx.Not(nnx.Param)


class Nnx(Whole):
    """A module of flax.nnx, split: `parameters` are its `nnx.Param`s, `rest` its other variables, held as they are.

    Keys of random numbers are kept as their data, which files can hold.

    Raises:
        RunError: when called, where a call changes the module (statistics of a batch, counters of random numbers).
    """

    parameters: Any
    keys: Any
    rest: Any
    graph: Any = eqx.field(static=True)

    @classmethod
    def build(cls, module: nnx.Module) -> Nnx:
        graph, *groups = nnx.split(module, nnx.Param, nnx.RngKey, ...)
        parameters, keys, rest = map(nnx.to_pure_dict, groups)
        return cls(parameters, jax.tree.map(jax.random.key_data, keys), rest, graph)

    def module(self) -> Any:
        """The module with the numbers that it has here, as after training."""
        return nnx.merge(self.graph, self.parameters, jax.tree.map(jax.random.wrap_key_data, self.keys), self.rest)

    def __call__(self, x: Array) -> Array:
        module = eqx.tree_at(lambda m: m.rest, self, jax.lax.stop_gradient(self.rest)).module()
        before = jax.tree.leaves(nnx.state(module, HELD))
        y = module(x)
        if any(a is not b for a, b in zip(before, jax.tree.leaves(nnx.state(module, HELD)), strict=True)):
            name = type(module).__name__
            raise RunError(f"a call of the flax module {name} changes it", hint="pass it after module.eval()")
        return y


class Linen(Whole):
    """A module of flax.linen with its variables: those of `params` train, other collections are held as they are."""

    variables: Any
    definition: Any = eqx.field(static=True)

    def __call__(self, x: Array) -> Array:
        held = {n: v if n == "params" else jax.lax.stop_gradient(v) for n, v in self.variables.items()}
        return self.definition.apply(held, x)


def part(name: str, given: Any) -> Callable[[Array], Array]:
    """A flax module as a part of a pytree: of nnx, or (linen module, variables), or a bound linen module.

    Raises:
        RunError: a linen module without its variables.
    """
    if isinstance(given, nnx.Module):
        return Nnx.build(given)
    if isinstance(given, linen.Module) and given.scope is not None:
        given = given.unbind()
    if isinstance(given, tuple) and len(given) == 2 and isinstance(given[1], Mapping):
        return Linen(dict(given[1]), given[0])
    raise RunError(
        f"operator '{name}' is a flax.linen module without variables",
        hint=f"write operators={{'{name}': (module, variables)}} with variables = module.init(key, x)",
    )
