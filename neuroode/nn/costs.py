"""The constants of the cost model on this machine: measured by `neuroode bench --calibrate`, or the package's.

A file of constants lies with the compiled kernels, named after the CPU and the versions that it was measured with.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import tempfile
import warnings
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from neuroode._errors import RunError
from neuroode.nn.measured import MEASURED
from neuroode.program.cost import KINDS, KNOWN, Choice, Constants, applicable, ranked
from neuroode.program.types import Program
from neuroode.solvers.native import cache_dir, compiler_here, cpu

LAYOUT = 1  # of the file
HINT = "measure again: neuroode bench --calibrate"
PLAIN = " without a compiler"  # of a backend
MOST = 4096  # choices that are remembered
GAIN = 1.1  # auto leaves a loop for a scan, and both for a transform, that is predicted so many times faster
_choices: dict[tuple, str] = {}


def backend_of(framework: str, kernel: bool) -> str:
    """Whose constants: a framework's, torch with or without compiled loops; JAX compiles them itself."""
    return framework if kernel or framework == "jax" else framework + PLAIN


def constants(backend: str) -> Constants:
    """Seconds by schedule and kind of work; empty for a backend that was never measured."""
    return _measured_here(str(path())).get(backend) or MEASURED.get(backend, {})


def path() -> Path:
    """The file of this machine and these versions."""
    known = [LAYOUT, cpu(), *_versions()]
    return cache_dir() / f"costs-{hashlib.sha256(json.dumps(known).encode()).hexdigest()[:16]}.json"


def save(found: Mapping[str, Constants]) -> Path:
    """Write measured constants, whole or not at all.

    Raises:
        RunError: the folder cannot be written.
    """
    target = path()
    try:
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=".costs-")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump({"layout": LAYOUT, "constants": found}, file, indent=1)
        os.replace(name, target)
    except OSError as error:
        raise RunError(f"the measured costs cannot be kept in {target}: {error}") from error
    _measured_here.cache_clear()
    _choices.clear()
    return target


@cache
def _measured_here(file: str) -> dict[str, Any]:
    """What the file holds; nothing, with a warning, where it is not what `save` writes."""
    try:
        found = json.loads(Path(file).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        return _not_read(file, str(error))
    if not _is_ours(found):
        return _not_read(file, "it does not hold constants of the cost model")
    return found["constants"]


def _not_read(file: str, why: str) -> dict[str, Any]:
    warnings.warn(f"the measured costs in {file} are not used: {why}; {HINT}", RuntimeWarning, stacklevel=2)
    return {}


def _is_ours(found: Any) -> bool:
    """Layout, and positive numbers at every known name."""
    if not isinstance(found, dict) or found.get("layout") != LAYOUT or not isinstance(found.get("constants"), dict):
        return False
    for schedules in found["constants"].values():
        if not isinstance(schedules, dict) or not set(schedules) <= set(KINDS):
            return False
        for name, rows in schedules.items():
            if not isinstance(rows, dict) or not rows or not set(rows) <= set(KINDS[name]):
                return False
            if not all(isinstance(v, float) and math.isfinite(v) and v >= 0 for v in rows.values()):
                return False
    return True


@cache
def _versions() -> tuple[str, ...]:
    """They are read from disk, and a layer asks at each new shape."""
    return tuple(_version(name) for name in ("neuroode", "torch", "jax"))


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def chosen(
    program: Program, steps: int, lanes: int, device: str = "cpu", *, framework: str = "torch",
    kernel: bool | None = None, mixed: bool = False, cores: int = 1,
) -> tuple[Choice, ...]:  # fmt: skip
    """What "auto" thinks of each schedule that applies, best first.

    Args:
        lanes: samples times neurons.
        kernel: whether the program has a compiled kernel; None: if a compiler is here.
        mixed: whether recurrent weights or operators mix the neurons.

    Returns:
        On devices that were not measured, the fused or eager loop alone, without a prediction (nan).
    """
    if kernel is None:
        kernel = compiler_here()
    schedules = applicable(program, kernel=kernel, mixed=mixed)
    if framework == "jax":  # whether a transform loses digits is known when it runs: too late to take something else
        schedules = tuple(s for s in schedules if s != "fft")
    known = constants(backend_of(framework, kernel)) if device == "cpu" else {}
    if not set(schedules) & set(known) or schedules[0] not in known:
        return (Choice(schedules[0], math.nan),)
    return ranked(program, steps, lanes, known, schedules, cores)


def choose(program: Program, steps: int, lanes: int, device: str, *, framework: str, kernel: bool, cores: int) -> str:
    """The best schedule, remembered: a layer asks at each call."""
    key = program.digest, steps, lanes, device, framework, kernel, cores
    if key not in _choices:
        if len(_choices) >= MOST:
            _choices.clear()
        found = chosen(program, steps, lanes, device, framework=framework, kernel=kernel, cores=cores)
        best, *others = sorted(found, key=lambda c: KNOWN.index(c.schedule))
        for other in others:
            best = other if other.milliseconds * GAIN < best.milliseconds else best
        _choices[key] = best.schedule
    return _choices[key]
