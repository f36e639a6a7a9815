"""What the paper claims about values: ours from neuroode's float64 reference, theirs from its formulas."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import numpy as np

from neuroode.neuron import Neuron, load
from neuroode.papers.prf import theirs
from neuroode.papers.prf.neurons import Array, drive, soft_lif, trained_lif

STEPS, LANES = 1024, 200


@cache
def _lif() -> tuple[Array, Array, Array, Array]:
    """Input and decay, and our spikes and potentials before the reset, of 200 neurons with decays up to 0.99."""
    c = drive((STEPS, LANES), seed=0)
    beta = np.random.default_rng(1).uniform(0.1, 0.99, LANES)
    rows = soft_lif().simulate(c[:, None], parameters={"beta": beta})
    return c, beta, rows["s"][:, 0], rows["v.before"][:, 0]


def _zoo(compat: str | None) -> Array:
    """Spikes of the zoo's decoupled neuron under the same input."""
    c, beta, _, _ = _lif()
    return trained_lif(compat).simulate(c[:, None], parameters={"beta": beta})["s"][:, 0]


def spikes() -> Mapping[str, float]:
    """Algorithm 2 over a leaky sum, step by step and by FFT, beside the sequential neuron."""
    c, beta, ours, _ = _lif()
    found = {"step by step": theirs.leaky_sum(c, beta), "FFT": theirs.convolved(c, beta)}
    rows = {name: theirs.decoupled(u, beta, theirs.algorithm_2)[0] for name, u in found.items()}
    rows["our prf_decoupled_lif"] = _zoo(None)
    differing = {f"differing spikes, {name}": int((s != ours).sum()) for name, s in rows.items()}
    return differing | {"spikes": int(ours.sum()), "steps": ours.size}


def margins() -> Mapping[str, float]:
    """u_t - V against u'_t - d_t."""
    c, beta, _, u = _lif()
    total = theirs.leaky_sum(c, beta)
    _, d = theirs.decoupled(total, beta, theirs.algorithm_2)
    return {"largest difference": np.abs((u - 1) - (total - d)).max(), "largest u'": np.abs(total).max()}


def main_text() -> Mapping[str, float]:
    """The threshold V (1 + beta*A_t), A_t = A_{t-1} + s_{t-1}, of eq. 4, 5 and 7-11."""
    c, beta, ours, _ = _lif()
    total = theirs.leaky_sum(c, beta)
    published = theirs.decoupled(total, beta, theirs.main_text, gain=beta)[0]
    right = theirs.decoupled(total, beta, theirs.algorithm_2)[0]
    return {
        "wrong steps of eq. 7-11": (published != ours).mean(),
        "wrong steps of Algorithm 2": (right != ours).mean(),
        "our compat main_text against eq. 7-11": int((_zoo("main_text") != published).sum()),
    }


def _prf(compat: str | None, delta: float, theta: float, tau: float = 2.0) -> Neuron:
    """One PRF neuron with these numbers."""
    changed: dict[str, object] = {"delta": {"value": delta, "domain": "positive", "transform": "exp"}}
    changed |= {"theta": {"value": theta}, "tau": tau}
    return load("prf", compat=compat).replace(parameters=changed)


def real_form() -> Mapping[str, float]:
    """Eq. 17 and 18 as two real equations beside the complex one, each integrated exactly."""
    x, gamma, theta = drive((5, 1, 1), seed=2), -0.5, 1.3
    u = _prf(None, 1.0, theta).simulate(x)["u"]
    rows = {}
    for name, of_r in {"eq. 17": "theta*u + gamma*r", "eq. 18": "gamma*u + theta*r"}.items():
        pair = Neuron(
            "pair",
            equations=f"du/dt = gamma*u - theta*r + I; dr/dt = {of_r}",
            parameters={"gamma": gamma, "theta": theta},
            dt=1.0,
            outputs="u",
        )
        found = pair.simulate(x)["u"]
        rows[f"difference of {name}"] = np.abs(found - u.real).max() / np.abs(u.real).max()
    return rows


