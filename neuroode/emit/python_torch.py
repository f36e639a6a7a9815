"""Torch source text from a program: `prologue`, `step`, and what they need. The text runs without neuroode."""

from __future__ import annotations

import re
from importlib import resources

from neuroode._errors import LoweringError
from neuroode.program.builder import live
from neuroode.program.types import Assign, Program

INFIX = {"add": "+", "sub": "-", "mul": "*", "div": "/"}
UNARY = {
    "exp": "torch.exp", "expm1": "torch.expm1", "log": "torch.log", "log1p": "torch.log1p", "sqrt": "torch.sqrt",
    "sin": "torch.sin", "cos": "torch.cos", "tan": "torch.tan", "sinh": "torch.sinh", "cosh": "torch.cosh",
    "tanh": "torch.tanh", "sigmoid": "torch.sigmoid", "erf": "torch.erf", "abs": "torch.abs", "sign": "torch.sign",
    "floor": "torch.floor", "ceil": "torch.ceil", "round": "torch.round",
}  # fmt: skip

SUPPORT = '''
def reset(e, target, x):
    """target where e is 1, else x; the gradient is that of x + e*(target - x)."""
    chosen = torch.where(e.detach() != 0, target, x)
    if not differentiated(e):
        return chosen
    jump = target - x
    return chosen + (e - e.detach()) * torch.where(jump.isfinite(), jump, torch.zeros_like(jump))


def event(margin, strict, slope):
    """1 where the margin passes; `slope()` is the surrogate's derivative, read only where a gradient is needed."""
    bit = (margin > 0 if strict else margin >= 0).to(margin.dtype)
    if not differentiated(margin):
        return bit
    fine, first = margin.isfinite(), slope()
    finite = torch.where(fine, margin, torch.zeros_like(margin))  # inf - inf would be nan
    rise = (first + first.detach()) / 2 * (finite - finite.detach())  # halves: a second derivative counts once
    return bit + torch.where(fine, rise, torch.zeros_like(rise))


def differentiated(x):
    """Whether a derivative is asked for, in reverse or in forward mode."""
    return x.requires_grad or torch.autograd.forward_ad._current_level >= 0


def number(value, like):
    """A literal as a tensor."""
    return torch.as_tensor(value, dtype=like.dtype, device=like.device)
'''


def special_text() -> str:
    """The text of the special functions, without its own header."""
    text = resources.files("neuroode.solvers.on_torch").joinpath("special_torch.py").read_text("utf-8")
    return text.partition("import torch\n")[2]


def torch_source(program: Program) -> str:
    """Source of `prologue(p, dt)`, `step(coefficients, carry, inputs)` and their support.

    `prologue` takes constrained parameters by slot name and gives (coefficients, inits); `step` gives (outputs, next,
    trace).
    """
    uses_special = any(a.op in ("phi", "cphi_re", "cphi_im", "pair", "edd", "expm") for a in _all(program))
    parts = [
        "import math\n\nimport torch\n",
        SUPPORT,
        special_text() if uses_special else "",
        _prologue(program),
        _step(program),
    ]
    return "\n".join(p.strip("\n") + "\n\n" for p in parts if p).rstrip() + "\n"


def _all(program: Program) -> tuple[Assign, ...]:
    return (*program.prologue, *program.body, *(a for s in program.events for a in s.slope))


def _prologue(program: Program) -> str:
    name = _Names({p.name: f"p[{p.name[2:]!r}]" for p in program.parameters} | {"dt": "dt"})
    rows = [_assign(a, name, "dt") for a in program.prologue]
    coefficients = _tuple(name[c.name] for c in program.coefficients)
    inits = _tuple(name.tensor(s.init, "dt") for s in program.carry)
    doc = '"""Once per call: what the step reads of the parameters, and the first carry."""'
    return _function("prologue(p, dt)", doc, [*rows, f"return {coefficients}, {inits}"])


def _step(program: Program) -> str:
    name = _Names({})
    coefficients = [name.local(c.name, "k", c.name.removeprefix("p.")) for c in program.coefficients]
    carry = [name.local(f"c.{s.name}", "c", s.name) for s in program.carry]
    inputs = [name.local(f"x.{n}", "x", n) for n in program.inputs]
    rows = [
        f"{_targets(names)} = {source}"
        for names, source in ((coefficients, "coefficients"), (carry, "carry"), (inputs, "inputs"))
        if names
    ]
    like = (inputs or carry)[0]
    slots = {s.name: s for s in program.events}
    for a in program.body:
        rows += _event(a, slots, name, like) if a.op == "event" else [_assign(a, name, like)]
    results = [
        _tuple(name.tensor(v, like) for _, v in group) for group in (program.outputs, program.next, program.trace)
    ]
    doc = '"""One step: (outputs, next carry, trace)."""'
    return _function("step(coefficients, carry, inputs)", doc, [*rows, f"return {', '.join(results)}"])


