"""The neurons of the paper as neuroode has them, and inputs that make them fire."""

from __future__ import annotations

import numpy as np

from neuroode.neuron import Neuron, load

Array = np.ndarray


def soft_lif(reset_gradient: str = "detached") -> Neuron:
    """Eq. 2-3; beta and v_th are trained. The reset ends a step, so that the next one decays what it left."""
    return Neuron(
        "soft_lif",
        equations="v[t] = beta*v[t-1] + I",
        parameters={"beta": {"value": 0.9, "domain": "unit", "per": "neuron"}, "v_th": {"value": 1.0, "per": "neuron"}},
        spike="v >= v_th",
        reset="v -= v_th",
        reset_gradient=reset_gradient,
        surrogate={"kind": "atan", "width": "1/pi"},
    )


def drive(shape: tuple[int, ...], seed: int, mean: float = 0.3) -> Array:
    """Normal noise around a mean (T, lanes): no two potentials meet a threshold exactly."""
    return np.random.default_rng(seed).normal(mean, 1.0, shape)


def constant_lif(beta: float) -> Neuron:
    """The same with numbers that are not trained, as in the released code."""
    return soft_lif().replace(parameters={"beta": beta, "v_th": 1.0})


def decoupled_lif(beta: float) -> Neuron:
    """The zoo's form of Algorithm 2 with a beta that is not trained; no gradient passes the spikes of the reset."""
    return load("prf_decoupled_lif", compat="detached").replace(parameters={"beta": beta})


def trained_lif(compat: str | None) -> Neuron:
    """The zoo's form with one trained beta a neuron: as it is, or main_text, detached, code_gradient."""
    beta = {"value": 0.9, "domain": "unit", "per": "neuron"}
    return load("prf_decoupled_lif", compat=compat).replace(parameters={"beta": beta})
