"""What gradient an event, its reset and a combined guard have (language.md, sections 3 and 4)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from references import neuron, slots

from neuroode.program import interpret


def _gradient(text: str, x: np.ndarray) -> np.ndarray:
    n = neuron(text)
    program = n.program(1.0)
    values = slots(n, 1.0, (1,))
    result = interpret.run(program, values, {"I": x.reshape(-1, 1, 1)})
    seed = {program.outputs[0][0]: np.eye(len(x))[-1].reshape(-1, 1, 1)}  # of the last output
    return interpret.gradients(program, values, result, seed).inputs["I"].ravel()


RESET = (
    "equations: v[t] = 0.5*v[t-1] + I\nspike: v > 1\nreset: {reset}\noutputs: v\nsurrogate: {{kind: atan, width: 2}}\n"
)


@pytest.mark.parametrize("detached", [False, True])
@pytest.mark.parametrize(
    ("reset", "target"), [("v -= 3", lambda h: h - 3), ("v = 0.2", lambda h: 0.2), ("v *= 0.3", lambda h: 0.3 * h)]
)
def test_the_gradient_of_a_reset(reset: str, target: Callable[[float], float], detached: bool) -> None:
    """Of x + e*(target - x): the slope of the branch, and the jump times the surrogate unless it is detached."""
    text = RESET.format(reset=reset) + ("reset_gradient: detached\n" if detached else "")
    h = 1.5  # fires in step 0
    slope_of_e = 0.0 if detached else 1 / (1 + ((h - 1) / 2) ** 2)
    inner = (target(h + 1e-6) - target(h - 1e-6)) / 2e-6
    wanted = 0.5 * (inner + slope_of_e * (target(h) - h))
    found = _gradient(text, np.array([h, 0.1]))
    assert abs(found[0] - wanted) <= 1e-9
    assert found[1] == 1


def test_the_gradient_of_a_late_reset_passes_the_event() -> None:
    text = RESET.format(reset="{do: v -= 3, when: next_step}")
    assert abs(_gradient(text, np.array([1.5, 0.1]))[0] - (0.5 - 3 / (1 + 0.25**2))) <= 1e-12
    text += "reset_gradient: detached\n"
    assert _gradient(text, np.array([1.5, 0.1]))[0] == 0.5


def test_the_gradient_of_combined_guards() -> None:
    """`and` multiplies, `or` is 1-(1-a)(1-b), `not` is 1-a, each comparison with its own surrogate."""
    surrogate = "surrogate: straight_through\n"
    for guard, wanted in (
        ("v > 1 and v > 2", 1.0),  # v = 1.5: a = 1, b = 0: a' b + a b' = 1
        ("v > 1 or v > 2", 1.0),  # (1 - b) a' + (1 - a) b' = 1
        ("not (v > 1)", -1.0),
        ("v < 1 or v > 2", 0.0),  # a = 0 with slope -1, b = 0 with slope 1
        ("v > 1 and not (v > 2)", 0.0),  # 1*(1 - 0) + 1*(-1)
    ):
        found = _gradient(f"equations: v[t] = I\nspike: {guard}\n{surrogate}", np.array([1.5]))
        assert found[0] == wanted, guard
