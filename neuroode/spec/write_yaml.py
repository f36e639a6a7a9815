"""Declarations to YAML text."""

from __future__ import annotations

import json
import re

from neuroode.spec.to_tree import to_tree
from neuroode.spec.tree import Map, Scalar, Seq, Tree
from neuroode.spec.types import NeuronSpec

_PLAIN = re.compile(r"(?:[A-Za-z0-9(.]|-(?=[A-Za-z0-9(.]))[A-Za-z0-9_./^*+()<>= '-]*")
_UNPRINTED = re.compile("[\x7f-\x9f\u2028\u2029\ufeff]")  # JSON leaves them as they are, YAML wants them escaped
_BLOCKS = ("inputs", "states", "parameters", "events", "compat")
_LONG = 100


def to_yaml(spec: NeuronSpec) -> str:
    """The YAML text that reads back as this declaration; defaults are left out."""
    lines: list[str] = []
    for key, value in to_tree(spec).entries:
        lines += _top(key.text, value)
    return "\n".join(lines) + "\n"


def _top(key: str, value: Tree) -> list[str]:
    """One top-level key: equations as a block text, long sections an entry a line."""
    if key == "equations" and isinstance(value, Scalar):
        return ["equations: |", *("  " + line for line in value.text.splitlines())]
    whole = f"{key}: {_inline(value)}"
    if isinstance(value, Map) and (len(whole) > _LONG or key in _BLOCKS) and value.entries:
        return [f"{key}:", *(f"  {_inline(k)}: {_inline(v)}" for k, v in value.entries)]
    return [whole]


def _inline(node: Tree) -> str:
    if isinstance(node, Map):
        return "{" + ", ".join(f"{_inline(k)}: {_inline(v)}" for k, v in node.entries) + "}"
    if isinstance(node, Seq):
        return "[" + ", ".join(_inline(each) for each in node.items) + "]"
    return _scalar(node.text)


def _scalar(text: str) -> str:
    """The text plain where YAML reads it back as it is, in quotes otherwise."""
    if _PLAIN.fullmatch(text) and text == text.strip() and text:
        return text
    quoted = json.dumps(text, ensure_ascii=False)
    return _UNPRINTED.sub(lambda found: f"\\u{ord(found[0]):04x}", quoted)
