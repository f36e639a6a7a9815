"""The page of results: docs/benchmarks.md, written whole or not at all."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterable
from datetime import date
from importlib import metadata
from pathlib import Path

from neuroode.bench.measure import Row
from neuroode.bench.table import Table

ON_A_GPU = "## On a GPU"  # a section that gpu_torch writes and that stays when the page is written anew
METHOD = """\
How it is measured: one process on one core, one thread, CPU time of the process. Candidates take turns in shuffled
rounds; each sample follows a call that does not count. `ratio` is the median over rounds of the time over that of
neuroode in the same round, with its 10 % and 90 % marks; differences below 1.3 are no findings. A step is forward, and
backward for the input and the parameters, in float32, of inputs (T, B, N) of normal noise that makes some percent of
the neurons spike.

Before it is timed, each candidate runs in float64 beside our layer on (120, 2, 16): the same spikes, and the gradient
of the input equal to 1e-6 of its largest entry, with the surrogate and the reset that the candidate has. `how` says
what was set to get there. The floor reads and writes five arrays of the size of the input, without arithmetic. On a
CPU, FlexSN of SpikingJelly runs its core step by step in Python; its generated kernels need a GPU.
"""


def page(parts: Iterable[str], command: str) -> str:
    """The whole page."""
    return "\n\n".join(["# Benchmarks", f"Written by `{command}` on {date.today()}.", machine(), METHOD, *parts]) + "\n"


def machine() -> str:
    """What ran: processor, system, compiler and libraries, as a list."""
    rows = [f"- {_cpu()}, one of {os.cpu_count()} cores; {platform.system()}, Python {platform.python_version()}"]
    rows += [f"- {_compiler()}"] if _compiler() else []
    known = {d.metadata["Name"].lower() for d in metadata.distributions()}
    wanted = ("neuroode", "torch", "jax", "numpy", "spikingjelly", "snntorch", "norse", "sinabs")
    return "\n".join([*rows, "- " + ", ".join(f"{n} {metadata.version(n)}" for n in wanted if n in known)])


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    text = info.read_text() if info.exists() else ""
    names = [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _compiler() -> str:
    try:
        done = subprocess.run(["cc", "--version"], capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.partition("\n")[0]


def table(t: Table) -> str:
    """One case at one shape."""
    head = f"## {t.case.name}, (T, B, N) = {t.shape}"
    rows = ["| candidate | ms | ratio | 10 % to 90 % | how |", "|---|---|---|---|---|"]
    for line in t.lines:
        name = f"{line.name} {line.version}".strip()
        if line.row is None:
            rows.append(f"| {name} | | | | {line.note} |")
        else:
            r = line.row
            rows.append(
                f"| {name} | {r.milliseconds:.2f} | {r.ratio:.2f} | {r.low:.2f} to {r.high:.2f} | {line.note} |"
            )
    return head + "\n\n" + "\n".join(rows)


def plain(title: str, rows: Iterable[Row]) -> str:
    head = ["| candidate | ms | ratio | 10 % to 90 % |", "|---|---|---|---|"]
    body = [f"| {r.name} | {r.milliseconds:.2f} | {r.ratio:.2f} | {r.low:.2f} to {r.high:.2f} |" for r in rows]
    return f"## {title}\n\n" + "\n".join(head + body)


def peaks(rows: Iterable[tuple[str, float | None]], megabytes: int, what: str = "a LIF step") -> str:
    head = f"## Peak memory of {what}\n\nBeyond input and cotangent, in arrays of the input's {megabytes} MiB.\n\n"
    body = [f"| {name} | {'does not run' if peak is None else f'{peak:.1f}'} |" for name, peak in rows]
    return head + "\n".join(["| candidate | arrays |", "|---|---|", *body])


def section(title: str, target: Path) -> str:
    """The text of that title in a page; empty if there is none."""
    return _around(title, target)[1]


def put_section(title: str, text: str, target: Path) -> None:
    """Replace the section of that title in a page, or add it at the end."""
    before, _, behind = _around(title, target)
    write("\n\n\n".join(p for p in (before, text.strip(), behind) if p) + "\n", target)


def _around(title: str, target: Path) -> tuple[str, str, str]:
    """What stands before a section, the section, what stands behind it."""
    page = target.read_text(encoding="utf-8") if target.exists() else "# Benchmarks\n"
    before, found, rest = page.partition(f"{title}\n")
    own, more, behind = rest.partition("\n## ") if found else ("", "", "")
    return before.rstrip(), f"{found}{own}".strip(), f"## {behind.strip()}" if more else ""


def write(text: str, target: Path) -> None:
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, target)
