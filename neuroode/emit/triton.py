"""Program -> Triton: a kernel for a whole sequence, and one for its reverse.

One program instance runs a block of neighbouring lanes (samples times neurons, flattened) through all steps: carry and
coefficients stay in registers, each row of a step is read and written once, neighbours beside each other. `tl.range`
with stages has the compiler fetch the rows of later steps while this one is computed.

The reverse computes the states anew from checkpoints, CHUNK steps at a time, rather than reading them all back: the
chunk's states lie in a scratch array that the second-level cache holds, so that device memory sees the input twice
instead of every state. Events are not compared again (another kernel may round a margin otherwise): their bits
are kept, one word per lane, event and chunk.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from neuroode.emit.c_loops import event_values
from neuroode.emit.triton_ops import Part, maths_text
from neuroode.program.builder import live
from neuroode.program.types import Adjoint, Assign, Program

CHUNK = 32  # steps between checkpoints, and bits of a word
STAGES = 4  # rows of later steps under way while one is computed
FEW = 8  # rows a step from which fetching them ahead takes the registers that the step needs
SIZES = ("steps", "lanes", "neurons")  # whole numbers that every kernel is given, never specialised
BARRIER = ("tl.debug_barrier()",)
LIVE = ("if LENGTHS:", "    live = inside & (t < end)")
OPTIONS = ("REAL", "BLOCK", "LENGTHS", "STAGES")


@dataclass
class Shape:
    """What a launch must know of a program: `emit_triton` writes it as a literal beside the kernels.

    Attributes:
        coefficients: one per neuron? in the order of the program.
        trained: indices of the coefficients that get a gradient.
        saved: how many states the reverse reads of each step.
        checkpoints: how many it computes anew to know them.
        words: whether it reads events.
        stages: of the loops over steps.
    """

    inputs: int
    outputs: int
    carry: int
    events: int
    saved: int
    checkpoints: int
    words: bool
    coefficients: tuple[bool, ...]
    trained: tuple[int, ...]
    chunk: int = CHUNK
    stages: int = STAGES


@dataclass
class Kernels:
    """The functions of one program, and what its kernels read."""

    program: Program
    adjoint: Adjoint
    step: Part = field(init=False)
    replay: Part = field(init=False)
    reverse: Part = field(init=False)
    saved: list[int] = field(init=False)
    replayed: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.reverse = _reverse(self.program, self.adjoint)
        self.saved = [i for i, s in enumerate(self.program.carry) if f"c.{s.name}" in self.reverse.reads]
        self.replayed = _closure(self.program, self.saved)
        self.step = _step(self.program)
        self.replay = _replay(self.program, self.replayed)

    @property
    def words(self) -> bool:
        """Whether the reverse needs to know which events happened."""
        return any(n.startswith("e.") for n in (*self.reverse.reads, *self.replay.reads))

    def shape(self) -> Shape:
        place = {c.name: i for i, c in enumerate(self.program.coefficients)}
        rows = len(self.program.inputs) + len(self.program.outputs) + len(self.saved)
        return Shape(
            inputs=len(self.program.inputs),
            outputs=len(self.program.outputs),
            carry=len(self.program.carry),
            events=len(self.program.events),
            saved=len(self.saved),
            checkpoints=len(self.replayed),
            words=self.words,
            coefficients=tuple(c.level != "layer" for c in self.program.coefficients),
            trained=tuple(place[name] for name, _ in self.adjoint.coefficients),
            stages=STAGES if rows <= FEW else 1,
        )


def emit_triton(program: Program, adjoint: Adjoint) -> str:
    """Source of `forward_kernel` and `backward_kernel` and of what they call; needs `triton` and `tl`.

    Raises:
        Unsupported: an op that no kernel of this target computes, with its name.
    """
    kernels = Kernels(program, adjoint)
    parts = [p.text() for p in (kernels.step, kernels.replay, kernels.reverse) if p.results]
    frame = [_forward_kernel(kernels), _backward_kernel(kernels)]
    text = "\n\n\n".join([*parts, *frame])
    return "\n\n\n".join(p for p in (maths_text(text), text) if p)


def _outside(program: Program) -> list[str]:
    """Every name that a step or its reverse may read from outside, in order."""
    return [
        *(c.name for c in program.coefficients),
        *(f"c.{s.name}" for s in program.carry),
        *(f"x.{n}" for n in program.inputs),
        *(f"e.{e.name}" for e in program.events),
        *(f"g.out.{n}" for n, _ in program.outputs),
        *(f"g.next.{s.name}" for s in program.carry),
    ]


def _step(program: Program) -> Part:
    strict = {e.name: e.strict for e in program.events}
    compared = [
        Assign(a.name, "gt" if strict[str(a.value)] else "ge", (*a.args, "zero")) if a.op == "event" else a
        for a in program.body
    ]
    bits = event_values(program)
    results = [v for _, v in program.outputs] + [bits[e.name] for e in program.events] + [v for _, v in program.next]
    about = "One step: outputs, events, the carry after it."
    return Part("step", about, [Assign("zero", "const", (), 0.0), *compared], results, _outside(program))


def _replay(program: Program, slots: Sequence[int]) -> Part:
    bits = {value: f"e.{event}" for event, value in event_values(program).items()}
    assigns = [Assign(a.name, a.op, tuple(bits.get(x, x) for x in a.args), a.value) for a in program.body]
    results = [bits.get(program.next[i][1], program.next[i][1]) for i in slots]
    about = "The step with the events that it found: the carry after it."
    return Part("replay", about, [a for a in assigns if a.op != "event"], results, _outside(program))


def _reverse(program: Program, adjoint: Adjoint) -> Part:
    carry, inputs = dict(adjoint.carry), dict(adjoint.inputs)
    results = [carry.get(s.name, "zero") for s in program.carry] + [inputs.get(n, "zero") for n in program.inputs]
    results += [value for _, value in adjoint.coefficients]
    about = "Cotangents of what a step gave -> of the carry before it, of its inputs, of coefficients."
    return Part("reverse", about, [Assign("zero", "const", (), 0.0), *adjoint.assigns], results, _outside(program))


def _closure(program: Program, slots: Iterable[int]) -> list[int]:
    """These slots of the carry and those that their next values read."""
    place = {f"c.{s.name}": i for i, s in enumerate(program.carry)}
    found, queue = set(slots), list(slots)
    while queue:
        value = program.next[queue.pop()][1]
        read = {value} | {x for a in live(program.body, [value]) for x in a.args}
        more = {place[x] for x in read if x in place} - found
        found |= more
        queue += more
    return sorted(found)


def _numbered(name: str, count: int | Iterable[int]) -> list[str]:
    return [f"{name}{i}" for i in (range(count) if isinstance(count, int) else count)]


def _signature(name: str, arrays: Sequence[str], numbers: Sequence[str], options: Sequence[str]) -> list[str]:
    sizes = [*numbers, *SIZES]
    arguments = [*arrays, *sizes, *(f"{o}: tl.constexpr" for o in options)]
    return [f"@triton.jit(do_not_specialize=[{', '.join(map(repr, sizes))}])", f"def {name}({', '.join(arguments)}):"]


def _start(kernels: Kernels) -> list[str]:
    """Lanes of this block, and their coefficients."""
    lines = [
        "lane = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)",
        "inside = lane < lanes",
        "row = lanes.to(tl.int64)",
        "neuron = lane % neurons",
        "live = inside",
        "if LENGTHS:",
        "    end = tl.load(lengths + lane // neurons, mask=inside, other=0)",
    ]
    for i, c in enumerate(kernels.program.coefficients):
        place = "neuron * 0" if c.level == "layer" else "neuron"
        lines.append(f"k{i} = tl.load(coefficient{i} + {place}, mask=inside, other=0.0)")
    return lines


def _row(to: str, source: str, mask: str) -> str:
    return f"{to} = tl.load({source} + lane, mask={mask}, other=0.0)"


def _store(to: str, value: str, mask: str = "inside") -> str:
    return f"tl.store({to} + lane, {value}, mask={mask})"


def _indent(lines: Iterable[str], by: int = 1) -> list[str]:
    return ["    " * by + line for line in lines]


def _given(kernels: Kernels) -> dict[str, str]:
    """The local that holds each outside name."""
    program = kernels.program
    groups = (
        ([c.name for c in program.coefficients], "k"),
        ([f"c.{s.name}" for s in program.carry], "v"),
        ([f"x.{n}" for n in program.inputs], "x"),
        ([f"e.{e.name}" for e in program.events], "e"),
        ([f"g.out.{n}" for n, _ in program.outputs], "h"),
        ([f"g.next.{s.name}" for s in program.carry], "g"),
    )
    return {name: f"{letter}{i}" for names, letter in groups for i, name in enumerate(names)}


def _forward_kernel(kernels: Kernels) -> str:
    shape = kernels.shape()
    arrays = _numbered("input", shape.inputs) + _numbered("coefficient", len(shape.coefficients))
    arrays += _numbered("carry", shape.carry) + _numbered("output", shape.outputs) + _numbered("last", shape.carry)
    arrays += ["checkpoints", "words", "lengths"]
    head = _signature("forward_kernel", arrays, _numbered("stride", shape.inputs), ("KEEP", *OPTIONS))
    before = [_row(f"v{i}", f"carry{i}", "inside") for i in range(shape.carry)]
    if shape.words:
        before += [f"word{i} = tl.zeros([BLOCK], tl.int32)" for i in range(shape.events)]
    after = [_store(f"last{i}", f"v{i}") for i in range(shape.carry)]
    loop = ["for t in tl.range(0, steps, num_stages=STAGES):", *_indent(_forward_step(kernels, shape))]
    return "\n".join(
        [*head, '    """All steps of a block of lanes."""', *_indent([*_start(kernels), *before, *loop, *after])]
    )


def _forward_step(kernels: Kernels, shape: Shape) -> list[str]:
    outputs, events, after = (
        _numbered(n, k) for n, k in (("out", shape.outputs), ("e", shape.events), ("n", shape.carry))
    )
    lines = [*LIVE]
    lines += [_row(f"x{i}", f"input{i} + t * stride{i}.to(tl.int64)", "live") for i in range(shape.inputs)]
    if kernels.step.results:
        lines.append(kernels.step.call([*outputs, *events, *after], _given(kernels)))
    keep = _kept(kernels, shape)
    lines += ["if KEEP:", *_indent(keep)] if keep else []
    frozen = [f"{o} = tl.where(live, {o}, tl.zeros([BLOCK], REAL))" for o in outputs]
    frozen += [f"{n} = tl.where(live, {n}, v{i})" for i, n in enumerate(after)]
    lines += ["if LENGTHS:", *_indent(frozen)] if frozen else []
    lines += [_store(f"output{i} + t * row", o) for i, o in enumerate(outputs)]
    lines += [f"v{i} = {n}" for i, n in enumerate(after)]
    return lines


def _kept(kernels: Kernels, shape: Shape) -> list[str]:
    """The carry before every chunk, and the chunk's event bits behind it. Stores that are masked cost no memory."""
    lines = []
    if kernels.replayed:
        lines.append(f"first = inside & (t % {CHUNK} == 0)")
        for j, i in enumerate(kernels.replayed):
            lines.append(
                _store(f"checkpoints + (t // {CHUNK} * {len(kernels.replayed)} + {j}) * row", f"v{i}", "first")
            )
    if shape.words:
        lines.append(f"full = inside & ((t % {CHUNK} == {CHUNK - 1}) | (t == steps - 1))")
        for i in range(shape.events):
            place = f"words + (t // {CHUNK} * {shape.events} + {i}) * row"
            lines += [
                f"word{i} = word{i} | ((e{i} != 0).to(tl.int32) << (t % {CHUNK}))",
                _store(place, f"word{i}", "full"),
                f"word{i} = tl.where(full, 0, word{i})",
            ]
    return lines


