"""One jax file: the emitted program, functions around it, and reference values with which it compares itself."""

from __future__ import annotations

from importlib import resources

from neuroode.emit.python_jax import JAX, jax_source
from neuroode.emit.reference import reference
from neuroode.emit.standalone import REPORT, data, header
from neuroode.emit.sums import sums_text
from neuroode.program.types import Program
from neuroode.spec.types import NeuronSpec
from neuroode.system.axes import weights_over_time

MODULE = '''
def init(size, values=None, dtype=jnp.float32):
    """Stored numbers of the trained parameters of *size* neurons, a dict that jax differentiates.

    `values` replaces constrained values; the defaults are those of the declaration.
    """
    rows = {{}}
    for name, (default, level, trained, transform, bounds) in PARAMETERS.items():
        if trained:
            value = jnp.asarray((values or {{}}).get(name, default), dtype)
            value = value if level == "layer" else resized(value, size)
            rows[name] = INVERSE[transform](jnp, value, *bounds)
    return rows


def constrained(stored, size):
    """Every parameter in its domain; what is not trained has its declared value."""
    rows = {{}}
    for name, (default, level, trained, transform, bounds) in PARAMETERS.items():
        if trained:
            rows[name] = FORWARD[transform](jnp, stored[name], *bounds)
        else:
            rows[name] = jnp.asarray(default, float) if level == "layer" else resized(jnp.asarray(default), size)
    return rows


def resized(value, size):
    """One a neuron: the last axis."""
    return jnp.resize(value, (size,)) if value.ndim == 0 else value[..., jnp.arange(size) % value.shape[-1]]


def run(values, x, carry=None, dt=DT):
    """Run over x (T, B, size), or a tuple of such, one per input {inputs}: (outputs, carry, trace), tuples each.

    `values` is what `constrained` returns.
    """
    if DELAYS and dt != DT:
        raise ValueError("the delays are counted in steps of DT: write the file anew for another step")
    inputs = x if isinstance(x, tuple) else (x,)
    like = inputs[0]
    wide = like.shape[1:]
    dt = jnp.asarray(dt, float)
    coefficients, inits = prologue(values, dt){sums}
    coefficients = tuple(jnp.asarray(c, like.dtype) for c in coefficients)
    if carry is None:
        carry = tuple(jnp.broadcast_to(v.astype(like.dtype), wide) for v in inits)

    def body(state, now):
        outputs, after, seen = step(coefficients, state, now)
        after, outputs, seen = (tuple(jnp.broadcast_to(v, wide) for v in g) for g in (after, outputs, seen))
        return after, (outputs, seen)

    carry, (outputs, seen) = scan(body, carry, inputs, like.shape[0])
    return outputs, carry, seen


@jax.jit
def apply(stored, x, carry=None):
    """(outputs, carry) from the stored numbers of `init`; one output alone, several as a tuple."""
    size = (x[0] if isinstance(x, tuple) else x).shape[-1]
    outputs, carry, _ = run(constrained(stored, size), x, carry)
    return (outputs[0] if len(outputs) == 1 else outputs), carry
'''

CHECK = '''
def compare():
    """Run on the reference inputs in float64: (kind, name, index, expected, found, difference) per reference value.

    The loss is the sum of cos(0, 1, 2, ...) times the outputs; differences are relative to an array's largest value.
    """
    jax.config.update("jax_enable_x64", True)
    x = tuple(jnp.asarray(rows, float) for rows in INPUTS.values())
    values = constrained(init(x[0].shape[-1], dtype=float), x[0].shape[-1])

    def loss(values, x):
        outputs, _, seen = run(values, x)
        return sum((jnp.cos(jnp.arange(o.size)).reshape(o.shape) * o).sum() for o in outputs), (outputs, seen)

    slopes, (outputs, seen) = jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))(values, x)
    found = {("output", n): o for n, o in zip(OUTPUTS, outputs)} | {("state", n): s for n, s in zip(TRACE, seen)}
    found |= {("gradient", "p." + n): g for n, g in slopes[0].items()}
    found |= {("gradient", "x." + n): g for n, g in zip(INPUTS, slopes[1])}
    rows = []
    for kind, name, index, expected in REFERENCE:
        array = found[kind, name]
        got = float(array[index])
        rows.append((kind, name, index, expected, got, abs(got - expected) / max(float(jnp.abs(array).max()), 1e-300)))
    return rows
'''


def standalone_jax(spec: NeuronSpec, program: Program, dt: float) -> str:
    """The text of the file."""
    found = reference(spec, program, dt)
    transforms = resources.files("neuroode.solvers.on_numpy").joinpath("transforms.py").read_text("utf-8")
    sums = "\n    inputs = with_sums(values, dt, inputs)" if program.sums else ""
    parts = (
        header(spec, program, dt, found),
        jax_source(program),
        sums_text(program, JAX, weights_over_time(spec)),
        transforms.partition("import annotations\n")[2],
        data(spec, program, dt, found),
        MODULE.format(inputs=", ".join(program.fed), sums=sums),
        CHECK,
        REPORT,
    )
    return "\n\n\n".join(part.strip("\n") for part in parts if part) + "\n"
