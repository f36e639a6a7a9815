"""The C compiler of this machine and the flags for generated kernels."""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from neuroode._errors import Unsupported

#: never -ffast-math: it breaks isfinite and inf, and its start-up object changes the whole process when linked
FLAGS = ("-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-fPIC", "-shared")
#: what to add, best first: a compiler without OpenMP builds the same loops for one thread, an exotic one plain ones
EXTRAS = (("-fopenmp",), ("-fopenmp-simd", "-DOMP_SIMD"), ())
TIMEOUT = 120.0  # seconds


@dataclass(frozen=True, slots=True)
class Compiler:
    """A command and what identifies it."""

    command: tuple[str, ...]
    version: str

    def flags(self, double: bool) -> tuple[str, ...]:
        # Without contraction float64 kernels round like numpy, so that runs can be compared spike by spike.
        return (*FLAGS, "-ffp-contract=off") if double else FLAGS

    def compile(self, source: Path, library: Path, double: bool) -> None:
        """Build a shared library; raises Unsupported with the compiler's first complaint."""
        complaint = ""
        for extra in EXTRAS:
            command = [*self.command, *self.flags(double), *extra, str(source), "-o", str(library), "-lm"]
            complaint = _run(command)
            if not complaint:
                return
        raise Unsupported(f"the C compiler {' '.join(self.command)!r} failed: {complaint}")


def find_compiler() -> Compiler:
    """The compiler named by $CC, else cc, gcc or clang; raises Unsupported where there is none."""
    return _find(os.environ.get("CC", ""), os.environ.get("PATH", ""))


def compiler_here() -> bool:
    """Whether there is one."""
    try:
        find_compiler()
    except Unsupported:
        return False
    return True


@cache
def _find(wanted: str, path: str) -> Compiler:
    for command in [shlex.split(wanted)] if wanted.strip() else [["cc"], ["gcc"], ["clang"]]:
        where = shutil.which(command[0], path=path)
        if where:
            return Compiler((where, *command[1:]), _version((where, *command[1:])))
    raise Unsupported(f"no C compiler found ({wanted or 'cc, gcc, clang'})", hint="install one, or set CC")


def _version(command: tuple[str, ...]) -> str:
    try:
        done = subprocess.run([*command, "--version"], capture_output=True, text=True, timeout=TIMEOUT, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unsupported(f"the C compiler {command[0]!r} does not run: {error}") from error
    return done.stdout.strip() or done.stderr.strip()


def _run(command: list[str]) -> str:
    """Nothing, or the first line that tells why it failed."""
    env = os.environ | {"LC_ALL": "C"}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False, env=env)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if done.returncode == 0:
        return ""
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    return next((line for line in lines if "error" in line.lower()), lines[0] if lines else f"exit {done.returncode}")


@cache
def cpu() -> str:
    """What -march=native depends on."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    kept = {line.split(":")[1].strip() for line in lines if line.split("\t")[0] in ("flags", "Features", "model name")}
    return " | ".join([platform.machine(), platform.processor(), *sorted(kept)])
