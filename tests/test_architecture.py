"""The house keeps its rules: who imports whom, what an install holds, how long a function gets."""

from __future__ import annotations

import ast
import importlib.util
import json
import shutil
import statistics
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
#: folder -> name of the package
HOMES = {
    "neuroode": "neuroode",
    "models": "neuroode.models",
    "solvers": "neuroode.solvers",
    "papers": "neuroode.papers",
}
#: a part may import what stands in a row below its own; parts of one row do not know each other
ROWS = (
    ("_errors",),
    ("expr", "solvers"),
    ("spec",),
    ("models",),
    ("system",),
    ("analysis",),
    ("discretize",),
    ("program",),
    ("emit",),
    ("nn",),
    ("neuron",),
    ("__init__",),
    ("train", "verify"),
    ("bench",),
    ("papers",),
    ("cli",),
)
RANK = {part: rank for rank, row in enumerate(ROWS) for part in row}
USERS_OF_SOLVERS = {"program", "emit", "nn", "train", "verify", "bench", "papers", "cli"}
UPWARD = {("neuron.py", "verify")}  # Neuron.verify, inside its function
FRAMEWORKS = {"torch", "jax", "jaxlib", "equinox", "diffrax", "optax", "lightning", "pytorch_lightning", "triton"}
FRAMEWORKS |= {"torchdiffeq", "torchsde", "flax"}
SYMBOLIC = {"expr", "system", "analysis", "discretize"}


@dataclass(frozen=True)
class Import:
    """One import statement's target. `where` is module, function or typing."""

    file: Path
    line: int
    module: str
    where: str

    def __str__(self) -> str:
        return f"{self.file.relative_to(ROOT)}:{self.line} imports {self.module}"


def sources() -> list[Path]:
    return sorted(f for home in HOMES for f in (ROOT / home).rglob("*.py"))


def part(file: Path) -> str:
    """The part of the house that a file belongs to."""
    first, *rest = file.relative_to(ROOT).parts
    return first if first != "neuroode" else rest[0].removesuffix(".py")


def imports(file: Path) -> list[Import]:
    return list(_imports(file, ast.parse(file.read_text(encoding="utf-8")), "module"))


