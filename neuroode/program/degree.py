"""How values of a step depend on some of its states: not at all, affinely, or otherwise. By structure alone."""

from __future__ import annotations

from collections.abc import Iterable

from neuroode.program.types import CLOCK, Assign, Program

NONE, AFFINE, OTHER = 0, 1, 2
#: op -> how a sentence names it
WORDS = {
    "mul": "a product of states", "div": "a division by a state", "where": "a choice by a state",
    "reset": "a reset by an event of its own", "gt": "a comparison of a state", "ge": "a comparison of a state",
    "event": "an event of its own",
    "ipow": "a power of a state", "pow": "a power of a state",
}  # fmt: skip


def degrees(body: Iterable[Assign], own: Iterable[str]) -> dict[str, int]:
    """The degree of every value that depends on one of `own`."""
    found = dict.fromkeys(own, AFFINE)
    for a in body:
        degree = _degree(a, [found.get(x, NONE) for x in a.args])
        if degree:
            found[a.name] = degree
    return found


def bend(body: tuple[Assign, ...], own: Iterable[str], root: str) -> str:
    """What makes `root` not affine in `own`, in words."""
    found = degrees(body, own)
    needed, words = {root}, ""
    for a in reversed(body):
        if a.name in needed:
            needed.update(a.args)
            if found.get(a.name) == OTHER and all(found.get(x, NONE) != OTHER for x in a.args):
                words = WORDS.get(a.op, f"{a.op} of a state")
    return words


def bent_step(program: Program) -> str:
    """What makes a step not affine in states, inputs and noise together, in words; empty where it is affine."""
    own = [*(f"c.{s.name}" for s in program.carry), *(f"x.{n}" for n in program.inputs if n != CLOCK)]
    found = degrees(program.body, own)
    bent = [value for _, value in program.next if found.get(value) == OTHER]
    return bend(program.body, own, bent[0]) if bent else ""


def _degree(a: Assign, args: list[int]) -> int:
    largest = max(args, default=NONE)
    if not largest or largest == OTHER:
        return largest
    if a.op in ("add", "sub", "neg", "detach"):
        return AFFINE
    if a.op == "mul":
        return AFFINE if sum(args) == 1 else OTHER
    if a.op == "div":
        return AFFINE if args[1] == NONE else OTHER
    if a.op in ("where", "reset"):
        return AFFINE if args[0] == NONE else OTHER
    return OTHER
