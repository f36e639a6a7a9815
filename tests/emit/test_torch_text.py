"""The emitted torch text: every name that the language allows, infinite states, float32, nothing of neuroode in it."""

from __future__ import annotations

import ast
import keyword
import warnings

import numpy as np
import pytest
import torch
from oracles import INVENTED
from oracles import neuron as invented
from references import distance, functions, neuron, slots, torch_run

from neuroode._errors import SpecError
from neuroode.emit.python_torch import torch_source
from neuroode.models import names
from neuroode.neuron import Neuron
from neuroode.program import interpret

X = np.random.default_rng(0).normal(0.5, 1.0, (30, 2, 3))
ODD = [
    "lambda", "I2", "E", "S", "N", "O", "Q", "C", "gamma", "beta", "zeta", "torch", "math", "p", "for", "class",
    "in", "is", "None", "True", "self", "print", "def", "return", "carry", "inputs", "coefficients", "prologue",
    "k0", "v0", "c1_v", "x0", "reset_", "event", "number", "slope_s", "slope", "phi", "edd", "pair", "expm",
    "cphi", "TERMS", "like", "float", "int", "complex", "double", "void", "while", "struct", "restrict",
    "Symbol", "re", "im", "e", "g", "m", "x", "Neuron", "compare", "DT", "OUTPUTS", "PARAMETERS", "forward",
    "values", "training", "weight", "raw", "T", "B", "dim", "type", "half", "data", "grad", "device",
    "state_dict", "None_", "nan", "name", "NAN", "INFINITY", "M_PI", "y0", "j1",
]  # fmt: skip


def allowed(name: str) -> bool:
    try:
        with_names(name, "w_other", "th_other")
    except SpecError:
        return False
    return True


NAMED = """
inputs: {J_in: current}
parameters: {PARAMETER: {value: 4, domain: positive}, th: 0.4}
equations: |
  dSTATE/dt = (-STATE + J_in)/PARAMETER
  h_map[t] = 0.5*h_map[t-1] + EVENT + STATE[t-1]
events: {EVENT: {when: "STATE > th + 0.1*h_map[t-1]", reset: STATE -= th}}
outputs: {a: EVENT, b: h_map}
"""


def with_names(state: str, parameter: str, event: str) -> Neuron:
    return neuron(NAMED.replace("STATE", state).replace("PARAMETER", parameter).replace("EVENT", event))


def run(n: Neuron, dt: float = 0.5) -> tuple[dict, dict]:
    """Trace by the emitted text and by the interpreter, with all their gradients compared."""
    program, values = n.program(dt), slots(n, dt, (3,))
    x = dict.fromkeys(program.inputs, X)
    wanted = interpret.run(program, values, x)
    seeds = {k: np.cos(np.arange(v.size)).reshape(v.shape) for k, v in wanted.outputs.items()}
    slopes = interpret.gradients(program, values, wanted, seeds)
    leaves = {k[2:]: torch.tensor(v, dtype=torch.float64, requires_grad=True) for k, v in values.items() if k != "dt"}
    given = {k: torch.tensor(X, requires_grad=True) for k in program.inputs}
    outputs, _, trace = torch_run(program, leaves, dt, given)
    sum((outputs[k] * torch.tensor(g)).sum() for k, g in seeds.items()).backward()
    for k, g in slopes.parameters.items():
        assert distance(leaves[k[2:]].grad.numpy(), g) <= 1e-11, k
    for k, g in slopes.inputs.items():
        assert distance(given[k].grad.numpy(), g) <= 1e-11, k
    return {k: v.detach().numpy() for k, v in trace.items()}, wanted.trace


def assert_agrees(n: Neuron, dt: float = 0.5) -> None:
    found, wanted = run(n, dt)
    for key in wanted:
        assert distance(found[key], wanted[key]) <= 1e-12, key


def test_most_odd_names_are_allowed() -> None:
    kept = [n for n in ODD if allowed(n)]
    assert {"lambda", "gamma", "torch", "math", "for", "class", "E", "S", "N", "beta", "p", "m", "x"} <= set(kept)
    assert len(kept) > 0.8 * len(ODD)


@pytest.mark.parametrize("name", [n for n in ODD if allowed(n)])
def test_a_name_works_as_a_state_a_parameter_and_an_event(name: str) -> None:
    assert_agrees(with_names(name, "w_other", "s_other"))
    assert_agrees(with_names("v_other", name, "s_other"))
    assert_agrees(with_names("v_other", "w_other", name))


def test_names_that_differ_by_what_is_replaced_only() -> None:
    text = "parameters: {a_b: 2, a__: 3}\n" if allowed("a__") else "parameters: {a_b: 2, ab: 3}\n"
    other = "a__" if "a__" in text else "ab"
    text += (
        f"states: {{\"x'\": 1}}\nequations: |\n  x'' = -a_b*x - x'/{other} + I\n  x_[t] = 0.5*x_[t-1] + x'[t-1] + x'\n"
    )
    assert_agrees(neuron(text + "outputs: {x: x, x_: x_}\n"))