def _backward_kernel(kernels: Kernels) -> str:
    shape = kernels.shape()
    arrays = _numbered("input", shape.inputs) + _numbered("coefficient", len(shape.coefficients))
    arrays += ["checkpoints", "words", "lengths", *_numbered("gout", shape.outputs), *_numbered("glast", shape.carry)]
    arrays += [*_numbered("ginput", shape.inputs), *_numbered("gcarry", shape.carry), "sums", "history"]
    strides = _numbered("stride", shape.inputs) + _numbered("gstride", shape.outputs)
    head = _signature("backward_kernel", arrays, strides, (*_numbered("WANTED", shape.inputs), *OPTIONS))
    trained = range(len(shape.trained))
    before = [_row(f"g{i}", f"glast{i}", "inside") for i in range(shape.carry)]
    before += [f"total{i} = tl.zeros([BLOCK], tl.float64)" for i in trained]
    before.append(f"chunks = (steps + {CHUNK - 1}) // {CHUNK}")
    after = [_store(f"gcarry{i}", f"g{i}") for i in range(shape.carry)]
    after += [_store(f"sums + {i} * row", f"total{i}") for i in trained]
    loop = ["for back in range(0, chunks):", *_indent(_backward_chunk(kernels, shape))]
    about = '    """The reverse of all steps of a block of lanes, chunk by chunk: states anew, then cotangents."""'
    return "\n".join([*head, about, *_indent([*_start(kernels), *before, *loop, *after])])


