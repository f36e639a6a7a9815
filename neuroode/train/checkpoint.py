"""A run on disk, so that it can go on where it stopped. Any framework's bytes, and how to tell that they are whole.

A file is one line of JSON (what it is, the recipe, the length and the digest of the rest) and the framework's bytes.
The one of the epoch before is kept beside it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from neuroode._errors import RunError
from neuroode.train.files import remove_leftovers, replace_file

KIND = "neuroode checkpoint 1"
LONGEST_HEAD = 2**16


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A checkpoint that was read. `damaged` says why an older one had to do, or is None."""

    epoch: int
    content: bytes
    damaged: str | None = None


class Damaged(Exception):
    """A file that is no checkpoint, or not a whole one; the text says which and why."""


def previous(path: Path) -> Path:
    """Where the checkpoint of the epoch before is kept."""
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def save(path: Path, recipe: Mapping[str, Any], epoch: int, content: bytes) -> None:
    """Write a checkpoint. At any moment there is a whole one under `path` or under `previous(path)`."""
    fields = {"kind": KIND, "epoch": epoch, "bytes": len(content), "sha256": sha256(content).hexdigest()}
    head = json.dumps({**fields, "recipe": recipe}, allow_nan=False).encode() + b"\n"
    replace_file(path, head, content, before=lambda: _keep(path))


def _keep(path: Path) -> None:
    if path.exists():
        path.replace(previous(path))


def begin(path: Path, recipe: Mapping[str, Any], resume: bool, say: Callable[[str], None]) -> Found | None:
    """What a run starts from: nothing, or the newest whole checkpoint. `say` gets a line about what is unusual.

    Raises:
        RunError: as `read`.
    """
    if not resume:
        clear(path)
        return None
    found = read(path, recipe)
    if found is None:
        say(f"{path} does not exist yet: starting from the beginning")
    elif found.damaged:
        say(f"{found.damaged}: going on after epoch {found.epoch}, from {previous(path)}")
    return found


def clear(path: Path) -> None:
    """Remove what an earlier run left under this name."""
    for one in (path, previous(path)):
        remove_leftovers(one)
        one.unlink(missing_ok=True)


def read(path: Path, recipe: Mapping[str, Any]) -> Found | None:
    """The newest whole checkpoint of this recipe; None where none was written yet.

    Raises:
        RunError: no whole one is left, or it belongs to another recipe; the names that differ are listed.
    """
    remove_leftovers(path)
    reasons = []
    for one in (path, previous(path)):
        if not one.exists():
            continue
        try:
            head, content = _parse(one)
        except Damaged as error:
            reasons.append(str(error))
            continue
        _compare(one, head["recipe"], recipe)
        return Found(epoch=head["epoch"], content=content, damaged=reasons[0] if reasons else None)
    if reasons:
        raise RunError("; ".join(reasons), hint="train without --resume, from the beginning")
    return None


def _parse(path: Path) -> tuple[dict[str, Any], bytes]:
    with path.open("rb") as file:
        line, content = file.readline(LONGEST_HEAD), file.read()
    try:
        head = json.loads(line)
        known = head["kind"] == KIND
        whole = len(content) == head["bytes"] and sha256(content).hexdigest() == head["sha256"]
        if not isinstance(head["recipe"], dict) or not isinstance(head["epoch"], int):
            known = False
    except (ValueError, KeyError, TypeError) as error:
        raise Damaged(f"{path} is not a checkpoint of neuroode") from error
    if not known:
        raise Damaged(f"{path} is not a checkpoint of this version of neuroode")
    if not whole:
        raise Damaged(f"{path} is damaged: its {len(content)} bytes are not those that were written")
    return head, content


def _compare(path: Path, saved: Mapping[str, Any], recipe: Mapping[str, Any]) -> None:
    """Both as JSON has them: a tuple is a list there."""
    recipe = json.loads(json.dumps(recipe))
    other = sorted(k for k in {*saved, *recipe} if saved.get(k) != recipe.get(k))
    if other:
        values = (f"{k} ({_short(saved.get(k))} there, {_short(recipe.get(k))} here)" for k in other)
        hint = "train without --resume, or with the options of the checkpoint"
        raise RunError(f"{path} was made with other values of {', '.join(values)}", hint=hint)


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:36]} ..."
