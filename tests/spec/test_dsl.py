"""The Python form: equal specs, sympy objects, refusals at the caller's line."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import sympy

import neuroode as no
from neuroode.expr.show import show
from neuroode.spec.dsl import changed, declare
from neuroode.spec.read_yaml import read_text
from neuroode.spec.write_yaml import to_yaml

FULL = """neuron: full
about: Everything once.
cite: [one, two]
dt: 1 ms
method: {v: exp_euler, q: euler, z: exact}
axes: {k: 4}
inputs: {I: {unit: mV}, x: {kind: impulse, axes: [k], at: start, unit: mV}}
states: {z: {type: complex, unit: mV}, v: {init: "normal(0, 1)", unit: mV}}
parameters:
  tau: {value: 20 ms, domain: positive, per: neuron}
  w: {init: "2^(-k)", per: [k]}
  v_th: 1 mV
  om: {value: [1, 2, 3.5, 4], per: [k], trainable: false}
noise: {U: uniform}
equations: |
  dv/dt = (-v + I + sum_k(w[k]*real(z[k])))/tau
  dz[k]/dt = i*om[k]*z[k]/tau + x[k] : complex
  q[t] = 0.9*q[t-1] + s
events:
  s: {when: v > v_th*(1 + U), reset: {do: v = v - v_th, when: next_step}, refractory: {duration: 2 ms, hold: [v]}}
  p: {when: q > 1, surrogate: {kind: atan, width: 0.3}, reset: q = 0}