def _backward_chunk(kernels: Kernels, shape: Shape) -> list[str]:
    trained = range(len(shape.trained))
    lines = [
        "chunk = chunks - 1 - back",
        f"first = chunk * {CHUNK}",
        f"count = tl.minimum(steps - first, {CHUNK})",
    ]
    if shape.words:
        lines += [
            f"word{i} = tl.load(words + (chunk * {shape.events} + {i}) * row + lane, mask=inside, other=0)"
            for i in range(shape.events)
        ]
    lines += _replay_chunk(kernels, shape)
    lines += [f"sum{i} = tl.zeros([BLOCK], REAL)" for i in trained]
    lines += ["for i in tl.range(0, count, num_stages=STAGES):", *_indent(_reverse_step(kernels, shape))]
    lines += [f"total{i} += sum{i}.to(tl.float64)" for i in trained]
    return [*lines, *BARRIER] if kernels.saved else lines


def _replay_chunk(kernels: Kernels, shape: Shape) -> list[str]:
    """The states before each step of the chunk, into `history`; then a barrier: who loads may not be who stored."""
    if not kernels.saved:
        return []
    slots = kernels.replayed
    lines = [_row(f"v{i}", f"checkpoints + (chunk * {len(slots)} + {j}) * row", "inside") for j, i in enumerate(slots)]
    inner = [_store(f"history + (i * {shape.saved} + {j}) * row", f"v{slot}") for j, slot in enumerate(kernels.saved)]
    inner += ["t = first + i", *LIVE]
    inner += _read_step(kernels.replay.reads, kernels)
    inner.append(kernels.replay.call(_numbered("n", slots), _given(kernels)))
    inner += ["if LENGTHS:", *_indent(f"n{i} = tl.where(live, n{i}, v{i})" for i in slots)]
    inner += [f"v{i} = n{i}" for i in slots]
    return [
        *lines,
        "for i in tl.range(0, count, num_stages=STAGES):",
        *_indent(inner),
        *BARRIER,
    ]


