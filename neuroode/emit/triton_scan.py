"""A monoid of steps -> Triton: a scan over time, in tiles of (steps, lanes) whose rows are loaded lane beside lane.

Three kernels, as a scan within a program instance is not a scan over time yet: the chunks of CHUNK steps are composed,
each by itself (`reduce_kernel`); the state before each chunk follows from the composed ones (`carry_kernel`, in
float64, so that a state's rounding is that of its own chunk); each chunk is scanned again and applied to the state
before it (`scan_kernel`). Entries are read twice, states written once. Blelloch 1990, "Prefix sums and their
applications", section 1.4; Merrill and Grimshaw 2009 for reduce, then scan.
"""

from __future__ import annotations

from collections.abc import Sequence

from neuroode.emit.c_ops import Names
from neuroode.emit.triton_ops import expression, maths_text
from neuroode.program.monoid import Formula, Monoid

COMBINE = "The element of both steps."
APPLY = "The state after the step."


def emit_scan(monoid: Monoid) -> str:
    """Source of `reduce_kernel`, `carry_kernel` and `scan_kernel`; needs `triton` and `tl`.

    ADJOINT runs from the last step to the first, with the matrix of the step behind: lambda[t] = g[t] + J[t+1]'
    lambda[t+1]. The caller gives the entries of a matrix transposed; a complex one is conjugated here.
    """
    combine = _function("combine", COMBINE, monoid.compose, order=(1, 0))  # Triton passes the earlier element first
    apply = _function("apply", APPLY, monoid.apply, order=(0, 1))
    kernels = [_reduce_kernel(monoid), _carry_kernel(monoid), _scan_kernel(monoid)]
    text = "\n\n\n".join([combine, apply, *kernels])
    return "\n\n\n".join(p for p in (maths_text(text), text) if p)


def _function(name: str, about: str, formula: Formula, order: tuple[int, int]) -> str:
    """Inside a scan there are no blocks: a literal is a number, exact in either precision (they are 0 and 1)."""
    names = Names()
    literals = {a.name: repr(a.value) for a in formula.assigns if a.op == "const"}

    def text(value: str) -> str:
        return literals.get(value) or names(value)

    arguments = ", ".join(names(n) for i in order for n in formula.arguments[i])
    rows = [f"{names(a.name)} = {expression(a, [text(x) for x in a.args])}" for a in formula.assigns if a.op != "const"]
    rows = [r.replace(".to(REAL)", ".to(tl.float32)") for r in rows]  # a truth value, read by `where` alone
    results = ", ".join(map(text, formula.results))
    body = [f'"""{about}"""', *rows, f"return {results}"]
    return "\n".join(["@triton.jit", f"def {name}({arguments}):", *(f"    {row}" for row in body)])


def _several(name: str, count: int) -> list[str]:
    return [f"{name}{i}" for i in range(count)]


def _kernel(
    name: str, about: str, arrays: Sequence[str], numbers: Sequence[str], body: Sequence[str],
    options: Sequence[str] = ("ADJOINT", "CHUNK", "LANES"),
) -> str:  # fmt: skip
    arguments = ", ".join([*arrays, *numbers, *(f"{o}: tl.constexpr" for o in options)])
    head = [f"@triton.jit(do_not_specialize=[{', '.join(map(repr, numbers))}])", f"def {name}({arguments}):"]
    return "\n".join([*head, f'    """{about}"""', *(f"    {line}" for line in body)])


def _lanes(axis: int) -> list[str]:
    return [
        f"lane = tl.program_id({axis}).to(tl.int64) * LANES + tl.arange(0, LANES)",
        "inside = lane < lanes",
        "row = lanes.to(tl.int64)",
    ]