def _imports(file: Path, node: ast.AST, where: str) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (Import(file, child.lineno, alias.name, where) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            base = _absolute(file, child)
            yield from (Import(file, child.lineno, f"{base}.{alias.name}", where) for alias in child.names)
        else:
            yield from _imports(file, child, _where(child, where))


def _where(node: ast.AST, where: str) -> str:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        return "function"
    typing_only = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
    return "typing" if typing_only else where


def _absolute(file: Path, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    first, *rest = file.relative_to(ROOT).parent.parts
    package = [HOMES[first], *rest]
    return ".".join([*package[: len(package) - node.level + 1], *filter(None, [node.module])])


def target(module: str) -> str | None:
    """The part of the house that an import reaches; None for a library, and for the bare name, which all load."""
    first, *rest = module.split(".")
    if first != "neuroode" or not rest:
        return None
    return rest[0] if rest[0] in RANK else "__init__"


ALL = [one for file in sources() for one in imports(file)]


def test_every_part_has_a_row() -> None:
    assert not {part(f) for f in sources()} - RANK.keys()


def test_imports_go_down() -> None:
    crossing = [(i, part(i.file), target(i.module)) for i in ALL]
    upward = [
        str(i)
        for i, here, there in crossing
        if there and there != here and RANK[there] >= RANK[here] and (i.file.name, there) not in UPWARD
    ]
    assert not upward, "\n".join(upward)


def test_the_upward_imports_stand_inside_functions() -> None:
    found = [i for i in ALL if (i.file.name, target(i.module)) in UPWARD and part(i.file) == "neuron"]
    assert all(i.where in ("function", "typing") for i in found)


def test_solvers_are_used_by_what_runs_numbers() -> None:
    users = {(part(i.file), str(i)) for i in ALL if target(i.module) == "solvers" and part(i.file) != "solvers"}
    assert not [text for here, text in users if here not in USERS_OF_SOLVERS]


def test_solvers_and_models_import_relatively() -> None:
    """`import solvers` from the root of a checkout fails aloud instead of loading a second copy."""
    homes = {"solvers", "models", "papers"}
    own = [str(i) for i in ALL if part(i.file) in homes and i.module.split(".")[0] in homes]
    assert not own, "\n".join(own)


def test_frameworks_stay_in_files_that_name_them() -> None:
    wrong = [
        str(i) for i in ALL if i.module.split(".")[0] in FRAMEWORKS and i.where != "typing" and not _framework(i.file)
    ]
    assert not wrong, "\n".join(wrong)


def _framework(file: Path) -> bool:
    return "torch" in file.name or "jax" in file.name or file.name.startswith("triton")


def test_sympy_ends_in_program_build() -> None:
    sympy = [i for i in ALL if i.module.split(".")[0] == "sympy" and i.where != "typing"]
    wrong = [str(i) for i in sympy if not _may_use_sympy(i)]
    assert not wrong, "\n".join(wrong)


def _may_use_sympy(one: Import) -> bool:
    here = part(one.file)
    if here in ("spec", "neuron", "__init__"):  # sympy objects in a declaration: seen only when somebody passes one
        return one.where == "function"
    return here in SYMBOLIC or (here == "program" and one.file.name in ("build.py", "lower.py", "rewrite.py"))


def test_yaml_is_read_by_spec_and_settings() -> None:
    assert not [str(i) for i in ALL if i.module.split(".")[0] == "ruamel" and part(i.file) not in ("spec", "train")]


def test_import_is_light() -> None:
    code = (
        "import json, sys, time; start = time.process_time(); import neuroode; used = time.process_time() - start;"
        "heavy = {'torch', 'jax', 'sympy', 'ruamel', 'numpy', 'scipy'} & set(sys.modules);"
        "print(json.dumps([used, sorted(heavy - {'numpy'})]))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/")
    used, heavy = json.loads(run.stdout)
    assert heavy == []
    assert used <= 0.5


def _project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_every_package_is_listed() -> None:
    folders = {file.parent for file in sources()}
    found = {".".join([HOMES[f.relative_to(ROOT).parts[0]], *f.relative_to(ROOT).parts[1:]]) for f in folders}
    assert set(_project()["tool"]["setuptools"]["packages"]) == found


def test_every_package_says_what_it_is() -> None:
    """A folder without __init__.py would be a namespace, which a wheel may lose."""
    assert not [str(f.parent) for f in sources() if not (f.parent / "__init__.py").exists()]


@pytest.mark.skipif(importlib.util.find_spec("setuptools") is None, reason="building a wheel needs setuptools")
def test_a_wheel_holds_everything(tmp_path: Path) -> None:
    site = _install_wheel(tmp_path)
    data = {f for home in HOMES for f in (ROOT / home).rglob("*") if f.suffix in (".py", ".yaml", ".c", ".h")}
    expected = {Path(*HOMES[f.relative_to(ROOT).parts[0]].split("."), *f.relative_to(ROOT).parts[1:]) for f in data}
    assert not sorted(str(f) for f in expected if not (site / f).exists())
    code = "from neuroode import models, solvers; print(models.path('lif')); print(solvers.__file__)"
    run = [sys.executable, "-c", f"import sys; sys.path[:] = [{str(site)!r}, *sys.path]; {code}"]
    lines = subprocess.run(run, capture_output=True, text=True, check=True, cwd=tmp_path).stdout.splitlines()
    assert all(Path(line).is_relative_to(site) for line in lines)


def _install_wheel(folder: Path) -> Path:
    """Build from a copy, so that the checkout gets no build folder; without isolation, so that no network is needed."""
    source, site = folder / "source", folder / "site"
    for home in HOMES:
        shutil.copytree(ROOT / home, source / home, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, source)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    offline = ["--no-deps", "--no-index"]
    subprocess.run([*pip, "wheel", *offline, "--no-build-isolation", "-w", str(folder), str(source)], check=True)
    (wheel,) = folder.glob("*.whl")
    subprocess.run([*pip, "install", *offline, "--target", str(site), str(wheel)], check=True)
    return site


def test_functions_and_files_stay_short() -> None:
    lengths = sorted(((n, where) for file in sources() for n, where in _functions(file)), reverse=True)
    numbers = [n for n, _ in lengths]
    long_files = [f"{f.relative_to(ROOT)}: {n} lines" for f in _all_python() if (n := _lines(f)) > 400]
    longest = "\n".join(f"{n} {where}" for n, where in lengths[:15])
    assert statistics.median(numbers) <= 8, longest
    assert numbers[len(numbers) // 10] <= 35, longest
    assert not long_files, "\n".join(long_files)


def _all_python() -> list[Path]:
    return [*sources(), *sorted((ROOT / "tests").rglob("*.py"))]


def _lines(file: Path) -> int:
    return len(file.read_text(encoding="utf-8").splitlines())


def _functions(file: Path) -> Iterator[tuple[int, str]]:
    """Length of every function of a file without its docstring."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            text = node.body[0] if ast.get_docstring(node) else None
            described = (text.end_lineno or 0) - text.lineno + 1 if text else 0
            length = (node.end_lineno or 0) - node.lineno + 1 - described
            yield length, f"{file.relative_to(ROOT)}:{node.lineno} {node.name}"