@pytest.mark.parametrize("name", [*names(), *INVENTED])
def test_the_text_is_plain_python_without_neuroode_and_always_the_same(name: str) -> None:
    n = invented(name)
    dt = n.step_length(None) if n.spec.dt else 0.1
    text = torch_source(n.program(dt))
    tree = ast.parse(text)
    imported = {a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names}
    assert imported == {"math", "torch"}
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert "neuroode" not in text
    assert text == torch_source(Neuron.from_spec(n.spec).program(dt))
    assert all(not keyword.iskeyword(node.id) for node in ast.walk(tree) if isinstance(node, ast.Name))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_type_of_the_inputs_is_kept(dtype: torch.dtype) -> None:
    n = neuron(
        """
parameters: {tau: {value: 3, domain: positive}}
equations: dv/dt = (-v + I)/tau
spike: v > 0.3
reset: v = 0
"""
    )
    program = n.program(0.5)
    x = torch.tensor(X, dtype=dtype)
    outputs, carry, trace = torch_run(program, {"tau": torch.tensor(3.0, dtype=dtype)}, 0.5, {"I": x})
    text = functions(program)
    coefficients, _ = text["prologue"]({"tau": torch.tensor(3.0, dtype=dtype)}, torch.tensor(0.5, dtype=dtype))
    assert {c.dtype for c in coefficients} == {dtype}
    assert outputs["s"].dtype == (torch.float64 if dtype == torch.float64 else outputs["s"].dtype)
    del carry, trace


BLOW_UP = """
equations: |
  v[t] = 0.5*v[t-1] + exp(20*I)
spike: v > 1
reset: v = -0.01
surrogate: {kind: SURROGATE}
"""


@pytest.mark.parametrize(
    "kind", ["fast_sigmoid", "sigmoid", "atan", "triangle", "rectangle", "gaussian", "exponential"]
)
def test_a_state_that_overflows_is_reset_like_in_the_interpreter(kind: str) -> None:
    """inf - inf must not appear: the event fires, and the reset brings the state back."""
    n = neuron(BLOW_UP.replace("SURROGATE", kind))
    program, x = n.program(1.0), np.full((6, 1, 1), 0.9)
    x[1::2] = 50.0
    wanted = interpret.run(program, slots(n, 1.0, (1,)), {"I": x})
    assert np.isinf(wanted.trace["v.before"]).any()
    given = torch.tensor(x, requires_grad=True)
    _, _, trace = torch_run(program, {}, 1.0, {"I": given})
    assert np.array_equal(trace["s"].detach().numpy(), wanted.trace["s"])
    assert np.array_equal(trace["v"].detach().numpy(), wanted.trace["v"])


def test_literals_beyond_the_floats_and_below_zero() -> None:
    n = neuron("equations: |\n  v[t] = min(I, exp(1000)) - max(-exp(1000), -0.5*I^2) + 2^(-3)*(-2)^3\n")
    assert_agrees(n)


def test_the_absolute_value_of_a_complex_state_at_rest_has_gradient_0() -> None:
    n = neuron(
        """
equations: 'du/dt = (-1 + 3i)*u + I : complex'
spike: abs(u) > 0.4
reset: u = 0
outputs: {s: s, a: abs(u) + arg(u)}
"""
    )
    program, values = n.program(0.5), slots(n, 0.5, (1,))
    x = np.zeros((4, 1, 1))
    result = interpret.run(program, values, {"I": x})
    assert np.isfinite(interpret.gradients(program, values, result, {"s": 1 + x, "a": 1 + x}).inputs["I"]).all()
    given = torch.tensor(x, requires_grad=True)
    outputs, _, _ = torch_run(program, {}, 0.5, {"I": given})
    (outputs["s"] + outputs["a"]).sum().backward()
    assert torch.isfinite(given.grad).all()


def test_a_second_derivative_and_a_forward_one_exist() -> None:
    n = neuron("parameters: {tau: {value: 3, domain: positive}}\nequations: dv/dt = (-v^3 + I)/tau\n")
    program = n.program(0.5)

    def last(tau: torch.Tensor) -> torch.Tensor:
        return torch_run(program, {"tau": tau}, 0.5, {"I": torch.tensor(X[:, :1, :1])})[0]["v"][-1].sum()

    tau = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(last, tau)
    with warnings.catch_warnings():  # torch compiles its own formulas for forward mode by what it calls deprecated
        warnings.simplefilter("ignore", DeprecationWarning)
        assert torch.autograd.gradcheck(last, tau, check_forward_ad=True)
