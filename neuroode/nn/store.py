"""Programs kept between processes as JSON, so that a neuron that was lowered once needs no symbolic work again.

The key covers the declaration and the options; each state of the compiler's sources has a folder of its own, and the
latest few are kept. Unreadable entries are made anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

from neuroode._errors import LoweringError
from neuroode.expr.nodes import Node
from neuroode.program import types
from neuroode.program.types import Program
from neuroode.program.verify import verify_program
from neuroode.solvers.native import cache_dir

STAGES = ("expr", "spec", "system", "analysis", "discretize", "program")
KEPT = 16  # states of the sources whose programs are kept
KINDS = {c.__name__: c for c in (
    types.Program, types.Assign, types.ParamSlot, types.CarrySlot, types.EventSlot, types.Coefficient, types.Plan,
    types.PlanRow, types.SequenceSum, types.Noise,
)}  # fmt: skip


def stored_program(declaration: Any, options: Any, make: Callable[[], Program]) -> Program:
    """The program from the cache, or made and kept."""
    path = _folder() / f"program-{_key(declaration, options)}.json"
    found = _read(path)
    if found is None:
        found = make()
        _write(path, found)
    return found


def _folder() -> Path:
    """Where this compiler's programs lie; on making it, those of sources that were last new long ago go."""
    folder = cache_dir() / "programs" / _sources()
    if not folder.is_dir():
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for old in sorted(folder.parent.iterdir(), key=lambda p: p.stat().st_mtime)[:-KEPT]:
                shutil.rmtree(old, ignore_errors=True)
        except OSError:  # as for `_write`; or another process was quicker
            pass
    return folder


def _key(declaration: Any, options: Any) -> str:
    text = f"{canonical(declaration)}|{canonical(options)}"
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def canonical(value: Any) -> str:
    """A text of the meaning: fields that do not take part in comparison (places, marks) are left out."""
    if isinstance(value, Node):  # its repr is its text, made without recursion
        return repr(value)
    if is_dataclass(value):
        rows = [f"{f.name}={canonical(getattr(value, f.name))}" for f in fields(value) if f.compare]
        return f"{type(value).__name__}({','.join(rows)})"
    if isinstance(value, tuple | list):
        return "(" + ",".join(canonical(v) for v in value) + ")"
    return f"{value.numerator}/{value.denominator}" if isinstance(value, Fraction) else repr(value)


@lru_cache(maxsize=1)
def _sources() -> str:
    """Size and time of every source file that decides what a program is."""
    root = Path(__file__).parents[1]
    files = [
        e for stage in STAGES for e in sorted(os.scandir(root / stage), key=lambda e: e.name) if e.name.endswith(".py")
    ]
    rows = [f"{e.path}:{e.stat().st_size}:{e.stat().st_mtime_ns}" for e in files]
    return hashlib.sha256("|".join(rows).encode()).hexdigest()[:16]


def _read(path: Path) -> Program | None:
    try:
        program = _decode(json.loads(path.read_text("utf-8")))
        verify_program(program)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, LoweringError):
        return None
    return program


def _write(path: Path, program: Program) -> None:
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(json.dumps(_encode(program)), "utf-8")
        os.replace(temporary, path)
    except OSError:  # a full or read-only disk costs time, not correctness
        temporary.unlink(missing_ok=True)


def _encode(value: Any) -> Any:
    if is_dataclass(value):
        return {"kind": type(value).__name__} | {f.name: _encode(getattr(value, f.name)) for f in fields(value)}
    return [_encode(v) for v in value] if isinstance(value, tuple) else value


def _decode(value: Any) -> Any:
    if isinstance(value, dict):
        return KINDS[value["kind"]](**{k: _decode(v) for k, v in value.items() if k != "kind"})
    return tuple(_decode(v) for v in value) if isinstance(value, list) else value
