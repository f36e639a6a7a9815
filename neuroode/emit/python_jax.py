"""Jax source text from a program: `prologue`, `step`, and what they need. The text runs without neuroode."""

from __future__ import annotations

from importlib import resources

from neuroode.emit.python import Dialect, joined_parts, prologue_text, step_text, uses_special
from neuroode.program.types import EventSlot, Program

UNARY = {
    "exp": "jnp.exp", "expm1": "jnp.expm1", "log": "jnp.log", "log1p": "jnp.log1p", "sqrt": "jnp.sqrt",
    "sin": "jnp.sin", "cos": "jnp.cos", "tan": "jnp.tan", "sinh": "jnp.sinh", "cosh": "jnp.cosh",
    "tanh": "jnp.tanh", "sigmoid": "jax.nn.sigmoid", "erf": "jax.scipy.special.erf",
    "sign": "jnp.sign", "floor": "jnp.floor", "ceil": "jnp.ceil", "round": "jnp.round",
}  # fmt: skip

SUPPORT = '''
@jax.custom_jvp
def reset(e, target, x):
    """target where e is 1, else x; the gradient is that of x + e*(target - x)."""
    return jnp.where(e != 0, target, x)


@reset.defjvp
def _reset_slope(primals, tangents):
    (e, target, x), (te, tt, tx) = primals, tangents
    jump = target - x
    return reset(e, target, x), (1 - e) * tx + e * tt + te * jnp.where(jnp.isfinite(jump), jump, 0)


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def event(margin, strict, slope):
    """1 where the margin passes; `slope` is the surrogate's derivative at the margin."""
    return (margin > 0 if strict else margin >= 0).astype(margin.dtype)


@event.defjvp
def _event_slope(strict, primals, tangents):
    (margin, slope), (t, _) = primals, tangents
    return event(margin, strict, slope), t * jnp.where(jnp.isfinite(margin), slope, 0)


def arctan2(y, x):
    """With gradient 0 at the origin, not nan."""
    origin = (x == 0) & (y == 0)
    value = jnp.arctan2(y, jnp.where(origin, 1, x))
    return jnp.where(origin, jax.lax.stop_gradient(jnp.arctan2(y, x)), value)


def number(value, like):
    """A literal as an array."""
    return jnp.asarray(value, like.dtype)
'''


def pasted(name: str) -> str:
    """The text of a file of `solvers/on_jax` without its own header."""
    text = resources.files("neuroode.solvers.on_jax").joinpath(name).read_text("utf-8")
    return text.rpartition("\nimport jax\n")[2].removeprefix("import jax.numpy as jnp\n")


def jax_source(program: Program) -> str:
    """Source of `prologue(p, dt)`, `step(coefficients, carry, inputs)`, `scan` and their support.

    `prologue` takes constrained parameters by slot name and gives (coefficients, inits); `step` gives (outputs, next,
    trace). The slope of a surrogate is computed beside its event; where no gradient is taken, the compiler drops it.
    """
    parts = [
        "import functools\nimport math\n\nimport jax\nimport jax.numpy as jnp\n",
        SUPPORT,
        pasted("special_jax.py") if uses_special(program) else "",
        pasted("scan_jax.py"),
        prologue_text(program, JAX),
        step_text(program, JAX),
    ]
    return joined_parts(parts)


def _event(target: str, margin: str, slot: EventSlot, inner: list[str], slope: str) -> list[str]:
    return [*inner, f"{target} = event({margin}, {slot.strict}, {slope})"]


def _compare(sign: str):
    return lambda value, t: f"({t[0]} {sign} {t[1]}).astype({t[0]}.dtype)"


def _unary(function: str):
    return lambda value, t: f"{function}({t[0]})"


def _pair(value, t):
    k, part = value
    if part in "CS":
        return f"pair({k}, {t[0]}, {t[1]})[{'CS'.index(part)}]"
    return f"pair_slope({k}, {part!r}, {t[0]}, {t[1]})"


OTHERS = {
    "softplus": lambda value, t: f"jnp.logaddexp({t[0]}, number(0.0, {t[0]}))",
    "pow": lambda value, t: f"jnp.power({t[0]}, {t[1]})",
    "atan2": lambda value, t: f"arctan2({t[0]}, {t[1]})",
    "gt": _compare(">"),
    "ge": _compare(">="),
    "abs": lambda value, t: f"{t[0]} * jnp.sign({t[0]})",  # jnp.abs has the slope 1 at 0
    "min": lambda value, t: f"jnp.where(({t[1]} > {t[0]}) | jnp.isnan({t[0]}), {t[0]}, {t[1]})",
    "max": lambda value, t: f"jnp.where(({t[0]} > {t[1]}) | jnp.isnan({t[0]}), {t[0]}, {t[1]})",
    "where": lambda value, t: f"jnp.where({t[0]} != 0, {t[1]}, {t[2]})",
    "reset": lambda value, t: f"reset({', '.join(t)})",
    "detach": lambda value, t: f"jax.lax.stop_gradient({t[0]})",
    "phi": lambda value, t: f"phi({value}, {t[0]})",
    "cphi_re": lambda value, t: f"cphi({value}, {t[0]}, {t[1]}).real",
    "cphi_im": lambda value, t: f"cphi({value}, {t[0]}, {t[1]}).imag",
    "pair": _pair,
    "edd": lambda value, t: f"edd({', '.join(t)})",
    "expm": lambda value, t: f"expm({value[0]}, {', '.join(t)})[..., {value[1]}, {value[2]}]",
}


def _operator(name: str, x: str, like: str) -> str:
    return f"operators[{name!r}](jnp.broadcast_to({x}, {like}.shape))"


def _network(name: str, xs: list[str], like: str) -> str:
    wide = ", ".join(f"jnp.broadcast_to({x}, {like}.shape)" for x in xs)
    return f"operators[{name!r}](jnp.stack([{wide}], -1))"


JAX = Dialect("jax", {op: _unary(f) for op, f in UNARY.items()} | OTHERS, _event, _operator, _network)