def _function(signature: str, doc: str, rows: list[str]) -> str:
    return "\n".join([f"def {signature}:", f"    {doc}", *(f"    {r}" for r in rows if r)])


def _event(a: Assign, slots: dict, name: _Names, like: str) -> list[str]:
    slot = slots[a.value]
    inner = [_assign(x, name, like) for x in live(slot.slope, [slot.slope_id])]
    surrogate = f"slope_{re.sub(r'[^A-Za-z0-9]', '_', slot.name)}"
    target = name.assign(a.name)
    margin = name.tensor(a.args[0], like)
    rows = [f"def {surrogate}():", *(f"    {r}" for r in inner if r), f"    return {name.tensor(slot.slope_id, like)}"]
    return [*rows, f"{target} = event({margin}, {slot.strict}, {surrogate})"]


def _assign(a: Assign, name: _Names, like: str) -> str:
    if a.op == "const":
        name.literal(a.name, float(a.value))  # type: ignore[arg-type]
        return ""
    text = _text(a, name, like)
    return f"{name.assign(a.name)} = {text}"


def _text(a: Assign, name: _Names, like: str) -> str:
    args = [name[x] for x in a.args]
    if a.op in INFIX:
        return f"{args[0]} {INFIX[a.op]} {args[1]}"
    if a.op == "neg":
        return f"-{args[0]}"
    if a.op == "ipow":
        return f"{args[0]} ** {a.value}"
    tensors = [name.tensor(x, like) for x in a.args]
    if a.op in UNARY:
        return f"{UNARY[a.op]}({tensors[0]})"
    if a.op == "softplus":
        return f"torch.logaddexp({tensors[0]}, number(0.0, {tensors[0]}))"
    if a.op in SPECIAL:
        return SPECIAL[a.op](a.value, tensors)
    raise LoweringError(f"no torch text for op {a.op!r}")


def _compare(sign: str):
    return lambda value, t: f"({t[0]} {sign} {t[1]}).to({t[0]}.dtype)"


SPECIAL = {
    "pow": lambda value, t: f"torch.pow({t[0]}, {t[1]})",
    "atan2": lambda value, t: f"torch.atan2({t[0]}, {t[1]})",
    "gt": _compare(">"),
    "ge": _compare(">="),
    "min": lambda value, t: f"torch.where({t[1]} > {t[0]}, {t[0]}, {t[1]})",
    "max": lambda value, t: f"torch.where({t[0]} > {t[1]}, {t[0]}, {t[1]})",
    "where": lambda value, t: f"torch.where({t[0]} != 0, {t[1]}, {t[2]})",
    "reset": lambda value, t: f"reset({', '.join(t)})",
    "detach": lambda value, t: f"{t[0]}.detach()",
    "phi": lambda value, t: f"phi({value}, {t[0]})",
    "cphi_re": lambda value, t: f"cphi({value}, {t[0]}, {t[1]}).real",
    "cphi_im": lambda value, t: f"cphi({value}, {t[0]}, {t[1]}).imag",
    "pair": lambda value, t: f"pair({value[0]}, {t[0]}, {t[1]})[{'CS'.index(value[1])}]",
    "edd": lambda value, t: f"edd({', '.join(t)})",
    "expm": lambda value, t: f"expm({value[0]}, {', '.join(t)})[..., {value[1]}, {value[2]}]",
}


class _Names(dict[str, str]):
    """Value name -> text. Every local is a letter, digits and what it stands for, so no declared name can clash."""

    def __init__(self, start: dict[str, str]) -> None:
        super().__init__(start)
        self._literals: set[str] = set()
        self._count = 0

    def assign(self, value: str) -> str:
        self[value] = f"v{self._count}"
        self._count += 1
        return self[value]

    def local(self, value: str, letter: str, readable: str) -> str:
        tail = re.sub(r"[^A-Za-z0-9]+", "_", readable).strip("_")
        self[value] = f"{letter}{len(self)}_{tail}"
        return self[value]

    def literal(self, value: str, number: float) -> None:
        text = repr(number).replace("inf", "math.inf").replace("nan", "math.nan")
        self[value] = text if number >= 0 else f"({text})"
        self._literals.add(value)

    def tensor(self, value: str, like: str) -> str:
        return f"number({self[value]}, {like})" if value in self._literals else self[value]


def _tuple(items) -> str:
    listed = list(items)
    return f"({', '.join(listed)}{',' if len(listed) == 1 else ''})"


def _targets(names: list[str]) -> str:
    return ", ".join(names) + ("," if len(names) == 1 else "")
