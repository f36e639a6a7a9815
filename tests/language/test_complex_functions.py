"""Elementary functions of complex states against numpy's and mpmath's, and their gradients."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
import torch
from line import check_line
from references import neuron, slope

FUNCTIONS = ["log(z)", "sqrt(z)", "z^0.3", "z^(-1.5)", "z^(0.5 + 2i)", "3^z", "sin(z)", "cos(z)", "tan(z)", "sinh(z)",
             "cosh(z)", "tanh(z)", "exp(z)", "abs(z)", "arg(z)", "conj(z)^3"]  # fmt: skip
POINTS = np.array([0.3 + 0.4j, -0.7 + 0.2j, -1.2 - 2.1j, 2.5 - 0.1j, 0.9j, 30 + 0.5j, -1.1 + 1e-9j])


def made(text: str):
    lines = f"  z[t] = I + i*K : complex\n  w = {text}\n"
    return neuron("inputs: {I: current, K: current}\nequations: |\n" + lines + "outputs: {x: real(w), y: imag(w)}\n")


def reference(text: str, z: complex) -> complex:
    names = {
        n: getattr(mpmath, n)
        for n in ("log", "sqrt", "sin", "cos", "tan", "sinh", "cosh", "tanh", "exp", "arg", "conj")
    }
    with mpmath.workdps(40):
        found = eval(text.replace("^", "**").replace("2i", "2j"), {**names, "abs": abs, "z": mpmath.mpmathify(z)})
        return complex(found)


@pytest.mark.parametrize("text", FUNCTIONS)
def test_values_and_slopes(text: str) -> None:
    n = made(text)
    x = {"I": POINTS.real.reshape(1, 1, -1), "K": POINTS.imag.reshape(1, 1, -1)}
    found = n.simulate(x, 1.0)
    got = (found["x"] + 1j * found["y"]).ravel()
    wanted = np.array([reference(text, z) for z in POINTS])
    assert np.all(np.abs(got - wanted) <= 2e-14 * np.maximum(np.abs(wanted), 1e-2))
    layer = n.torch(len(POINTS), 1.0, dtype=torch.float64, schedule="eager")
    leaf = torch.tensor(x["I"], requires_grad=True)
    out, _ = layer({"I": leaf, "K": torch.tensor(x["K"])})
    (g,) = torch.autograd.grad((out["x"] + 2 * out["y"]).sum(), leaf)

    def total(h: float) -> np.ndarray:
        rows = n.simulate({"I": x["I"] + h, "K": x["K"]}, 1.0)
        return (rows["x"] + 2 * rows["y"]).ravel()

    rates = slope(total, 0.0)
    assert np.allclose(g.numpy().ravel(), rates, rtol=1e-6, atol=1e-8)


def test_line() -> None:
    n = neuron(
        "inputs: {I: current, K: current}\nequations: |\n  z[t] = 0.5*tanh(z[t-1]) + sqrt(I + i*K) : complex\n"
        "  w[t] = log(2 + sin(z)/cosh(z)) + tan(z/4)^(1 + 1i) : complex\noutputs: {x: real(w), y: imag(z)}\n"
    )
    rng = np.random.default_rng(0)
    check_line(n, {"I": rng.normal(1, 0.3, (12, 2, 2)), "K": rng.normal(1, 0.3, (12, 2, 2))}, 1.0)  # fmt: skip
