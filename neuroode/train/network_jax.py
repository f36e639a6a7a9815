"""The network that is trained: a linear map, the neurons, a linear readout and one leaky integrator a class."""

from __future__ import annotations

import warnings
from math import sqrt
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from neuroode._errors import Unsupported
from neuroode.train.options import Settings
from neuroode.train.shape import check, feeds_back

ACTIVE = 0.3  # of spikes: one in eleven
LARGEST_POWER = 30
Array = jax.Array


class Linear(eqx.Module):
    """x (..., C) -> x W' + b (..., N)."""

    weight: Array
    bias: Array | None

    def __call__(self, x: Array) -> Array:
        out = x @ self.weight.T
        return out if self.bias is None else out + self.bias


class Network(eqx.Module):
    """x (T, B, C) -> outputs (T, B, classes), and on request the hidden layer (T, B, size).

    Weights start as Xavier-uniform; the input's and the recurrent ones as one matrix [input | recurrent], as in the
    BRF paper's code.
    """

    into: Linear
    hidden: Any
    out: Linear
    leaky: Any

    def __call__(self, x: Array, key: Any = None) -> Array:
        return self.both(x, key)[0]

    def both(self, x: Array, key: Any = None) -> tuple[Array, Array]:
        """The outputs and the hidden layer's output; `key` of its noise, if it has any, else always the same."""
        hidden, _ = self.hidden(self.into(x), key=jax.random.key(0) if key is None else key)
        out = self.out(hidden)
        return (out if self.leaky is None else self.leaky(out)[0]), hidden

    def project(self) -> Network:
        """With parameters inside their domains."""
        leaky = None if self.leaky is None else self.leaky.project()
        return Network(self.into, self.hidden.project(), self.out, leaky)

    def values(self) -> dict[str, np.ndarray]:
        """The trained numbers by what they are, flat; parameters of neurons in constrained form."""
        found = {"input weights": self.into.weight}
        if self.hidden.recurrent:
            found["recurrent weights"] = self.hidden.W_rec
        found |= _trained(self.hidden, "") | {"output weights": self.out.weight}
        if self.leaky is not None:
            found |= _trained(self.leaky, " of the readout")
        return {name: np.array(value).ravel() for name, value in found.items()}

    def count(self) -> int:
        """Trained numbers."""
        return sum(leaf.size for leaf in jax.tree.leaves(self))


def build(neuron: Any, leaky: Any, channels: int, outputs: int, settings: Settings, key: Any) -> Network:
    """A network with drawn weights; the input's scale is not set yet."""
    check(neuron.spec)
    recurrent = feeds_back(neuron.spec) if settings.recurrent is None else settings.recurrent
    keys, size = jax.random.split(key, 5), settings.size
    options: dict[str, Any] = {"init": dict(settings.init), "recurrent": recurrent, "dt": settings.dt}
    hidden = _layer(neuron, keys[0], size=size, reset_gradient=settings.reset_gradient, **options)
    bound = sqrt(6 / (channels + (size if recurrent else 0) + size))
    if recurrent:
        drawn = _uniform(keys[1], (size, size), bound)
        hidden = eqx.tree_at(lambda layer: layer.weights.weight, hidden, drawn)
    into = Linear(_uniform(keys[2], (size, channels), bound), _bias(size, settings))
    out = Linear(_uniform(keys[3], (outputs, size), sqrt(6 / (size + outputs))), _bias(outputs, settings))
    last = None
    if settings.readout != "linear":
        last = _layer(leaky, keys[4], size=outputs, dt=1.0, init={"tau": settings.tau_out})
    return Network(into, hidden, out, last)


def _layer(neuron: Any, key: Any, **options: Any) -> Any:
    """With the C kernel where one can be built, else with the scan, which takes three to four times as long."""
    try:
        return neuron.jax(key=key, dtype=jnp.float32, schedule="sequential", **options)
    except Unsupported as error:
        layer = neuron.jax(key=key, dtype=jnp.float32, schedule="eager", **options)  # raises what is not the kernel's
        warnings.warn(f"no fast kernel, running the scan instead: {error}", RuntimeWarning, stacklevel=2)
        return layer


def _uniform(key: Any, shape: tuple[int, ...], bound: float) -> Array:
    return jax.random.uniform(key, shape, jnp.float32, -bound, bound)


def _bias(n: int, settings: Settings) -> Array | None:
    return jnp.zeros(n, jnp.float32) if settings.bias else None


def scaled(network: Network, gain: float | None, x: Array) -> Network:
    """Input weights times `gain`, or a power of two that makes the layer moderately active on x.

    Neurons differ by orders of magnitude in the input that they answer to, and a silent layer learns nothing.
    """
    if gain is not None:
        return _times(network, gain)
    factor = 2.0 if _activity(network, x) < ACTIVE else 0.5
    for _ in range(LARGEST_POWER):
        if (_activity(network, x) < ACTIVE) != (factor > 1):
            break
        network = _times(network, factor)
    return network


def _times(network: Network, factor: float) -> Network:
    return eqx.tree_at(lambda n: n.into.weight, network, network.into.weight * factor)


def _activity(network: Network, x: Array) -> float:
    """Root mean square of the hidden layer: for spikes, the root of the share of neurons that fire."""
    _, hidden = network.both(x)
    return float(jnp.sqrt(jnp.square(hidden).mean()))


def _trained(layer: Any, suffix: str) -> dict[str, Array]:
    return {p.name + suffix: layer.values[p.name] for p in layer.neuron.spec.parameters if p.trainable}
