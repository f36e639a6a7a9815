"""Building, keeping and loading generated libraries."""

from __future__ import annotations

import ctypes
import multiprocessing
import stat
import sys

import pytest

from neuroode._errors import Unsupported
from neuroode.solvers import native
from neuroode.solvers.native import compiler, library

SOURCE = "int answer(void) { return %d; }\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty cache, and a process that has loaded nothing."""
    monkeypatch.setenv("NEUROODE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(library, "_loaded", {})
    return tmp_path / "cache" / "kernels"


def answer(number: int) -> int:
    return native.load(SOURCE % number).answer()


def test_a_library_is_built_once_and_found_again(folder, monkeypatch):
    assert answer(7) == 7
    (kernel,) = native.cached_kernels()
    assert kernel.parent.parent == folder == native.cache_dir()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert next(folder.rglob("*.c")).read_text() == SOURCE % 7
    monkeypatch.setattr(library, "_loaded", {})
    monkeypatch.setattr(compiler.Compiler, "compile", lambda *_: pytest.fail("built again"))
    assert answer(7) == 7


def test_sources_precisions_and_compilers_have_their_own_libraries(folder, monkeypatch):
    answer(1), answer(2)
    native.load(SOURCE % 1, double=True)
    assert len(native.cached_kernels()) == 3
    monkeypatch.setattr(compiler, "cpu", lambda: "another")
    monkeypatch.setattr(library, "cpu", lambda: "another")
    answer(1)
    assert len(native.cached_kernels()) == 4


def test_clear_empties_the_cache_and_loaded_kernels_go_on(folder):
    loaded = native.load(SOURCE % 3)
    assert native.clear() == 1
    assert native.cached_kernels() == []
    assert not list(folder.rglob("*.c"))
    assert loaded.answer() == 3


@pytest.mark.parametrize("damage", [lambda data: data[:100], lambda data: data + b"x", lambda data: b""])
def test_a_damaged_file_is_rebuilt(folder, monkeypatch, damage):
    answer(4)
    (kernel,) = native.cached_kernels()
    data = kernel.read_bytes()
    kernel.unlink()  # this process has it mapped
    kernel.write_bytes(damage(data))
    monkeypatch.setattr(library, "_loaded", {})
    assert answer(4) == 4
    assert [k.read_bytes() for k in native.cached_kernels()] == [data]


def test_a_library_that_does_not_load_is_rebuilt_once(folder, monkeypatch):
    answer(5)
    monkeypatch.setattr(library, "_loaded", {})
    load, failures = ctypes.CDLL, iter([True, False])

    def sometimes(path: str) -> ctypes.CDLL:
        if next(failures):
            raise OSError("made by another system")
        return load(path)

    monkeypatch.setattr(ctypes, "CDLL", sometimes)
    assert answer(5) == 5
    monkeypatch.setattr(library, "_loaded", {})
    monkeypatch.setattr(ctypes, "CDLL", lambda _: (_ for _ in ()).throw(OSError("never")))
    with pytest.raises(Unsupported, match="does not load: never"):
        answer(5)


@pytest.mark.parametrize("spoil", [
    lambda folder: folder.parent.write_text("a file"),
    lambda folder: (folder.mkdir(parents=True), folder.chmod(0o777)),
], ids=["not a folder", "others may write"])  # fmt: skip
def test_an_unsafe_cache_gives_a_private_temporary_one(folder, spoil):
    spoil(folder)
    private = native.cache_dir()
    assert private != folder
    assert stat.S_IMODE(private.stat().st_mode) == 0o700
    assert answer(6) == 6
    assert list(private.rglob("*.so"))


def test_places_of_the_cache(monkeypatch, tmp_path):
    monkeypatch.delenv("NEUROODE_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert native.cache_dir() == tmp_path / "xdg" / "neuroode" / "kernels"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert native.cache_dir() == tmp_path / ".cache" / "neuroode" / "kernels"


def test_without_a_compiler(folder, monkeypatch):
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(folder))
    with pytest.raises(Unsupported, match="no C compiler found") as error:
        answer(8)
    assert "CC" in error.value.hint


def test_a_failing_compiler_tells_its_first_error(folder, monkeypatch, tmp_path):
    script = tmp_path / "cc"
    script.write_text(
        "#!/bin/sh\n[ $1 = --version ] && exit 0\necho 'note' >&2\necho 'k.c:1: error: no such header' >&2\nexit 1\n"
    )
    script.chmod(0o755)
    monkeypatch.setenv("CC", f"{script} -m64")
    with pytest.raises(Unsupported, match=r"-m64' failed: k\.c:1: error: no such header"):
        answer(9)
    assert not list(folder.iterdir())


def test_wrong_c_is_a_typed_error(folder):
    with pytest.raises(Unsupported, match="error"):
        native.load("int broken(void) { return }")


def test_without_openmp_the_same_loops_are_built(folder, monkeypatch, tmp_path):
    real = compiler.find_compiler().command[0]
    script = tmp_path / "cc"
    script.write_text(
        f'#!/bin/sh\ncase "$*" in *-fopenmp\\ *) echo "error: no libgomp" >&2; exit 1;; esac\nexec {real} "$@"\n'
    )
    script.chmod(0o755)
    monkeypatch.setenv("CC", str(script))
    source = "#if defined(_OPENMP) || !defined(OMP_SIMD)\n#error\n#endif\n" + SOURCE % 10
    assert native.load(source).answer() == 10


def _build(number: int) -> int:
    library._loaded.clear()
    return answer(number)


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
def test_processes_that_build_the_same_kernel_do_not_disturb_each_other(folder):
    with multiprocessing.get_context("fork").Pool(4) as pool:
        assert pool.map(_build, [11, 12] * 4, chunksize=1) == [11, 12] * 4
    assert len({k.name.split("-")[0] for k in native.cached_kernels()}) == 2
    assert not list(folder.glob(".build-*"))


def test_names_of_sections_are_known():
    assert "power_of_two" in native.select(["real_exp"], ["maths_float.h"])
    assert native.select([], ["maths_float.h"]) == ""
    assert "/*:" not in native.text("base.h")


def test_cache_size_and_huge_pages_do_not_fail():
    assert native.cache_bytes() > 0
    block = ctypes.create_string_buffer(8 * 1024 * 1024)
    native.prefer_huge_pages(ctypes.addressof(block), len(block))
