"""Inheritance and compat: changes to a tree by name, before it is read."""

from __future__ import annotations

from collections.abc import Callable

from neuroode._errors import SpecError
from neuroode.expr.origin import Origin
from neuroode.expr.statements import parse_equations
from neuroode.expr.tokens import tokenize
from neuroode.spec import schema
from neuroode.spec.tree import Map, Scalar, Seq, Tree, did_you_mean, fields_of, items, mapping, refuse, text_of

MAX_CHAIN = 8
BY_NAME = ("inputs", "states", "parameters", "axes", "noise", "operators", "events", "compat")
Parent = Callable[[str, Scalar], tuple[Map, str]]


def resolve(tree: Map, file: str, compat: str | None, parent: Callable[[str, Scalar], tuple[Map, str]],
            chain: tuple[str, ...] = ()) -> Map:  # fmt: skip
    """The tree with `extends` and, if asked for, one entry of `compat` carried out.

    Raises:
        SpecError: a parent is missing or stands in its own line, or a change does not apply.
    """
    tree = _extend(tree, file, parent, chain)
    if compat is None:
        return tree
    node = tree.get("compat")
    entries = node if isinstance(node, Map) else Map((), tree.place)
    chosen = entries.get(compat)
    if chosen is None:
        known = did_you_mean(compat, entries.keys(), "known: " + (", ".join(entries.keys()) or "none"))
        refuse(entries, f"no compat '{compat}'", known)
    fields_of(chosen, schema.CHANGES, f"compat '{compat}'")
    about = chosen.get("about") if isinstance(chosen, Map) else None
    changed = change(tree.without("compat"), mapping(chosen, f"compat '{compat}'"))
    return changed.with_entry(Scalar("about"), about) if about is not None else changed


def _extend(tree: Map, file: str, parent: Parent, chain: tuple[str, ...]) -> Map:
    named = tree.get("extends")
    if named is None:
        for key in ("remove", "replace", "add"):
            if key in tree:
                refuse(_key(tree, key), f"'{key}' without 'extends'", "add extends: NAME of the model that it changes")
        return tree
    name = text_of(named, "extends")
    assert isinstance(named, Scalar)
    base, where = parent(name, named)
    if where in (*chain, file) or len(chain) >= MAX_CHAIN:
        line = " -> ".join((*chain, file, where))
        refuse(named, f"extends '{name}' leads in a circle or is deeper than {MAX_CHAIN}: {line[-300:]}")
    base = _extend(base, where, parent, (*chain, file))
    changed = change(base.without("compat", "about"), tree)
    for entry, value in tree.entries:
        if entry.text in ("neuron", "about", "cite", "compat"):
            changed = changed.with_entry(entry, value)
        elif entry.text not in schema.INHERITANCE:
            refuse(entry, f"'{entry.text}' beside 'extends'", f"put it under replace: or add: as {entry.text}: ...")
    return changed


def change(tree: Map, changes: Map) -> Map:
    """The tree after `remove`, `replace` and `add`, in this order.

    Raises:
        SpecError: something to remove or replace is not there, or something to add is.
    """
    removed = changes.get("remove")
    for item in items(removed) if removed is not None else ():
        tree = _remove(tree, item)
    for word, adding in (("replace", False), ("add", True)):
        node = changes.get(word)
        for key, value in mapping(node, word).entries if node is not None else ():
            tree = _put(tree, key, value, adding)
    return tree


def _key(tree: Map, name: str) -> Scalar:
    return next(key for key, _ in tree.entries if key.text == name)


def _remove(tree: Map, node: Tree) -> Map:
    """Take a declared name out of every section that has it, or else a whole section."""
    name = text_of(node, "an entry of remove")
    before, known = tree, []
    for section in BY_NAME:
        content = tree.get(section)
        if isinstance(content, Map):
            known += content.keys()
            if name in content:
                rest = content.without(name)
                tree = tree.with_entry(Scalar(section), rest) if rest.entries else tree.without(section)
    lines = _lines(tree)
    known += list(lines)
    if name in lines:
        tree = _with_lines(tree, {n: line for n, line in lines.items() if n != name})
    if tree is before and name in tree and name not in ("neuron", "equations"):
        tree = tree.without(name)
    if tree is before:
        refuse(node, f"remove: there is no '{name}'", did_you_mean(name, known, "there are " + ", ".join(known)))
    return tree


