"""Axes written out: how much of it there may be, and how it is shown."""

from __future__ import annotations

import pytest

import neuroode as no
from neuroode.expr.alike import listed, said_once


def dense(k: int) -> no.Neuron:
    return no.Neuron(
        "dense", axes={"k": k, "l": "k"}, parameters={"W": no.Parameter(init="normal(0, 0.1)", per=["k", "l"])},
        equations="dq[k]/dt = -q[k] + sum_l(W[k, l]*q[l]) + I",
    )  # fmt: skip


def test_what_becomes_too_large_is_refused_before_it_is_made() -> None:
    dense(40).system()
    with pytest.raises(no.AnalysisError, match=r"has 5,150 operations with its axes written out, 5,150 in 'q'"):
        dense(50).system()
    with pytest.raises(no.AnalysisError, match="at most 4,000: choose smaller axes"):
        dense(100_000).system()


def test_a_window_of_32_and_128_resonators_fit() -> None:
    assert len(no.load("sliding_psn").program().carry) == 31
    assert len(no.load("drf").program(axes={"k": 128}).carry) == 256 + 4


def test_elements_are_shown_once() -> None:
    text = str(no.load("drf").analyse(brief=True))
    assert (
        "block z[0]: affine; A = [[i*delta*omega[0] - delta/tau[0]]], drive = [I[t]*delta]; alike: z[1], z[2]" in text
    )
    assert "__" not in text
    assert len(str(no.load("drf").discretize()).splitlines()) == 2
    assert len(str(no.load("drf").program(axes={"k": 32}).plan).splitlines()) == 5
    assert str(dense(6).system()).count("\n") == 0


def test_texts_about_elements() -> None:
    assert listed(["v", "z__0", "z__1", "u"]) == "v, z__0, z__1, u"
    rows = [f"z__{k}: fine" for k in range(9)]
    assert said_once([*rows, "v: fine"]) == ["z[0]: fine; alike: z[1] ... z[8]", "v: fine"]
    assert said_once(["v1: fine", "v2: fine"]) == ["v1: fine", "v2: fine"]
    assert said_once([f"x__{k}: is {k}" for k in range(3)]) == [f"x[{k}]: is {k}" for k in range(3)]  # few: each
    assert said_once([f"x__{k}: is {k}" for k in range(6)]) == ["x[0]: is 0; alike: x[1] ... x[5]"]


def test_errors_name_elements_as_they_are_written() -> None:
    neuron = no.Neuron("n", axes={"k": 2}, equations="dv[k]/dt = -v[k]^3 + I", method="exact")
    with pytest.raises(no.Unsupported, match=r"does not apply to v\[0\]"):
        neuron.discretize()


def test_methods_by_name_of_the_array() -> None:
    n = no.Neuron("n", axes={"k": 2}, equations="dv[k]/dt = -v[k]^3 + I; dw[k]/dt = v[k]")
    methods = {u.states: u.method for u in n.discretize(method={"v": "euler", "w": "euler"}).updates}
    assert set(methods.values()) == {"euler"}
    assert n.discretize(method="semi_implicit(w, v)").updates[0].states == ("w__0", "w__1", "v__0", "v__1")
