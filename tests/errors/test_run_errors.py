"""Calls that are wrong at run time: one error of ours, with what was found and what to write."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import neuroode as no
from neuroode.spec.read_yaml import read_text

BOTH = pytest.mark.parametrize("schedule", ["auto", "eager"])


def made(text: str) -> no.Neuron:
    return no.Neuron.from_spec(read_text("neuron: made\n" + text))


EXPLOSIVE = made("dt: 1\nmethod: euler\nequations: |\n  dv/dt = v*v*v + I\n  dw/dt = v - w\noutputs: w\n")


def test_simulate_says_where_a_number_left_the_finite_ones() -> None:
    x = np.zeros((20, 3, 2))
    EXPLOSIVE.simulate(x, check_finite=True)
    x[1, 2, 1] = 9.0
    v = EXPLOSIVE.simulate(x)["v"]
    first = int(np.argwhere(~np.isfinite(v[:, 2, 1]))[0, 0])
    assert first > 1
    with pytest.raises(no.RunError, match=rf"^'v' of 'made' is not finite from step {first} on, lane \(2, 1\)$"):
        EXPLOSIVE.simulate(x, check_finite=True)


@BOTH
def test_a_parameter_that_is_not_finite_is_found(schedule: str) -> None:
    layer = no.load("lif").torch(3, check_finite=True, schedule=schedule)
    with torch.no_grad():
        for raw in layer.parameters():
            raw.fill_(float("nan"))
    with pytest.raises(no.RunError, match=r"'v' of 'lif' is not finite from step 0 on, lane \(0, 0\)"):
        layer(torch.ones(2, 1, 3))


def test_inputs_that_are_no_dense_real_arrays() -> None:
    lif = no.load("lif")
    with pytest.raises(no.RunError, match="input 'I' is complex, expected real numbers\nhint: pass its real part"):
        lif.simulate(np.zeros((2, 1, 1), complex))
    with pytest.raises(no.RunError, match="input 'I' is sparse"):
        lif.torch(3)(torch.zeros(2, 1, 3).to_sparse())
    with pytest.raises(no.Unsupported, match="method is 3\nhint: write its name"):
        lif.program(method=3)


CARRIES = {
    "another model": (lambda: no.load("alif").torch(3), "another model"),
    "another method": (lambda: no.load("lif").torch(3, method="euler"), "another model or method"),
    "another size": (lambda: no.load("lif").torch(4), r"expected \(2, 4\)"),
    "another dtype": (
        lambda: no.load("lif").torch(3, dtype=torch.float64),
        "torch.float32 cpu, expected .*torch.float64",
    ),
}


@pytest.mark.parametrize("case", CARRIES)
def test_carries_of_others(case: str) -> None:
    make, message = CARRIES[case]
    _, carry = make()(torch.zeros(1, 2, *make().size, dtype=make()._like.dtype))
    receiver = no.load("lif").torch(3)
    wanted = message if case != "another size" else r"\(2, 4\).*expected \(2, 3\)"
    wanted = wanted if case != "another dtype" else "float64 cpu, expected .*float32"
    with pytest.raises(no.RunError, match=wanted):
        receiver(torch.zeros(1, 2, 3), carry)


def test_a_carry_of_another_batch_and_things_that_are_no_carry() -> None:
    layer = no.load("lif").torch(3)
    _, carry = layer(torch.zeros(1, 2, 3))
    with pytest.raises(no.RunError, match="the batch changed"):
        layer(torch.zeros(1, 5, 3), carry)
    for other in ({"v": torch.zeros(2, 3)}, (1, 2), torch.zeros(2, 3)):
        with pytest.raises(no.RunError, match=f"the carry is of a {type(other).__name__}"):
            layer(torch.zeros(1, 2, 3), other)


def test_errors_of_the_python_form_name_the_callers_line() -> None:
    with pytest.raises(no.SpecError) as caught:
        no.Neuron("x", equations="dv/dt = -v/tua + I", parameters={"tau": 1})
    assert "test_run_errors.py" in str(caught.value)
    assert "did you mean 'tau'" in str(caught.value)
