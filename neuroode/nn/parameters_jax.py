"""Parameters of a jax layer: stored numbers as leaves, constants as static data that no optimiser sees."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from neuroode._errors import RunError, Unsupported
from neuroode.nn import parameters as table
from neuroode.nn import transforms
from neuroode.nn.store import canonical
from neuroode.program import values as numbers
from neuroode.program.domains import kind_over_axes
from neuroode.spec.types import NeuronSpec, ParameterDecl
from neuroode.system.indices import axis_sizes, element_values, slot_parameters

Array = jax.Array


def widest() -> Any:
    """float64 where x64 is enabled, float32 elsewhere."""
    return jnp.zeros(()).dtype


class Constants:
    """What a layer's parameters have besides trained numbers; equal content is equal, so that jit finds its program.

    Attributes:
        values: of parameters that are not trained.
        dt: of the bounds that stored numbers are squashed into: another step changes no value.
    """

    def __init__(
        self, spec: NeuronSpec, size: tuple[int, ...], dtype: Any, dt: float, values: Mapping[str, np.ndarray]
    ) -> None:
        self.spec, self.size, self.dtype, self.dt = spec, size, np.dtype(dtype), dt
        self.values = dict(values)
        self.sizes = axis_sizes(spec)
        text = f"{canonical(spec)}|{size}|{self.dtype}|{dt!r}".encode()
        rows = [f"{k}{v.dtype}{v.shape}".encode() + v.tobytes() for k, v in sorted(self.values.items())]
        self.key = hashlib.sha256(b"|".join([text, *rows])).hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Constants) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def __repr__(self) -> str:
        return f"Constants({', '.join(self.values) or 'none'})"

    def bounds(self, p: ParameterDecl, dt: float | None = None) -> tuple[float, float]:
        """Bounds of a domain at a step; without `dt` those of the stored numbers."""
        return table.bounds(self.spec, p, lambda q: self.values[q.name], self.dt if dt is None else dt)


class Parameters(eqx.Module):
    """`raw[NAME]`: the stored number of each trained parameter, complex ones as (..., 2), in the layer's dtype.

    Raises:
        SpecError: a declared value outside its domain.
    """

    raw: dict[str, Array]
    constants: Constants = eqx.field(static=True)

    @classmethod
    def build(cls, spec: NeuronSpec, dt: float, size: tuple[int, ...], dtype: Any, seed: list[int]) -> Parameters:
        """Declared values, or draws of the inits."""
        start = numbers.initial_values(spec, dt, size, np.random.default_rng(seed))
        return cls._of(spec, start, size, dtype, dt)

    @classmethod
    def _of(
        cls, spec: NeuronSpec, values: Mapping[str, Any], size: tuple[int, ...], dtype: Any, dt: float,
        keep: Mapping[str, Array] | None = None,
    ) -> Parameters:  # fmt: skip
        """From constrained values; `keep` are stored numbers that stay as they are."""
        base = numbers.in_base(spec, dict(values) | {"dt": np.asarray(dt)})
        fixed = {p.name: np.asarray(values[p.name]).astype(_kind(p, dtype)) for p in spec.parameters if not p.trainable}
        rows = {p.name: p for p in spec.parameters if p.trainable}
        raw = {n: _stored(p, values[n], base, dtype) for n, p in rows.items() if n not in (keep or {})}
        return cls(dict(keep or {}) | raw, Constants(spec, size, dtype, dt, fixed))

    @property
    def spec(self) -> NeuronSpec:
        return self.constants.spec

    def constrained(self, p: ParameterDecl, wide: Any = None) -> Array:
        """The value in its domain, differentiable; complex ones as (..., 2)."""
        wide = wide or widest()
        if not p.trainable:
            value = self.constants.values[p.name]
            return jnp.asarray(_pairs(value) if p.type == "complex" else value, wide)
        raw = self.raw[p.name].astype(wide)
        return raw if p.type == "complex" else transforms.forward(jnp, p, raw, self.constants.bounds(p))

    def value(self, name: str) -> Array:
        """A parameter in constrained form, in the layer's dtype.

        Raises:
            RunError: no such parameter.
        """
        p = table.declaration(self.spec, name)
        found = self.constrained(p).astype(self.constants.dtype)
        return jax.lax.complex(found[..., 0], found[..., 1]) if p.type == "complex" else found

    def slots(self) -> dict[str, Any]:
        """Constrained values by slot name without `p.`, in a form that broadcasts against *size*."""
        rows: dict[str, Any] = {}
        for p in slot_parameters(self.spec):
            value = self.constrained(p)
            parts = {".re": value[..., 0], ".im": value[..., 1]} if p.type == "complex" else {"": value}
            for suffix, part in parts.items():
                for name, row in element_values(p, self.constants.sizes, part).items():
                    rows[name + suffix] = numbers.spread(row, p, self.constants.size)
        return rows

    def numbers(self) -> dict[str, np.ndarray]:
        """Every constrained value in float64.

        Raises:
            Unsupported: inside jit, grad or vmap, where there are no numbers.
        """
        rows: dict[str, np.ndarray] = {}
        for p in self.spec.parameters:
            if not p.trainable:
                rows[p.name] = self.constants.values[p.name].astype(_kind(p, np.float64))
                continue
            raw = _concrete(self.raw[p.name]).astype(np.float64)
            if p.type == "complex":
                rows[p.name] = raw[..., 0] + 1j * raw[..., 1]
            else:
                with np.errstate(all="ignore"):
                    rows[p.name] = np.asarray(transforms.forward(np, p, raw, self.constants.bounds(p)))
        return rows

    def written(self, given: Mapping[str, Any], dt: float) -> Parameters:
        """With constrained values replaced. What is not named keeps its value, also if its bounds move.

        Raises:
            RunError: no such parameter, or a shape that does not fit.
            SpecError: a value outside the domain.
            Unsupported: inside jit, grad or vmap.
        """
        arrays = {n: _concrete(v) if isinstance(v, jax.Array) else v for n, v in given.items()}
        now = table.written(self.spec, self.numbers(), arrays, self.constants.size, dt)
        old = {p.name for p in self.spec.parameters if not table.touched(p, given)}
        keep = {n: v for n, v in self.raw.items() if n in old}
        return self._of(self.spec, now, self.constants.size, self.constants.dtype, self.constants.dt, keep)

    def check(self, dt: float) -> None:
        """Whether every value lies in its domain at another step.

        Raises:
            RunError: one does not.
        """
        bounds = self.constants.bounds
        moved = {p.name for p in self.spec.parameters if bounds(p, dt) != bounds(p)}
        if moved:
            table.check_step(self.spec, self.numbers(), lambda p: p.name in moved, dt)

    def projected(self, dt: float) -> Parameters:
        """With stored numbers whose image left the domain moved to its bound; works inside jit."""
        raw, wide = dict(self.raw), widest()
        for p in self.spec.parameters:
            if p.trainable and p.type == "real" and p.domain != "real":
                before, bounds = raw[p.name].astype(wide), self.constants.bounds(p, dt)
                moved = transforms.project(jnp, p, before, bounds)
                inside = transforms.rounded(jnp, p, moved, bounds, raw[p.name].dtype, wide)
                raw[p.name] = jnp.where(moved == before, raw[p.name], inside)
        return Parameters(raw, self.constants)


def _kind(p: ParameterDecl, dtype: Any) -> Any:
    if p.type != "complex":
        return dtype
    return np.complex128 if np.dtype(dtype) == np.float64 else np.complex64


def _pairs(value: np.ndarray) -> np.ndarray:
    return np.stack([value.real, value.imag], axis=-1)


def _concrete(x: Array) -> np.ndarray:
    if isinstance(x, jax.core.Tracer):
        raise Unsupported("parameters have no numbers inside jit, grad or vmap", hint="do this outside of them")
    return np.asarray(x)


def _stored(p: ParameterDecl, value: Any, base: Mapping[str, Any], dtype: Any) -> Array:
    """The number that is stored for a value.

    Raises:
        RunError: the transform does not reach the value.
    """
    if p.type == "complex":
        return jnp.asarray(_pairs(np.asarray(value, complex)), dtype)
    wanted, bounds = np.asarray(value, float), numbers.bounds(p, base)
    table.warn_saturated(p, wanted, bounds)
    with np.errstate(all="ignore"):
        raw = np.asarray(transforms.inverse(np, p, wanted, bounds))
        found = transforms.forward(np, p, raw, bounds)
        span = bounds[1] - bounds[0]
        size = np.abs(wanted).max(initial=0.0) if kind_over_axes(p) else np.abs(wanted)
        missed = ~(np.abs(found - wanted) <= 1e-6 * (span if np.isfinite(span) else size))
        if missed.any() or not np.isfinite(raw).all():
            worst = wanted[missed | ~np.isfinite(raw)].flat[0]
            what = f"parameter '{p.name}': its transform {numbers.transform_name(p)} does not reach {worst:g}"
            raise RunError(what, hint="declare another transform, such as none")
        return jnp.asarray(transforms.rounded(np, p, raw, bounds, np.dtype(dtype), np.float64))