def _read_step(reads: Sequence[str], kernels: Kernels) -> list[str]:
    """Inputs of a step and its events, as far as `reads` names them."""
    program = kernels.program
    lines = [
        _row(f"x{i}", f"input{i} + t * stride{i}.to(tl.int64)", "live")
        for i, n in enumerate(program.inputs)
        if f"x.{n}" in reads
    ]
    return lines + [
        f"e{i} = ((word{i} >> (t - first)) & 1).to(REAL)"
        for i, e in enumerate(program.events)
        if f"e.{e.name}" in reads
    ]


def _reverse_step(kernels: Kernels, shape: Shape) -> list[str]:
    program, reads = kernels.program, kernels.reverse.reads
    lines = ["t = first + count - 1 - i", *LIVE, *_read_step(reads, kernels)]
    lines += [
        _row(f"v{slot}", f"history + ((count - 1 - i) * {shape.saved} + {j}) * row", "inside")
        for j, slot in enumerate(kernels.saved)
    ]
    lines += [
        _row(f"h{i}", f"gout{i} + t * gstride{i}.to(tl.int64)", "live")
        for i, (n, _) in enumerate(program.outputs)
        if f"g.out.{n}" in reads
    ]
    names = (_numbered("b", shape.carry), _numbered("gx", shape.inputs), _numbered("part", len(shape.trained)))
    before, inputs, parts = names
    lines.append(kernels.reverse.call([*before, *inputs, *parts], _given(kernels)))
    zero = "tl.zeros([BLOCK], REAL)"
    frozen = [f"{b} = tl.where(live, {b}, g{i})" for i, b in enumerate(before)]
    frozen += [f"{x} = tl.where(live, {x}, {zero})" for x in (*inputs, *parts)]
    lines += ["if LENGTHS:", *_indent(frozen)]
    for i, x in enumerate(inputs):
        lines += [f"if WANTED{i}:", *_indent([_store(f"ginput{i} + t * row", x)])]
    lines += [f"sum{i} += {p}" for i, p in enumerate(parts)]
    return lines + [f"g{i} = {b}" for i, b in enumerate(before)]
