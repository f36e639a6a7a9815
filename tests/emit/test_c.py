"""The C texts: they compile alone, read well, and compute what the interpreter computes."""

from __future__ import annotations

import ctypes
import math
import shutil
import subprocess

import numpy as np
import pytest
from kernels import lif, maps_of, two_of_all

import neuroode as no
from neuroode._errors import Unsupported
from neuroode.emit.c import c_name, emit_c
from neuroode.emit.c_loss import emit_loss
from neuroode.emit.c_ops import Names, literal
from neuroode.program import interpret
from neuroode.program.adjoint import adjoint
from neuroode.program.types import OPS, Program
from neuroode.solvers import native

ZOO = ["lif", "alif", "cuba_lif", "li", "brf", "bhrf", "rf", "tc_lif"]
STRICT = ("-Wall", "-Wextra", "-Werror")


def program_of(name: str) -> Program:
    neuron = no.load(name)
    return neuron.program(dt=None if neuron.spec.dt is not None else 1.0)


def compiles(source: str, tmp_path, *flags: str) -> None:
    (tmp_path / "k.c").write_text(source)
    command = [shutil.which("cc"), *STRICT, *flags, "-c", "k.c", "-o", "k.o"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ZOO)
def test_every_zoo_model_compiles_alone(name, tmp_path):
    program = program_of(name)
    compiles(emit_c(program, adjoint(program), "float64", standalone=True), tmp_path)


@pytest.mark.parametrize(("program", "dtype", "pair"), [
    (two_of_all(), "float32", ("K", "y")), (lif(graded=True), "float64", ("I", "s")),
    (maps_of([("neg", None)], 1), "float32", None),
], ids=["recurrent", "graded", "stateless"])  # fmt: skip
def test_every_frame_compiles_without_a_warning(program, dtype, pair, tmp_path):
    source = emit_c(program, adjoint(program), dtype, recurrent=pair, standalone=True)
    compiles(source, tmp_path, "-O1", "-fopenmp", "-march=native")
    compiles(source, tmp_path)
    compiles(emit_loss(dtype), tmp_path)


