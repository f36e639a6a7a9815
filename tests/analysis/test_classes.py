"""Classes, blocks and facts of small systems; every proved fact is tried on numbers."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp
from references import neuron

from neuroode.analysis.types import EVIDENCE
from neuroode.expr import functions as fn

ADEX = """|
  dv/dt = (-(v + 70) + 2*exp((v + 50)/2) - w + I)/9
  dw/dt = (4*(v + 70) - w)/144
"""
GATES = """|
  dv/dt = (I - 120*m^3*h*(v - 50) - 0.3*(v + 54))
  dm/dt = (1 - m)*0.1/exprel(-(v + 40)/10) - m*4*exp(-(v + 65)/18)
  dh/dt = (1 - h)*0.07*exp(-(v + 65)/20) - h/(1 + exp(-(v + 35)/10))
"""
BRF = """|
  b = -2 - q[t-1]
  du/dt = (b + 20i)*u + I : complex
  q[t] = 0.9*q[t-1] + s
spike: real(u) > 1 + q[t-1]
"""

#: equations -> class of each state, states of each block
CLASSES: dict[str, tuple[str, dict[str, str], list[tuple[str, ...]]]] = {
    "coupled": (
        "|\n  dx/dt = -x - 4*y + I\n  dy/dt = 4*x - y\n  dz/dt = -z\n",
        {"x": "linear", "y": "linear", "z": "linear"},
        [("x", "y"), ("z",)],
    ),
    "chain, written backwards": (
        "|\n  dv/dt = -v + w\n  dw/dt = -w + j\n  dj/dt = -j + I\n",
        {"v": "linear", "w": "linear", "j": "linear"},
        [("j", "w", "v")],
    ),
    "adex": ("" + ADEX, {"v": "nonlinear", "w": "conditional"}, [("v", "w")]),
    "gates": ("" + GATES, {"v": "conditional", "m": "conditional", "h": "conditional"}, [("v", "m", "h")]),
    "qif": ("dv/dt = 0.25*v*(v - 0.5) + I\n", {"v": "nonlinear"}, [("v",)]),
    "brf": (BRF, {"u": "switched"}, [("u",)]),
    "conductance": ("dv/dt = -v*(1 + I) + 2*I\n", {"v": "switched"}, [("v",)]),
    "real part read": (
        "|\n  du/dt = (-1 + 2i)*u + I : complex\n  dv/dt = -v + real(u)\noutputs: v\n",
        {"u": "linear", "v": "conditional"},
        [("u",), ("v",)],
    ),
    "absolute value of itself": (
        "'du/dt = (-1 + 2i - abs(u)^2)*u + I : complex'\noutputs: real(u)\n",
        {"u": "nonlinear"},
        [("u",)],
    ),
    "conjugate": ("'du/dt = -u + conj(u)*i + I : complex'\noutputs: real(u)\n", {"u": "nonlinear"}, [("u",)]),
    "a step of itself": ("dv/dt = -v + where(v > 1, 1, 0) + I\n", {"v": "nonlinear"}, [("v",)]),
    "rounded": ("dv/dt = I - round(v)\n", {"v": "nonlinear"}, [("v",)]),
    "floor": ("dv/dt = I - floor(v)\n", {"v": "nonlinear"}, [("v",)]),
    "detached": ("dv/dt = I - detach(v)\n", {"v": "nonlinear"}, [("v",)]),
    "relu": ("dv/dt = I - relu(v)\n", {"v": "nonlinear"}, [("v",)]),
    "clipped": ("dv/dt = I - clip(v, -1, 1)\n", {"v": "nonlinear"}, [("v",)]),
    "a step of another": (
        "|\n  dv/dt = -v + I\n  dw/dt = -w + where(v > 0, 1, 0)\n",
        {"v": "linear", "w": "conditional"},
        [("v",), ("w",)],
    ),
    "chosen by the input": ("dv/dt = where(I > 0, -v, -2*v)\n", {"v": "switched"}, [("v",)]),
    "linear that reads nonlinear": (
        "|\n  dv/dt = -v^2 + I\n  dw/dt = -w + v\n",
        {"v": "nonlinear", "w": "conditional"},
        [("v",), ("w",)],
    ),
    "cancels": ("dv/dt = v^2 - v*v - v + I\n", {"v": "linear"}, [("v",)]),
    "second order": ("|\n  x'' = -4*x - x' + I\noutputs: x\n", {"x": "linear", "x'": "linear"}, [("x", "x'")]),
    "no flow": ("v[t] = 0.9*v[t-1] + I\n", {}, []),
}


@pytest.mark.parametrize("name", CLASSES)
def test_classes_and_blocks(name: str) -> None:
    text, classes, blocks = CLASSES[name]
    report = neuron("equations: " + text).analyse()
    assert report.classes == classes
    assert [b.states for b in report.blocks] == blocks
    assert all(f.evidence in EVIDENCE for f in report.facts)
    report.to_json(), str(report)


@pytest.mark.parametrize("name", CLASSES)
def test_a_linear_block_is_its_flow(name: str) -> None:
    """A x + drive equals the right side, as expressions and at random numbers."""
    report = neuron("equations: " + CLASSES[name][0]).analyse()
    symbols = report.system.symbols
    for b in (b for b in report.blocks if b.is_linear):
        x = sp.Matrix([symbols[s] for s in b.states])
        right = sp.Matrix([report.system.flows[s] for s in b.states])
        gap = b.A * x + b.drive - right
        gap = gap.replace(fn.pick, lambda c, a, b: c * a + (1 - c) * b).replace(
            fn.gate, lambda m, strict: sp.Heaviside(m)
        )
        free = sorted(gap.free_symbols | right.free_symbols, key=str)
        for row in np.random.default_rng(0).normal(size=(5, len(free))):
            assert np.abs(np.array(gap.subs(dict(zip(free, row, strict=True))).evalf(), complex)).max() <= 1e-12
        assert not (b.A.free_symbols | b.drive.free_symbols) & set(x)


STABLE = {
    "dv/dt = (-v + I)/tau\n": ("stable", {"tau": "positive"}),
    "dv/dt = v/tau + I\n": ("unstable", {"tau": "positive"}),
    "dv/dt = (-v + I)/tau # real tau\n": ("stability depends on parameters", {"tau": "real"}),
    "|\n  dx/dt = -a*x - w*y + I\n  dy/dt = w*x - a*y\n": ("stable", {"a": "positive", "w": "positive"}),
    "|\n  dx/dt = -a*x - w*y + I\n  dy/dt = w*x - a*y # w real\n": ("stable", {"a": "positive", "w": "real"}),
    "|\n  dx/dt = -a*x + b*y + I\n  dy/dt = c*x - a*y\n": (
        "stability depends on parameters", {"a": "positive", "b": "positive", "c": "positive"},
    ),
    "|\n  dx/dt = a*x - w*y + I\n  dy/dt = w*x + a*y\n": ("unstable", {"a": "positive", "w": "positive"}),
    "|\n  x'' = -k*x - d*x' + I\n": ("stable", {"k": "positive", "d": "positive"}),
    "'du/dt = (-b + i*w)*u + I : complex'\noutputs: real(u)\n": ("stable", {"b": "positive", "w": "real"}),
    "'du/dt = i*w*u + I : complex'\noutputs: real(u)\n": ("stability depends on parameters", {"w": "real"}),
    "|\n  dj/dt = -j/s + I\n  dv/dt = (-v + j)/m\n": ("stable", {"s": "positive", "m": "positive"}),
}  # fmt: skip


@pytest.mark.parametrize("text", STABLE)
def test_what_is_said_of_stability_is_true(text: str) -> None:
    """What is claimed holds at random parameters; where it can be decided by our means, it is claimed."""
    claim, domains = STABLE[text]
    rows = ", ".join(f"{p}: {{value: 1, domain: {d}}}" for p, d in domains.items())
    report = neuron("parameters: {" + rows + "}\nequations: " + text).analyse()
    said = {f.claim for f in report.facts if "stab" in f.claim}
    if claim != "stable" or "x''" not in text:  # a proof for full blocks with a square root may be missing
        assert said <= {claim, "stability depends on parameters"}
    rng, A = np.random.default_rng(0), report.blocks[0].A
    for _ in range(50):
        values = {
            report.system.symbols[p]: rng.uniform(0.1, 5) * (1 if d == "positive" else rng.choice([-1, 1]))
            for p, d in domains.items()
        }
        worst = np.linalg.eigvals(np.array(A.subs(values).evalf(), complex)).real.max()
        assert "stable" not in said or worst < 0
        assert "unstable" not in said or worst > 0


def test_facts_name_what_breaks_linearity() -> None:
    facts = {f.subject: f for f in neuron("equations: " + ADEX).analyse().facts}
    assert "exp" in facts["v"].detail
    facts = {f.subject: f for f in neuron("equations: dv/dt = I - round(v)\n").analyse(brief=True).facts}
    assert "step or detached value of v" in facts["v"].detail


def test_degenerate_sets() -> None:
    text = "parameters: {s: {value: 5, domain: positive}, m: {value: 10, domain: positive}}\nequations: |\n"
    chain = neuron(text + "  dj/dt = -j/s + I\n  dv/dt = (-v + j)/m\n").analyse()
    s, m = chain.system.symbols["s"], chain.system.symbols["m"]
    assert [sp.simplify(e.lhs - e.rhs).subs(s, m) for e in chain.degenerate] == [0]
    apart = neuron(text + "  dj/dt = -j/s + I\n  dv/dt = -v/m + I\n").analyse()
    assert apart.degenerate == ()
    assert neuron("equations: |\n  dj/dt = -j + I\n  dv/dt = -2*v + j\n").analyse().degenerate == ()


def test_resets_are_facts() -> None:
    text = "equations: dv/dt = -v + I\nevents:\n  a: {when: v > 1, reset: v -= 1}\n"
    text += "  b: {when: v > 2, reset: {do: v = 0, when: next_step}}\n  c: {when: v > 3}\noutputs: a + b + c\n"
    claims = {f.subject: f.claim for f in neuron(text).analyse().facts}
    assert claims["a"] == "resets in the same step"
    assert claims["b"] == "resets in the next step"
    assert claims["c"] == "assigns nothing"
