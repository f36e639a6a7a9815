"""Text of the sums over the whole sequence in stand-alone files: pointwise functions, and one contraction each."""

from __future__ import annotations

from neuroode.emit.python import Dialect, prologue_text, step_text
from neuroode.program.types import CLOCK, Program
from neuroode.system.sequences import EARLIER, STEP

#: by framework: a cast, and the numbers of the steps
WORDS = {
    "torch": {"to": "to", "at": "torch.arange(len(like), dtype=like.dtype, device=like.device)", "xp": "torch"},
    "jax": {"to": "astype", "at": "jnp.arange(len(like), dtype=like.dtype)", "xp": "jnp"},
}

FUNCTIONS = '''
def with_sums(p, dt, inputs):
    """The inputs (T, B, size) followed by the sums over the whole sequence: weight (tau, t) times value (tau)."""
    known, like = dict(zip(GIVEN, inputs)), inputs[0]
    zero = {xp}.zeros_like(like[:, 0, :1])
    for name, weight, value in SUMS:
        w = evaluated(p, dt, weight, [of_pairs(p, known, n, like) for n in weight[0]], like)
        v = evaluated(p, dt, value, [of_steps(p, known, n, like) for n in value[0]], like)
        w, v = w + zero[:, None] + zero, v + {xp}.zeros_like(like)
        known[name] = {xp}.einsum("st...,sb...->tb...", w, v)
    return inputs + tuple(known[name] for name, _, _ in SUMS)


def evaluated(p, dt, program, inputs, like):
    _, prologue, step = program
    coefficients = tuple(c.{to}(like.dtype) for c in prologue(p, dt)[0])
    return step(coefficients, (), tuple(inputs))[0][0]


def of_pairs(p, known, name, like):
    """An input of a weight over (tau, t, size)."""
    at = {at}[:, None, None]
    if name in CLOCKS:
        return at if name == CLOCKS[0] else at.swapaxes(0, 1)
    return weight_of(p, name, like) if name in WEIGHTS else known[name].swapaxes(0, 1)[:1]


def of_steps(p, known, name, like):
    """An input of a value over (tau, B, size); `x@2` is x two steps before."""
    base, _, lag = name.partition("@")
    if base in CLOCKS:
        return {at}[:, None, None]
    x, lag = weight_of(p, base, like) if base in WEIGHTS else known[base], int(lag or 0)
    return {xp}.concatenate([{xp}.zeros_like(x[:lag]), x[: len(x) - lag]]) if lag else x


def weight_of(p, name, like):
    """A parameter over the sequence, its first steps: (tau, t or 1, size or 1)."""
    x, steps = p[name].{to}(like.dtype), len(like)
    x = x[:steps, :steps] if WEIGHTS[name] else x[:steps][:, None]
    return x if x.ndim == 3 else x[..., None]
'''


def sums_text(program: Program, dialect: Dialect, weights: dict[str, bool]) -> str:
    """`with_sums(p, dt, inputs)` and what it needs; nothing where the program has no sums.

    Args:
        weights: names of parameters over the sequence, and whether they are over (tau, time) or tau alone.
    """
    if not program.sums:
        return ""
    parts, rows = [], []
    for i, each in enumerate(program.sums):
        found = []
        for kind, sub in (("weight", each.weight), ("value", each.value)):
            name = f"{kind}_{i}"
            parts += [_named(prologue_text(sub, dialect), name), _named(step_text(sub, dialect), name)]
            found.append(f"({sub.inputs!r}, {name}_prologue, {name}_step)")
        rows.append(f"    ({each.name!r}, {', '.join(found)}),")
    names = [
        f"GIVEN = {program.fed!r}", f"CLOCKS = {(EARLIER, STEP, CLOCK)!r}",
        f"WEIGHTS = {weights!r}  # name: over (tau, t), or over tau alone", "SUMS = [", *rows, "]",
    ]  # fmt: skip
    functions = FUNCTIONS.strip("\n").format(**WORDS[dialect.framework])
    return "\n\n\n".join([*parts, "\n".join(names), functions])


def _named(text: str, name: str) -> str:
    return text.replace("def prologue(", f"def {name}_prologue(", 1).replace("def step(", f"def {name}_step(", 1)