def frequency_response() -> Mapping[str, float]:
    """Where |H| peaks, and how high; of the equations and of the step."""
    delta, theta, tau = 0.05, 1.5, 2.0
    figures = _prf("paper", delta, theta, tau).analyse(1.0).figures
    assert figures is not None
    (channel,) = [c for c in figures.channels() if c.row == "u"]
    assert channel.flow is not None
    gain = delta / -np.expm1(-delta / tau)
    return {
        "flow, frequency": abs(channel.flow.frequency / delta / theta - 1),
        "flow, gain": abs(channel.flow.gain / tau - 1),
        "step, frequency": abs(channel.step.frequency / (delta * theta) - 1),
        "step, gain": abs(channel.step.gain / gain - 1),
    }


def no_rotation() -> Mapping[str, float]:
    """theta = 0 and delta = 1 beside leaky sums with the exact decay and with the one of Theorem 2."""
    tau, x = 2.0, drive((400, 1), seed=3)
    u = _prf("paper", 1.0, 0.0, tau).simulate(x[:, None])["u"][:, 0]
    exact = theirs.leaky_sum(x, np.array([np.exp(-1 / tau)]))
    return {
        "difference at beta = exp(-1/tau)": np.abs(u - exact).max(),
        "exp(-1/tau) - (1 - 1/tau) at tau = 2": np.exp(-1 / tau) - (1 - 1 / tau),
    }


def input_gain() -> Mapping[str, float]:
    """The gain delta of eq. 19 beside that of a held input, which our prf has: one step from rest, input 1."""
    delta, theta, tau = 0.01, 3.0, 2.0
    held, published = (
        _prf(name, delta, theta, tau).simulate(np.ones((1, 1, 1)))["u"].item() for name in (None, "paper")
    )
    pole = -1 / tau + 1j * theta
    off = abs(published - held) / abs(held)
    return {
        "our gain off (exp(delta lambda) - 1)/lambda": abs(held - np.expm1(delta * pole) / pole) / abs(held),
        "delta off it": off,
        "that over delta abs(lambda)/2": off / (delta * abs(pole) / 2),
    }


def variance() -> Mapping[str, float]:
    """Stationary variance of Re u under white noise of variance 1, measured; and both formulas."""
    delta, theta, tau, steps = 0.1, np.pi / 2, 2.0, 4000
    x = np.random.default_rng(4).normal(size=(steps, 1, 400))
    u = _prf("paper", delta, theta, tau).simulate(x)["u"].real[500:]
    A = np.exp(delta * (-1 / tau + 1j * theta))
    ours = delta**2 / 2 * (1 / (1 - abs(A) ** 2) + (1 / (1 - A**2)).real)
    theorem = tau * delta / 2
    measured = float((u**2).mean())
    return {
        "measured": measured,
        "Theorem 3": theorem,
        "off Theorem 3": abs(measured / theorem - 1),
        "off ours": abs(measured / ours - 1),
    }


def reset_rule() -> Mapping[str, float]:
    """Soft reset of the complex state beside raised thresholds that decay with Re(A) (released) and with A."""
    random, tau = np.random.default_rng(5), 2.0
    delta, theta = random.uniform(0.2, 1, 25), random.uniform(0.5, 3, 25)
    c = drive((STEPS, 25), seed=6, mean=1.0)
    values = {"delta": delta, "theta": theta, "tau": tau}
    reset, released = (
        load("prf", compat=name).simulate(c[:, None], parameters=values)["s"][:, 0] for name in ("reset", "code_reset")
    )
    A = np.exp(delta * (-1 / tau + 1j * theta))
    real, complex_ = (theirs.prf_with_reset(c, delta, theta, tau, decay) for decay in (A.real, A))
    return {
        "wrong steps with Re(A)": (real != reset).mean(),
        "wrong steps with A": (complex_ != reset).mean(),
        "our compat code_reset against Re(A)": int((released != real).sum()),
    }