def _put(tree: Map, key: Scalar, value: Tree, adding: bool) -> Map:
    """Replace or add one section: by name in mappings, by left side in equations, else as a whole."""
    section = key.text
    if section not in [k.name for k in schema.TOP] or section in (*schema.INHERITANCE, "neuron"):
        hint = did_you_mean(section, [k.name for k in schema.TOP])
        refuse(key, f"unknown section '{section}'", hint)
    if section == "equations":
        return _put_lines(tree, value, adding)
    there = tree.get(section)
    by_name = section in BY_NAME or (section == "outputs" and isinstance(there, Map))
    if not by_name or not isinstance(value, Map) or (adding and there is None):
        _must_fit(key, f"'{section}'", there is not None, adding, tree.keys())
        return tree.with_entry(key, value)
    content = there if isinstance(there, Map) else Map((), value.place)
    for name, entry in value.entries:
        _must_fit(name, f"'{name.text}' under {section}", name.text in content, adding, content.keys())
        content = content.with_entry(name, entry)
    return tree.with_entry(key, content)


def _must_fit(node: Scalar, what: str, there: bool, adding: bool, known: list[str]) -> None:
    if adding and there:
        refuse(node, f"add: {what} is there already", "put it under replace:")
    if not adding and not there:
        refuse(node, f"replace: there is no {what}", did_you_mean(node.text, known, "put it under add:"))


def _put_lines(tree: Map, value: Tree, adding: bool) -> Map:
    lines = _lines(tree)
    for name, line in _lines(Map(((Scalar("equations"), value),))).items():
        _must_fit(Scalar(name, origin=line.origin), f"equation of '{name}'", name in lines, adding, list(lines))
        lines[name] = line
    return _with_lines(tree, lines)


def _with_lines(tree: Map, lines: dict[str, Scalar]) -> Map:
    if not lines:
        refuse(tree, "remove: no equation is left")
    return tree.with_entry(Scalar("equations"), Seq(tuple(lines.values()), tree.place))


def _lines(tree: Map) -> dict[str, Scalar]:
    """The equations one by one, by the name on their left side."""
    node = tree.get("equations")
    found: dict[str, Scalar] = {}
    for part in items(node) if node is not None else ():
        text_of(part, "equations")
        assert isinstance(part, Scalar)
        parse_equations(part.text, part.origin)
        for line in _split(part):
            name = parse_equations(line.text, line.origin)[0].name
            if name in found:
                raise SpecError(f"'{name}' has two equations", place=line.place, hint="keep one")
            found[name] = line
    return found


def _split(part: Scalar) -> list[Scalar]:
    """One scalar per statement, blanked so that lines and columns keep their places."""
    lines: list[Scalar] = []
    start = 0
    for token in tokenize(part.text, part.origin):
        if token.kind not in ("end", "stop"):
            continue
        piece = part.text[start : token.start]
        if any(t.kind not in ("end", "stop") for t in tokenize(piece, part.origin)):
            lines.append(_piece(part, start, piece))
        start = token.stop
    return lines


def _piece(part: Scalar, start: int, piece: str) -> Scalar:
    before = part.text[:start]
    line, column = before.count("\n") + 1, start - (before.rfind("\n") + 1) + 1
    runs = []
    for offset in range(piece.count("\n") + 1):
        runs.append((offset + 1, 1, *part.origin.locate(line + offset, column if offset == 0 else 1)))
    origin = part.origin
    return Scalar(piece, origin=Origin(origin.file, origin.lines, tuple(runs), origin.fixed_line))
