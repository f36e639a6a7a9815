"""The claims of a paper, read from its claims.yaml: what is said, where, and which relations our figures must meet."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

from neuroode._errors import RunError
from neuroode.spec.read_yaml import tree_of
from neuroode.spec.schema import Key
from neuroode.spec.tree import Seq, Tree, boolean, choice, did_you_mean, fields_of, mapping, refuse, text_of

HOME = Path(__file__).parent
OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "==": operator.eq, "!=": operator.ne, "<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt,
}  # fmt: skip
MARKS = ("seen", "derived")
PAPER_KEYS = (
    Key("paper", "text", "", "its title"),
    Key("cite", "text", "", "where it can be opened"),
    Key("read", "text", "", "which of its texts and code were read"),
    Key("claims", "list", "", "one mapping a claim"),
)
CLAIM_KEYS = (
    Key("id", "name", "", "one word, unlike the others"),
    Key("claim", "text", "", "one sentence"),
    Key("source", "text", "", "section, equation, table or file"),
    Key("mark", "seen | derived", "", "seen: the paper says so; derived: it follows by our own algebra"),
    Key("paper", "text", "-", "the paper's figure"),
    Key("check", "MODULE.FUNCTION", "", "in the folder of the paper; returns our figures by name"),
    Key("holds", "figure: relation", "", "what our figures meet if the claim is true"),
    Key("instead", "figure: relation", "", "what they meet if the published text is wrong: both sides of the evidence"),
    Key("right", "text", "", "only beside instead: what is right"),
    Key("slow", "true | false", "false", "takes longer than a few seconds"),
)


@dataclass(frozen=True, slots=True)
class Relation:
    """A figure compared with a number: `<= 1e-12`."""

    figure: str
    operator: str
    bound: float

    def met(self, figures: Mapping[str, float]) -> bool:
        """Whether it holds; a figure that is no finite number meets nothing."""
        found = figures[self.figure]
        return isfinite(found) and OPERATORS[self.operator](found, self.bound)

    def __str__(self) -> str:
        return f"{self.operator} {self.bound:g}"


@dataclass(frozen=True, slots=True)
class Claim:
    """One row. `instead` is empty unless we show an error of the text; `right` then says what is right."""

    id: str
    claim: str
    source: str
    mark: str
    paper: str
    check: str
    holds: tuple[Relation, ...]
    instead: tuple[Relation, ...]
    right: str
    slow: bool


@dataclass(frozen=True, slots=True)
class Paper:
    """`name` is that of its folder."""

    name: str
    title: str
    cite: str
    read: str
    claims: tuple[Claim, ...]

    @property
    def page(self) -> Path:
        return HOME / self.name / "README.md"


def names() -> list[str]:
    """The papers that have claims."""
    return sorted(file.parent.name for file in HOME.glob("*/claims.yaml"))


def read(name: str) -> Paper:
    """The claims of a paper.

    Raises:
        RunError: no such paper.
        SpecError: its claims.yaml is wrong.
    """
    if name not in names():
        hint = did_you_mean(name, names(), "papers: " + ", ".join(names()))
        raise RunError(f"no paper '{name}' with claims", hint=hint)
    file = HOME / name / "claims.yaml"
    return read_text(file.read_text(encoding="utf-8"), str(file), name)


def read_text(text: str, file: str, name: str) -> Paper:
    """The claims in a text; `file` is what errors call it.

    Raises:
        SpecError: an unknown key, a missing one, or a value that is none of the allowed.
    """
    tree = tree_of(text, file)
    keys = fields_of(tree, PAPER_KEYS, "the file")
    title, cite, seen = (text_of(_required(keys, k, tree), k) for k in ("paper", "cite", "read"))
    rows = _required(keys, "claims", tree)
    if not isinstance(rows, Seq) or not rows.items:
        refuse(rows, "claims is not a list", "write `- id: NAME` for each")
    claims: dict[str, Claim] = {}
    for row in rows.items:
        one = _claim(row)
        if one.id in claims:
            refuse(row, f"the claim '{one.id}' stands twice")
        claims[one.id] = one
    return Paper(name, title, cite, seen, tuple(claims.values()))


def _required(keys: Mapping[str, Tree], key: str, node: Tree) -> Tree:
    return keys[key] if key in keys else refuse(node, f"the key '{key}' is missing")


def _claim(node: Tree) -> Claim:
    keys = fields_of(node, CLAIM_KEYS, "a claim")
    texts = {k: text_of(_required(keys, k, node), k) for k in ("id", "claim", "source", "check")}
    if not re.fullmatch(r"check\w*\.\w+", texts["check"]):
        refuse(keys["check"], f"check is '{texts['check']}'", "write checks.FUNCTION or checks_torch.FUNCTION")
    mark = choice(_required(keys, "mark", node), "mark", MARKS)
    instead = _relations(keys["instead"]) if "instead" in keys else ()
    if instead and mark != "seen":
        refuse(keys["instead"], f"'{texts['id']}' is derived", "only what the paper says can be an error of its text")
    if ("instead" in keys) != ("right" in keys):
        refuse(node, f"'{texts['id']}' has only one of instead and right", "an erratum says what is right and shows it")
    return Claim(
        **texts,
        mark=mark,
        paper=text_of(keys["paper"], "paper") if "paper" in keys else "–",
        holds=_relations(_required(keys, "holds", node)),
        instead=instead,
        right=text_of(keys["right"], "right") if "right" in keys else "",
        slow=boolean(keys["slow"], "slow") if "slow" in keys else False,
    )


def _relations(node: Tree) -> tuple[Relation, ...]:
    found = mapping(node, "relations", "write FIGURE: <= 1e-12")
    if not found.entries:
        refuse(node, "no relation", "write FIGURE: <= 1e-12")
    return tuple(_relation(key.text, value) for key, value in found.entries)


def _relation(figure: str, value: Tree) -> Relation:
    text = text_of(value, f"'{figure}'")
    match = re.fullmatch(r"(==|!=|<=|>=|<|>)\s*([-+]?[0-9.]+(?:e[-+]?[0-9]+)?)", text)
    if match is None:
        refuse(
            value, f"'{figure}' is '{text}', not a relation", "write one of " + " ".join(OPERATORS) + " and a number"
        )
    return Relation(figure, match[1], float(match[2]))