def _loads(monoid: Monoid) -> list[str]:
    """The elements of a chunk, in the order of the scan; the identity where there is no step."""
    lines = [
        "chunk = tl.program_id(0)",
        *_lanes(1),
        "at = chunk * CHUNK + tl.arange(0, CHUNK)",
        "t = at",
        "if ADJOINT:",
        "    t = steps - 1 - at",
        "here = (at < steps)[:, None] & inside[None, :]",
        "ahead = here",
        "source = t",
        "if ADJOINT:",
        "    source = t + 1",
        "    ahead = here & (source < steps)[:, None]",
    ]
    for i, one in enumerate(monoid.identity):
        time, mask = ("source", "ahead") if i < monoid.matrix else ("t", "here")
        place = f"element{i} + {time}[:, None] * stride{i}.to(tl.int64) + lane[None, :] * apart{i}"
        lines.append(f"e{i} = tl.load({place}, mask={mask}, other={one})")
    if monoid.name == "complex":
        lines += ["if ADJOINT:", "    e1 = -e1"]
    return lines


def _scanned(monoid: Monoid) -> str:
    entries = ", ".join(_several("e", len(monoid.element)))
    return f"{entries} = tl.associative_scan(({entries}), 0, combine)"


def _applied(monoid: Monoid) -> str:
    targets = ", ".join(_several("s", len(monoid.state)))
    arguments = [*_several("e", len(monoid.element)), *(f"v{i}[None, :]" for i in range(len(monoid.state)))]
    return f"{targets} = apply({', '.join(arguments)})"


def _last(value: str, dtype: str = "") -> str:
    """The last row of a tile."""
    return f"tl.sum(tl.where((tl.arange(0, CHUNK) == CHUNK - 1)[:, None], {value}, {value} * 0), 0){dtype}"


def _sources(monoid: Monoid) -> tuple[list[str], list[str]]:
    n = len(monoid.element)
    return _several("element", n), [*_several("stride", n), *_several("apart", n), "steps", "lanes"]


def _reduce_kernel(monoid: Monoid) -> str:
    n = len(monoid.element)
    arrays, numbers = _sources(monoid)
    body = [*_loads(monoid), _scanned(monoid)]
    body += [f"place = aggregates + chunk.to(tl.int64) * {n} * row + lane"]
    body += [f"tl.store(place + {i} * row, {_last(f'e{i}')}, mask=inside)" for i in range(n)]
    return _kernel("reduce_kernel", "The composed steps of each chunk.", [*arrays, "aggregates"], numbers, body)


def _carry_kernel(monoid: Monoid) -> str:
    """Chunks are few, so this is a loop: a tile of composed chunks would take more registers than it saves steps."""
    n, m = len(monoid.element), len(monoid.state)
    states = ", ".join(_several("v", m))
    loop = [
        f"to = starts + chunk * {m} * row + lane",
        *(f"tl.store(to + {j} * row, v{j}, mask=inside)" for j in range(m)),
        f"place = aggregates + chunk * {n} * row + lane",
        *(f"e{i} = tl.load(place + {i} * row, mask=inside, other={one})" for i, one in enumerate(monoid.identity)),
        f"{states} = apply({', '.join(_several('e', n))}, {states})",
    ]
    body = [
        *_lanes(0),
        *(f"v{j} = tl.load(start{j} + lane, mask=inside, other=0.0).to(tl.float64)" for j in range(m)),
        "for chunk in tl.range(0, chunks, num_stages=STAGES):",
        *(f"    {line}" for line in loop),
    ]
    arrays = ["aggregates", *_several("start", m), "starts"]
    return _kernel(
        "carry_kernel", "The state before each chunk.", arrays, ["chunks", "lanes"], body, ("STAGES", "LANES")
    )


def _scan_kernel(monoid: Monoid) -> str:
    m = len(monoid.state)
    arrays, numbers = _sources(monoid)
    body = [
        *_loads(monoid),
        _scanned(monoid),
        f"place = starts + chunk.to(tl.int64) * {m} * row + lane",
        *(f"v{j} = tl.load(place + {j} * row, mask=inside, other=0.0)" for j in range(m)),
        _applied(monoid),
        "to = t.to(tl.int64)[:, None] * row + lane[None, :]",
        *(f"tl.store(output{j} + to, s{j}, mask=here)" for j in range(m)),
    ]
    return _kernel(
        "scan_kernel", "The state after each step.", [*arrays, "starts", *_several("output", m)], numbers, body
    )