outputs: s
checks: [tau > 1 ms]
compat: {soft: {replace: {parameters: {v_th: 2 mV}}}}
"""


def test_the_same_keys_give_equal_specs() -> None:
    spec = declare(
        "full",
        about="Everything once.",
        cite=["one", "two"],
        dt=no.quantity("1 ms"),
        method={"v": "exp_euler", "q": "euler", "z": "exact"},
        axes={"k": 4},
        horizon=None,
        inputs={"I": no.Input(unit="mV"), "x": no.Input("impulse", axes=["k"], at="start", unit="mV")},
        states={"z": no.State(type="complex", unit="mV"), "v": no.State(init="normal(0, 1)", unit="mV")},
        parameters={
            "tau": no.Parameter("20 ms", domain="positive", per="neuron"),
            "w": no.Parameter(init="2^(-k)", per=["k"]),
            "v_th": "1 mV",
            "om": no.Parameter(np.array([1, 2, 3.5, 4]), per=["k"], trainable=False),
        },
        noise={"U": "uniform"},
        equations={
            "dv/dt": "(-v + I + sum_k(w[k]*real(z[k])))/tau",
            "dz[k]/dt": "i*om[k]*z[k]/tau + x[k] : complex",
            "q[t]": "0.9*q[t-1] + s",
        },
        events={
            "s": no.Event(
                when="v > v_th*(1 + U)",
                reset=no.Reset(do={"v": "v - v_th"}, when="next_step"),
                refractory={"duration": "2 ms", "hold": ["v"]},
            ),
            "p": no.Event(when="q > 1", surrogate=no.Surrogate("atan", width=0.3), reset={"q": 0}),
        },
        outputs="s",
        checks=["tau > 1 ms"],
        compat={"soft": {"replace": {"parameters": {"v_th": "2 mV"}}}},
    )
    assert spec == read_text(FULL)
    assert read_text(to_yaml(spec)) == spec


def test_sympy_objects() -> None:
    v, tau, I, v_th, q = no.symbols("v tau I v_th q")
    spec = declare(
        "s",
        axes={"k": 3},
        parameters={"tau": no.Parameter(20.0), "v_th": 1.0, "w": no.Parameter(init=2.0 ** -no.symbol("k"), per=["k"])},
        equations={
            "dv/dt": (-v + I) / tau,
            "q[t]": 0.9 * no.at(q, -1) + no.symbol("s"),
            "h": no.sum("k", no.index("w", "k") * no.at(v, -1 - no.symbol("k"))),
        },
        spike=sympy.And(v > v_th + no.at(q, -1), no.symbol("h") > 0),
        reset={v: v - v_th},
    )
    texts = {e.name: show(e.rhs) for e in spec.equations}
    assert texts["q"] == "0.9*q[t-1] + s"
    assert texts["v"] in ("(I - v)/tau", "(-v + I)/tau")
    assert texts["h"] in ("sum_k(v[t-1-k]*w[k])", "sum_k(w[k]*v[t-1-k])", "sum_k(v[t-k-1]*w[k])")
    assert spec.events[0].reset is not None
    assert show(spec.events[0].reset.do[0].value) == "v - v_th"
    assert read_text(to_yaml(spec)) == spec


@pytest.mark.parametrize(
    ("expr", "text"),
    [
        ("x/(3*y)", "x/3/y"),
        ("-x**2", "-x^2"),
        ("x**-2", "1/x^2"),
        ("sqrt(x)*exp(-x/y)", "sqrt(x)*exp(-(x/y))"),
        ("2*x/3 - 1/y", "2*x/3 - 1/y"),
        ("I*pi*x", "i*pi*x"),
        ("Abs(x) + re(x)", "real(x) + abs(x)"),
        ("Max(x, y, 1)", "max(1, x, y)"),
        ("x*0.1", "0.1*x"),
        ("oo", "inf"),
    ],
)
def test_sympy_texts(expr: str, text: str) -> None:
    from neuroode.expr.from_sympy import node_of
    from neuroode.expr.parse import parse_expr

    names = {n: getattr(sympy, n) for n in ("sqrt", "exp", "pi", "I", "Abs", "re", "Max", "oo")}
    value = eval(expr, {}, {**names, **dict(zip("xy", sympy.symbols("x y"), strict=True))})
    node = node_of(value)
    assert show(node) == text
    assert parse_expr(text) == node


def test_words_that_stand_for_reads() -> None:
    x = no.symbol("x")
    assert str(no.at("q", 0)) == "q[t]"
    assert str(no.at(no.index("z", "k"), -2)) == "z[k, t-2]"
    assert str(no.dW("x")) == "dW_x"
    assert str(no.grad("U", x)) == "grad(U, x)"
    assert str(no.detach(x)) == "detach(x)"
    assert str(no.straight_through(x, 2 * x)) == "straight_through(x, 2*x)"
    assert [str(no.t), str(no.dt), str(no.step)] == ["t", "dt", "step"]
    assert no.quantity("-0.02 1/ms").unit == "1/ms"
    with pytest.raises(no.SpecError, match="not a quantity"):
        no.quantity("x + 1")
    with pytest.raises(no.SpecError):
        no.symbol("x + 1")


def _bad(**keys: object) -> tuple[str, no.SpecError]:
    line = inspect.currentframe().f_lineno + 2  # type: ignore[union-attr]
    with pytest.raises(no.SpecError) as caught:
        declare("bad", **keys)
    return f"{__file__}:{line}", caught.value


def test_errors_point_at_the_call() -> None:
    where, error = _bad(equations="dv/dt = -v/tua + I", parameters={"tau": 2})
    assert str(error) == (
        f"{where}:12: unknown name 'tua' in the equation of v\n"
        "    dv/dt = -v/tua + I\n"
        "               ^^^\n"
        "hint: did you mean 'tau'?"
    )


v = sympy.Symbol("v")


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"equations": {"dv/dt": sympy.Heaviside(v)}}, "sympy.Heaviside stands in an expression"),
        ({"equations": {"dv/dt": sympy.Piecewise((v, v > 1), (0, True))}}, "sympy.Piecewise"),
        ({"equations": {"dv/dt": v > 1}}, "a relation stands in an expression"),
        ({"equations": {"dv/dt": sympy.gamma(v)}}, "gamma has no counterpart"),
        ({"equations": {"dv/dt": float("nan")}}, "nan is not a number"),
        ({"equations": "dv/dt = -v", "spikes": "v > 1"}, "unknown key 'spikes'"),
        ({"equations": "dv/dt = -v", "spike": object()}, "is of type object"),
        ({"equations": "dv/dt = -v", "inputs": {"I": no.Input("curent")}}, "input 'I' is 'curent'|kind of input"),
        ({"equations": {"dv/dt": sympy.Symbol("__import__('os')")}}, "underscores|unexpected|not a name"),
    ],
)
def test_refusals(keys: dict[str, object], message: str) -> None:
    with pytest.raises(no.SpecError, match=message) as caught:
        declare("bad", **keys)
    assert __file__ in str(caught.value)


def test_changes() -> None:
    spec = read_text(FULL)
    other = changed(spec, "replace", {"parameters": {"v_th": "3 mV"}, "equations": {"q[t]": "0.5*q[t-1] + s"}})
    assert next(p for p in other.parameters if p.name == "v_th") != next(p for p in spec.parameters if p.name == "v_th")
    assert show(other.equations[2].rhs) == "0.5*q[t-1] + s"
    assert changed(other, "remove", ["compat"]).compat == ()
    with pytest.raises(no.SpecError, match="there already"):
        changed(spec, "add", {"parameters": {"tau": 3}})
    with pytest.raises(no.SpecError, match="no 'tua'"):
        changed(spec, "remove", ["tua"])


def test_extends_in_python(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("neuron: base\nparameters: {tau: 2}\nequations: dv/dt = (-v + I)/tau\n")
    spec = declare("child", extends="base", replace={"parameters": {"tau": 3}}, find=lambda n: tmp_path / f"{n}.yaml")
    assert spec.name == "child"
    assert not spec.parameters[0].trainable


def test_texts_need_no_sympy() -> None:
    code = (
        "import sys; from neuroode.spec.dsl import declare, Parameter;"
        "declare('x', equations='dv/dt = (-v + I)/tau', parameters={'tau': Parameter(2.5)}, spike='v > 1');"
        "print(sorted({'sympy', 'torch', 'jax', 'ruamel', 'numpy'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