def test_loops_vectorise(tmp_path):
    """The three loops of a neuron with exp in its slope, each named by a line of it."""
    program = two_of_all()
    (tmp_path / "k.c").write_text(emit_c(program, adjoint(program)))
    command = [
        "gcc",
        "-O3",
        "-march=native",
        "-fno-math-errno",
        "-fno-trapping-math",
        "-fopenmp",
        "-fopt-info-vec-optimized",
    ]
    if shutil.which("gcc") is None:
        pytest.skip("gcc says what it vectorised")
    done = subprocess.run(
        [*command, "-c", "k.c", "-o", "k.o"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    lines = (tmp_path / "k.c").read_text().splitlines()
    loops = [
        i
        for i, line in enumerate(lines, 1)
        if line.startswith("static void") and line.split("(")[0].split()[-1] in ("step", "replay", "reverse")
    ]
    ends = [next(i for i in range(at, len(lines)) if lines[i] == "}") for at in loops]
    found = {int(row.split(":")[1]) for row in done.stderr.splitlines() if "loop vectorized" in row}
    for start, end in zip(loops, ends, strict=True):
        assert found & set(range(start, end)), lines[start - 1]


def test_the_text_can_be_read():
    program = two_of_all()
    source = emit_c(program, adjoint(program), "float64", standalone=True)
    for line in (
        "two: its step over a sequence", "inputs: I, K", "carry: u, w", "outputs: s, y",
        "coefficients: p.a (neuron), p.th (layer)",
        "const real t1 = c_u * p_a;", "const real p_th = *k[1];", "int two_forward(",
        "int two_backward(", "void two_prologue(",
    ):  # fmt: skip
        assert line in source
    assert "neuron_forward" not in source
    assert "/*:" not in source
    assert max(map(len, source.splitlines())) <= 250


def test_dead_code_is_left_out():
    source = emit_c(lif(), adjoint(lif()))
    assert "t10" not in source  # only the graded output reads it
    assert "real_exp" not in source


def test_equal_programs_give_equal_texts():
    assert emit_c(lif(), adjoint(lif())) == emit_c(lif(), adjoint(lif()))


def test_refusals_name_what_is_there():
    with pytest.raises(Unsupported, match="float16"):
        emit_c(lif(), adjoint(lif()), "float16")
    with pytest.raises(Unsupported, match="no output 'spikes'"):
        emit_c(lif(), adjoint(lif()), recurrent=("I", "spikes"))
    with pytest.raises(Unsupported, match="no input 'x'"):
        emit_c(lif(), adjoint(lif()), recurrent=("x", "s"))


def test_names_and_literals():
    names = Names()
    assert [names(n) for n in ("c.u.re", "c.u_re", "%7", "&7", "c.I[t-1]")] == [
        "c_u_re",
        "c_u_re_2",
        "t7",
        "d7",
        "c_I_t_1",
    ]
    assert names("c.u.re") == "c_u_re"
    assert [literal(v, "float32") for v in (0.1, 1, -2.5e-30, math.inf, 1e300)] == [
        "0.1f",
        "1.0f",
        "-2.5e-30f",
        "INFINITY",
        "INFINITY",
    ]
    assert [literal(v, "float64") for v in (0.1, -math.inf, math.nan)] == ["0.1", "-INFINITY", "NAN"]
    assert c_name("my-neuron 2") == "my_neuron_2"


def forward_of(program: Program, inputs: list[np.ndarray], dtype: str) -> np.ndarray:
    """The outputs of a program without carry and coefficients, (n) -> (outputs, n)."""
    library = native.load(emit_c(program, adjoint(program), dtype), double=dtype == "float64")
    rows = [np.ascontiguousarray(x, dtype) for x in inputs]
    out = np.empty((len(program.outputs), rows[0].size), dtype)
    fields = [
        1,
        1,
        out.shape[1],
        1,
        0,
        0,
        *(r.ctypes.data for r in rows),
        *([0] * len(rows)),
        *(o.ctypes.data for o in out),
        0,
        0,
    ]
    call = (ctypes.c_int64 * len(fields))(*fields)
    assert getattr(library, f"{program.name}_forward")(call) == 0
    return out


SPECIALS = [0.0, -0.0, 0.3, -0.7, 1.0, -1.0, 2.5, -2.5, 3.5, 11.0, -11.0, 40.0, -40.0, 1e-9, -1e-9]
ARITY = {op: n for op, n in OPS.items() if op not in ("const", "expm", "event", "edd", "operator")} | {"edd": 3}
VALUES = {
    "ipow": [2, 3, -2, 7, 12], "phi": [1, 2, 4], "cphi_re": [1, 2, 3], "cphi_im": [1, 3],
    "pair": [(k, part) for k in (0, 1, 2) for part in "CS"],
}  # fmt: skip
#: where an op is defined, or where its value is of moderate size
DOMAIN = {
    "log": (1e-3, 50), "sqrt": (0, 50), "log1p": (-0.5, 50), "sinh": (-12, 12), "cosh": (-12, 12), "pow": (1e-3, 12),
    "pair": (-11, 3),
}  # fmt: skip


@pytest.mark.parametrize("arity", [1, 2, 3])
def test_ops_are_those_of_the_interpreter(arity):
    ops = [(op, value) for op, n in ARITY.items() if n == arity for value in VALUES.get(op, [None])]
    grid = np.stack(np.meshgrid(*[SPECIALS] * arity), axis=-1).reshape(-1, arity).T
    inputs = {n: np.ascontiguousarray(g) for n, g in zip("ABC", grid, strict=False)}
    program = maps_of(ops, arity)
    with np.errstate(all="ignore"):
        expected = interpret.evaluate(program.body, {f"x.{n}": x for n, x in inputs.items()})
    outputs = forward_of(program, list(inputs.values()), "float64")
    for (op, value), found, assign in zip(ops, outputs, program.body, strict=True):
        low, high = DOMAIN.get(op, (-np.inf, np.inf))
        inside = (grid >= low).all(0) & (grid <= high).all(0)
        np.testing.assert_allclose(
            found[inside], expected[assign.name][inside], rtol=2e-13, atol=2e-16, err_msg=f"{op} {value}"
        )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nan_and_infinity_pass_through(dtype):
    x = np.array([np.nan, np.inf, -np.inf, 1.0])
    found = forward_of(maps_of([(op, None) for op in ULPS], 1), [x], dtype)
    limits = {"exp": (np.inf, 0), "expm1": (np.inf, -1), "tanh": (1, -1), "sigmoid": (1, 0), "softplus": (np.inf, 0)}
    for op, row in zip(ULPS, found, strict=True):
        assert np.array_equal(row[:3], [np.nan, *limits[op]], equal_nan=True), op
    found = forward_of(maps_of([("min", None), ("max", None)], 2), [x, x[::-1].copy()], dtype)
    assert np.isnan(found[:, [0, 3]]).all()


#: op -> units in the last place that its error may have, float32 and float64
ULPS = {"exp": (1.5, 1.5), "expm1": (2.5, 2.5), "tanh": (4, 4), "sigmoid": (3, 3), "softplus": (3, 3)}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_vectorised_functions_are_exact_to_a_few_units(dtype):
    if np.finfo(np.longdouble).eps > 1e-18:
        pytest.skip("needs a long double to compare with")
    rng = np.random.default_rng(0)
    small = rng.normal(size=2000) * 10.0 ** rng.uniform(-12, 0, 2000)
    x = np.concatenate([rng.uniform(-80, 80, 4000), rng.normal(size=4000), small]).astype(dtype)
    z = x.astype(np.longdouble)
    references = {
        "exp": np.exp(z), "expm1": np.expm1(z), "tanh": np.tanh(z), "sigmoid": 1 / (1 + np.exp(-z)),
        "softplus": np.where(z > 0, z, 0) + np.log1p(np.exp(-np.abs(z))),
    }  # fmt: skip
    for op, found in zip(ULPS, forward_of(maps_of([(op, None) for op in ULPS], 1), [x], dtype), strict=True):
        exact = references[op]
        error = np.abs(found - exact) / np.spacing(np.abs(exact).astype(dtype))
        normal = np.abs(exact) > 4 * np.finfo(dtype).tiny
        assert error[normal].max() <= ULPS[op][dtype == "float64"], op


@pytest.mark.parametrize("name", ZOO)
def test_the_prologue_in_c_is_that_of_the_interpreter(name):
    program = program_of(name)
    library = native.load(emit_c(program, adjoint(program), "float64", standalone=True), double=True)
    rng, n = np.random.default_rng(0), 5
    rows = {p.name: rng.uniform(0.2, 0.9, 1 if p.level == "layer" else n) for p in program.parameters}
    dt = 0.125
    env = interpret.prologue(program, {k: v if v.size > 1 else v[0] for k, v in rows.items()} | {"dt": np.array(dt)})
    coefficients = [np.empty(1 if c.level == "layer" else n) for c in program.coefficients]
    carry = [np.empty(n) for _ in program.carry]
    pointers = [
        (ctypes.c_void_p * max(1, len(group)))(*(a.ctypes.data for a in group))
        for group in (list(rows.values()), coefficients, carry)
    ]
    getattr(library, f"{c_name(program.name)}_prologue")(ctypes.c_int64(n), ctypes.c_double(dt), *pointers)
    for c, found in zip(program.coefficients, coefficients, strict=True):
        np.testing.assert_allclose(found, np.broadcast_to(env[c.name], found.shape), rtol=1e-13)
    for s, found in zip(program.carry, carry, strict=True):
        np.testing.assert_allclose(found, np.broadcast_to(env[s.init], found.shape), rtol=1e-13)
