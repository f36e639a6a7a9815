"""What the paper claims: ours from neuroode's float64 reference and its analysis, theirs from the paper's formulas."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import numpy as np
from scipy.signal import find_peaks

from neuroode.analysis.response import Peak, peak
from neuroode.neuron import Neuron, load
from neuroode.papers.drf import theirs

Array = np.ndarray
STEPS, LANES = 1024, 25
DELTA, OMEGA = 0.01, 20.0  # of single branches


def _parameters(n: int, seed: int) -> dict[str, Array]:
    """Random neurons with n branches; alpha from U(0, 0.5)."""
    random = np.random.default_rng(seed)
    C = random.normal(size=(LANES, n)) + 1j * random.normal(size=(LANES, n))
    return {
        "delta": np.exp(random.uniform(np.log(1e-2), np.log(0.1), LANES)),
        "tau": random.uniform(0.5, 4, (LANES, n)),
        "omega": random.uniform(0, 20, (LANES, n)),
        "C": C,
        "alpha": np.round(random.uniform(0, 0.5, 4) * 2**20) / 2**20,  # sums of them are exact in any order
    }


def _poles(values: Mapping[str, Array]) -> tuple[Array, Array]:
    """delta (lanes, 1) and lambda (lanes, n)."""
    return values["delta"][:, None], -1 / values["tau"] + 1j * values["omega"]


def _drive(seed: int) -> Array:
    """Noise strong enough for a third of the steps to cross V_pre."""
    return 8 * np.random.default_rng(seed).normal(size=(STEPS, LANES))


@cache
def _run(n: int, compat: str | None = None) -> tuple[Array, dict[str, Array], dict[str, Array]]:
    """Input, parameters, and our trace without its axis of samples."""
    x, values = _drive(seed=n), _parameters(n, seed=100 + n)
    rows = load("drf", compat=compat).simulate(x[:, None], parameters=values, axes={"k": n})
    return x, values, {name: array[:, 0] for name, array in rows.items()}


def paths() -> Mapping[str, float]:
    """Z and H by FFT beside our steps, for 1, 4 and 8 branches."""
    found = {}
    for n in (1, 4, 8):
        x, values, ours = _run(n)
        delta, pole = _poles(values)
        gain = theirs.exact_gain(delta, pole)
        Z = theirs.branches(x, delta, pole, gain)
        H = theirs.convolved(x, theirs.kernel(STEPS, values["C"], delta, pole, gain))
        found[f"Z, {n} branches"] = _off(Z, ours["z"])
        found[f"H from one real kernel, {n} branches"] = _off(H, ours["h"])
    return found


def _off(found: Array, wanted: Array) -> float:
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


def _one_branch(tau: float, omega: float, delta: float) -> Neuron:
    """D-RF with one branch of these numbers."""
    changed: dict[str, object] = {"delta": {"value": delta, "domain": "positive", "transform": "exp"}}
    changed |= {"tau": {"value": tau, "per": ["channel", "k"]}, "omega": {"value": omega, "per": ["channel", "k"]}}
    return load("drf").with_axes({"k": 1}).replace(parameters=changed)


def _constant_input(delta: float, dirac: bool) -> float:
    """Error at time 1 of an input of 1, at lambda = -1 + 10i; `dirac`: the input enters with the gain delta."""
    neuron = _one_branch(1.0, 10.0, delta)
    neuron = neuron.replace(inputs={"I": {"kind": "impulse", "at": "end"}}) if dirac else neuron
    z = neuron.simulate(np.ones((round(1 / delta), 1, 1)))["z"][-1].item()
    pole = -1 + 10j
    return float(abs(z - np.expm1(pole) / pole))


def held_input() -> Mapping[str, float]:
    """A constant input is integrated exactly with the true gain; with the gain delta the error is of first order."""
    coarse, fine = (_constant_input(delta, dirac=True) for delta in (0.01, 0.005))
    return {
        "error with the exact gain": _constant_input(0.01, dirac=False),
        "with the gain delta = 0.01": coarse,
        "its order": np.log2(coarse / fine),
    }


def gain_sign() -> Mapping[str, float]:
    """The gain printed in App. A.2 beside the one that our step takes, at lambda = -1 + 10i."""
    pole, delta = -1 + 10j, 0.01
    ours = _one_branch(1.0, 10.0, delta).simulate(np.ones((1, 1, 1)))["z"].item()
    right, printed = np.expm1(delta * pole) / pole, -np.expm1(delta * pole) / pole
    return {"printed gain off": abs(printed - ours) / abs(ours), "right gain off": abs(right - ours) / abs(ours)}


def threshold() -> Mapping[str, float]:
    """The threshold by one FIR filter over the whole sequence beside ours, step by step, over the same H."""
    _, values, ours = _run(4)
    v_th = theirs.raised((ours["h"] > 1).astype(float), values["alpha"])
    return {
        "differing spikes": int(((ours["h"] > v_th) != ours["s"]).sum()),
        "differing thresholds": int((v_th != ours["v_th"]).sum()),
        "steps": ours["s"].size,
    }


def thinning() -> Mapping[str, float]:
    """Which share of the steps crosses V_pre, which the threshold."""
    _, _, ours = _run(4)
    return {
        "spikes without a pre-spike": int((ours["s"] > ours["p"]).sum()),
        "rate of p": ours["p"].mean(),
        "rate of s": ours["s"].mean(),
    }


def no_alpha() -> Mapping[str, float]:
    """alpha = 0: every pre-spike is emitted."""
    values = _parameters(4, seed=104) | {"alpha": np.zeros(4)}
    rows = load("drf").simulate(_drive(4)[:, None], parameters=values)
    return {"differing spikes": int((rows["s"] != rows["p"]).sum()), "spikes": int(rows["s"].sum())}


def own_spikes() -> Mapping[str, float]:
    """The rule of the paper beside one where the emitted spikes raise the threshold."""
    _, values, ours = _run(4)
    _, _, other = _run(4, "own_spikes")
    wanted = theirs.own_spikes(other["h"], values["alpha"])
    return {
        "steps that differ": (ours["s"] != other["s"]).mean(),
        "our compat own_spikes against that rule": int((other["s"] != wanted).sum()),
        "rate with pre-spikes": ours["s"].mean(),
        "rate with own spikes": other["s"].mean(),
    }


@cache
def _response(tau: float, dirac: bool = False) -> tuple[Array, Array, Peak]:
    """|H| of a step of one branch on a grid of rad a sample, and its peak; `dirac`: with the gain delta."""
    neuron = _one_branch(tau, OMEGA, DELTA)
    neuron = neuron.replace(inputs={"I": {"kind": "impulse", "at": "end"}}) if dirac else neuron
    figures = neuron.analyse(1.0).figures
    assert figures is not None
    assert figures.step is not None
    one, grid = figures.step.channel("z__0", "I"), np.linspace(-np.pi, np.pi, 2001)
    return grid, np.abs(one.at(grid)[:, 0, 0]), peak(one)


def frequency_response() -> Mapping[str, float]:
    """Eq. 9 on a grid beside the response of our step with the gain delta."""
    grid, ours, _ = _response(1.0, dirac=True)
    return {"off eq. 9": np.abs(ours - theirs.gain_of_eq_9(grid, DELTA, -1 + 1j * OMEGA)).max() / ours.max()}


def resonance() -> Mapping[str, float]:
    """Where it peaks, how high and how wide."""
    _, _, found = _response(1.0, dirac=True)
    assert found.bandwidth is not None
    return {
        "peak off delta omega": abs(found.frequency / (DELTA * OMEGA) - 1),
        "gain off delta/(1 - exp(-delta/tau))": abs(found.gain / (DELTA / -np.expm1(-DELTA)) - 1),
        "width off 2 delta/tau": abs(found.bandwidth / (2 * DELTA) - 1),
    }


def bandwidth() -> Mapping[str, float]:
    """Half-power widths at tau = 1 and 2; eq. 10 says that the bandwidth grows as |tau/delta|."""
    narrow, wide = (_response(tau)[2].bandwidth for tau in (2.0, 1.0))
    assert narrow is not None
    assert wide is not None
    off = max(abs(wide / (2 * DELTA) - 1), abs(narrow / DELTA - 1))
    return {"width at tau = 2 over width at tau = 1": narrow / wide, "widths off 2 delta/tau": off}


def phase() -> Mapping[str, float]:
    """Phase of z against the input at its resonance, in degrees, of dz/dt = (-1/tau + i omega) z + I."""
    figures = _one_branch(2.0, OMEGA, DELTA).analyse(1.0).figures
    assert figures is not None
    assert figures.flow is not None
    response = figures.flow.channel("z__0", "I").at(np.array([DELTA * OMEGA]))[0, 0, 0]
    degrees = float(np.degrees(np.angle(response)))
    return {"degrees off -90": abs(degrees + 90), "degrees off 0": abs(degrees)}


def peaks() -> Mapping[str, float]:
    """Peaks of the spectrum of H after an impulse, of branches whose frequencies are far apart."""
    found = {}
    for n in (1, 4, 8):
        omega, steps = np.linspace(20, 160, n)[None], 2048
        values = {"delta": np.array([0.01]), "tau": np.full((1, n), 2.0), "omega": omega, "C": np.ones((1, n)) + 0j}
        x = np.zeros((steps, 1, 1))
        x[0] = 1
        h = load("drf").simulate(x, parameters=values, axes={"k": n})["h"][:, 0, 0]
        spectrum = np.abs(np.fft.rfft(h))
        at, _ = find_peaks(spectrum, prominence=0.1 * spectrum.max())
        found[f"peaks of {n} branches"] = len(at)
        off = np.abs(2 * np.pi * at / steps - 0.01 * omega[0]) if len(at) == n else np.array([np.inf])
        found[f"furthest from delta omega, {n} branches"] = off.max()
    return found


def stability() -> Mapping[str, float]:
    """Points of the parameters' domains whose multiplier lies within the unit circle; with Euler steps too."""
    rows = {}
    for method in ("exact", "euler"):
        figures = load("drf").analyse(1.0, method).figures
        assert figures is not None
        shares = figures.shares.values()
        rows[f"stable share, {method}"] = sum(s[2] for s in shares) / sum(s[3] for s in shares)
    return rows
