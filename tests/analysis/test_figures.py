"""Modes, responses and resting points against numpy, scipy.signal and runs of the interpreter."""

from __future__ import annotations

import json

import numpy as np
import pytest
import scipy.signal
from references import distance, neuron

import neuroode as no
from neuroode.analysis.response import StateSpace, peak
from neuroode.models import names

RNG = np.random.default_rng(3)
OSCILLATOR = """
dt: 0.02
parameters: {g: {value: 1.5, domain: positive}, w: {value: 8, domain: positive}}
equations: |
  x'' = -w^2*x - g*x' + I
outputs: {x: x, y: 2*x - x'}
"""
#: text or zoo name -> method, dt
SYSTEMS = {
    "lif": ("lif", None, 1.0), "lif, euler": ("lif", "euler", 5.0), "cuba_lif": ("cuba_lif", None, 1.0),
    "rf": ("rf", None, 0.01), "rf, bilinear": ("rf", "bilinear", 0.01), "bhrf": ("bhrf", None, 0.01),
    "bhrf, code": ("bhrf", "semi_implicit(v, u)", 0.01), "brf": ("brf", None, 0.01),
    "oscillator": (OSCILLATOR, None, 0.02), "oscillator, heun": (OSCILLATOR, "heun", 0.02),
    "lags": ("dt: 1\nequations: dv/dt = -0.2*v + I + 0.5*I[t-2]\noutputs: v\n", None, 1.0),
    "map": ("equations: 'v[t] = 0.9*v[t-1] - 0.3*u[t-1] + I; u[t] = 0.4*v + 0.5*u[t-1]'\noutputs: v\n", None, 1.0),
}  # fmt: skip


def one(name: str) -> tuple[no.Neuron, str | None, float]:
    text, method, dt = SYSTEMS[name]
    found = neuron(text) if "equations" in text else no.load(text)
    at = {"omega": {"value": 21.0}, "b_0": {"value": 1.1}}
    if {p.name for p in found.spec.parameters} >= set(at):
        found = found.replace(parameters=at)
    return found, method, dt


@pytest.mark.parametrize("name", SYSTEMS)
def test_the_response_of_the_step_is_that_of_a_run(name: str) -> None:
    """A sinusoid through the interpreter, after its transient, without spikes; relative 1e-9."""
    found, method, dt = one(name)
    figures = found.analyse(dt, method).figures
    assert figures is not None
    assert figures.step is not None
    scale = dt if found.spec.inputs[0].kind != "current" else 1.0
    t = np.arange(int(35 / (1 - np.abs(figures.step.eigenvalues).max())))
    waves = RNG.uniform(0, np.pi, 2) / dt
    drive = [1e-6 * np.exp(1j * w * dt * t) for w in waves]
    lanes = np.stack([part for x in drive for part in (x.real, x.imag)], axis=1)
    trace = found.simulate(lanes[:, :, None], dt, method=method)
    for k, (w, x) in enumerate(zip(waves, drive, strict=True)):
        runs = [{n: v[:, 2 * k + j : 2 * k + j + 1] for n, v in trace.items()} for j in (0, 1)]
        H = figures.step.at(np.array([w]))[0, :, 0]
        for row, h in zip(figures.step.rows, H, strict=True):
            state = row.removeprefix("output ").removeprefix("real(").removeprefix("imag(").removesuffix(")")
            both = [r[state + ".before" if state + ".before" in r else state][-1, 0, 0] for r in runs]
            both = [getattr(v, row[:4]) for v in both] if row[:5] in ("real(", "imag(") else both
            got = (both[0] + 1j * both[1]) / x[-1] * scale
            assert abs(got - h) <= 1e-9 * max(abs(h), np.abs(H).max()), (row, w)


@pytest.mark.filterwarnings("ignore::scipy.signal.BadCoefficients")
@pytest.mark.parametrize("name", [n for n in SYSTEMS if n not in ("lags", "map")])
def test_the_response_of_the_flow_is_scipy_s(name: str) -> None:
    found, method, dt = one(name)
    flow = found.analyse(dt, method).figures.flow
    w = np.linspace(0.1, 50, 40)
    for i, row in enumerate(flow.rows):
        wanted = np.zeros(len(w), complex)
        for factor, C in ((1, flow.C.real), (1j, flow.C.imag)):
            if np.any(C[i]):
                system = (flow.A, flow.B, C[i : i + 1], np.zeros((1, 1)))
                wanted += factor * scipy.signal.freqresp(system, w)[1]
        assert distance(flow.at(w)[:, i, 0], wanted) <= 1e-8, row


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_small_step_answers_as_the_flow_does(name: str) -> None:
    """The two responses come from different ends (symbols, the program that runs) and meet as dt goes to 0."""
    found, method, dt = one(name)
    if name in ("lags", "map", "brf", "bhrf", "bhrf, code"):
        pytest.skip("maps count steps; the flow of brf and bhrf reads dt")
    figures = found.analyse(dt / 1000, method).figures
    w = np.array([0.3, 1.0, 3.0]) * np.abs(figures.flow.eigenvalues).max()
    for row in figures.flow.rows:
        flow, step = figures.flow.channel(row, "I").at(w), figures.step.channel(row, "I").at(w)
        assert distance(step, flow) <= 0.02, row


def test_flows_in_numbers_are_the_equations() -> None:
    """A and B of a coupled pair with a complex neighbour, written out by hand."""
    text = "parameters: {a: 2, w: 3}\ninputs: {I: current, J: impulse}\nequations: |\n"
    text += "  dv/dt = -a*v + 2*u + I - J\n  du/dt = -v/4 - u\n  dz/dt = (-1 + i*w)*z + (1 + 2i)*I : complex\n"
    flow = neuron(text + "outputs: v + real(z)\n").analyse(0.1).figures.flow
    assert flow.inputs == ("I", "J")
    order = [flow.rows.index(n) for n in ("v", "u", "real(z)", "imag(z)")]
    C = flow.C[order]
    A, B = C @ flow.A @ C.T, C @ flow.B
    assert np.array_equal(A, [[-2, 2, 0, 0], [-0.25, -1, 0, 0], [0, 0, -1, -3], [0, 0, 3, -1]])
    assert np.array_equal(B, [[1, -1], [0, 0], [1, 0], [2, 0]])
    assert np.array_equal(flow.C[flow.rows.index("output out")] if "output out" in flow.rows else C[0] + C[2],
                          C[0] + C[2])  # fmt: skip


def test_modes_of_an_oscillator() -> None:
    """Time constant 2/g, quality w/g, frequency sqrt(w^2 - g^2/4); the peak of x at sqrt(w^2 - g^2/2)."""
    report = neuron(OSCILLATOR).analyse()
    columns = report.figures.modes[0].columns()
    g, w = 1.5, 8.0
    wanted = {"time constant": 2 / g, "frequency": np.sqrt(w**2 - g**2 / 4), "quality": w / g,
              "multiplier": np.exp(-g / 2 * 0.02)}  # fmt: skip
    for name, value in wanted.items():
        assert columns[name] == pytest.approx(value, rel=1e-12)
    assert columns["frequency of the step"] == pytest.approx(wanted["frequency"], rel=1e-10)
    found = peak(report.figures.flow.channel("x", "I"))
    assert found.frequency == pytest.approx(np.sqrt(w**2 - g**2 / 2), rel=1e-6)
    assert found.dc == pytest.approx(1 / w**2, rel=1e-12)
    assert found.gain == pytest.approx(1 / (g * np.sqrt(w**2 - g**2 / 4)), rel=1e-10)
    facts = {f.claim: f.detail for f in report.facts}
    assert facts["damping regime"] == "underdamped where 2*w - g > 0, critical where it is 0, overdamped below"
    assert "quality factor w/g" in facts["second order"]
    assert facts["rests at"] == "x = I/w^2, x' = 0 for constant inputs"


def test_the_resonance_of_one_complex_state() -> None:
    """papers/prf and papers/drf: peak at omega with gain tau, half-power width 2/tau (not its inverse), phase 0."""
    text = "dt: 0.01\nparameters: {tau: 2, omega: 12}\nequations: 'du/dt = (-1/tau + i*omega)*u + I : complex'\n"
    figures = neuron(text + "outputs: real(u)\n").analyse().figures
    u = figures.flow.channel("u", "I")
    found = peak(u)
    assert found.frequency == pytest.approx(12, rel=1e-7)
    assert found.gain == pytest.approx(2, rel=1e-12)
    assert found.bandwidth == pytest.approx(2 / 2, rel=1e-9)
    assert abs(np.angle(u.at(np.array([12.0]))[0, 0, 0])) <= 1e-12
    by_step = peak(figures.step.channel("u", "I"))
    assert by_step.frequency == pytest.approx(12, rel=1e-6)
    assert by_step.gain == pytest.approx(abs((np.exp((-0.5 + 12j) * 0.01) - 1) / (-0.5 + 12j)) / (1 - np.exp(-0.005)))


def test_impulses_count_as_a_rate() -> None:
    """papers/drf, eq. 9: |H| = delta/(1 - e^(delta b)) at the peak, for inputs that arrive at the end of a step."""
    text = "dt: 0.01\ninputs: {I: {kind: impulse, at: end}}\nparameters: {tau: 2, omega: 12}\n"
    text += "equations: 'du/dt = (-1/tau + i*omega)*u + I : complex'\noutputs: real(u)\n"
    found = peak(neuron(text).analyse().figures.step.channel("u", "I"))
    assert found.gain == pytest.approx(0.01 / (1 - np.exp(-0.005)), rel=1e-10)
    assert found.bandwidth == pytest.approx(2 / 2, rel=1e-2)


def test_a_low_pass_has_its_corner_at_its_rate() -> None:
    found = peak(no.load("lif").analyse().figures.flow.channel("v", "I"))
    assert (found.dc, found.frequency, found.gain) == (1.0, 0.0, 1.0)
    assert found.band[1] == pytest.approx(1 / 20, rel=1e-9)


def test_an_undamped_mode_has_no_finite_gain() -> None:
    found = peak(StateSpace(np.array([[0.0, -3.0], [3.0, 0.0]]), np.eye(2)[:, :1], np.eye(2)[:1], np.zeros((1, 1)),
                            ("I",), ("x",)))  # fmt: skip
    assert (found.frequency, found.gain) == (pytest.approx(3.0, rel=1e-14), np.inf)
    tc = next(m for m in no.load("tc_lif").analyse().figures.modes)
    assert np.isinf(tc.columns()["time constant of the step"]).all()


@pytest.mark.parametrize("gain", [0.3, 1.0, 2.5])
def test_resting_points_are_reached(gain: float) -> None:
    """The symbolic resting point of two coupled states under a constant input, against a long run."""
    text = (
        "parameters: {k: {value: 1, domain: positive}}\nequations: |\n  dv/dt = -k*v - 2*w + I\n  dw/dt = v - w/2 + 1\n"
    )
    found = neuron(text + "outputs: v\n").replace(parameters={"k": {"value": gain, "domain": "positive"}})
    detail = next(f.detail for f in found.analyse(0.1).facts if f.claim == "rests at")
    end = found.simulate(np.full((4000, 1, 1), 3.0), 0.1)
    rest = dict(part.split(" = ") for part in detail.removesuffix(" for constant inputs").split(", "))
    for state in ("v", "w"):
        assert eval(rest[state].replace("^", "**"), {"k": gain, "I": 3.0}) == pytest.approx(
            end[state][-1, 0, 0], abs=1e-10
        )


def test_singular_flows_have_no_single_resting_point() -> None:
    facts = [f.claim for f in neuron("equations: dv/dt = I\noutputs: v\n").analyse(1).facts]
    assert "no single resting point" in facts


def test_a_nonlinear_neuron_says_that_it_has_no_linear_part() -> None:
    text = "dt: 0.1\nequations: |\n  dv/dt = 0.04*v^2 + 5*v + 140 - u + I\n  du/dt = 0.02*(0.2*v - u)\n"
    text += "spike: v >= 30\nreset: v = -65; u += 8\n"
    report = neuron(text).analyse()
    assert "v, u: no linear part" in str(report)
    assert report.boundaries == ()
    assert report.figures.modes == ()
    assert report.figures.channels() == []


@pytest.mark.parametrize("text", ["v[t] = v[t-1]^2 + I", "v[t] = 0.5*v[t-1] + 0.3*v[t-2] + I"])
def test_a_map_that_is_no_matrix_says_so(text: str) -> None:
    report = neuron(f"equations: {text}\noutputs: v\n").analyse()
    assert "v: not one matrix a step" in str(report)
    assert report.boundaries == ()
    assert report.figures.modes == ()


CONSTRUCTS = {
    "coupled complex": "equations: |\n  du/dt = (-1 + 2i)*u + 0.5*w + I : complex\n  dw/dt = -0.3i*u - w : complex\n"
    "outputs: real(u)\n",
    "refractory": "refractory: 0.5\nequations: dv/dt = -v + I\nspike: v > 1\nreset: v = 0\n",
    "delay": "parameters: {d: 0.4}\nequations: dv/dt = -v + delay(I, d)\noutputs: v\n",
    "window": "axes: {k: 4}\nparameters: {w: {init: '2^(-k)', per: [k]}}\nequations: |\n  h = sum_k(w[k]*I[t-k])\n"
    "  v[t] = 0.5*v[t-1] + h\noutputs: v\n",
    "ramp": "inputs: {I: {kind: current, hold: linear}}\nequations: dv/dt = -v + I\noutputs: v\n",
    "conductance": "inputs: {g: current, I: current}\nequations: dv/dt = -v*(1+g) + I\noutputs: v\n",
    "no inputs": "states: {v: 1}\nequations: dv/dt = -v\noutputs: v\n",
}  # fmt: skip


@pytest.mark.parametrize("name", CONSTRUCTS)
def test_constructs_of_the_language(name: str) -> None:
    """The multipliers of each are those of one step from small states, by differences of runs."""
    found = neuron("dt: 0.1\n" + CONSTRUCTS[name])
    report = found.analyse()
    json.dumps(report.to_json(), allow_nan=False)
    largest = max(np.abs(m.multiplier).max() for m in report.figures.modes)
    x = {i.name: np.zeros((300, 1, 1)) for i in found.spec.inputs}
    for v in x.values():
        v[0] = 0.01
    extra = {} if x else {"steps": 300, "batch": 1}
    trace = found.simulate(x or None, 0.1, **extra)
    states = [s for m in report.figures.modes for s in m.states]
    size = np.sqrt(sum(np.abs(trace[s][:, 0, 0]) ** 2 for s in dict.fromkeys(states)))
    assert (size[280] / size[180]) ** (1 / 100) == pytest.approx(largest, rel=1e-2)


def test_a_linear_part_beside_a_nonlinear_one() -> None:
    text = "dt: 0.1\nequations: |\n  dj/dt = -j/5 + I\n  dv/dt = v^2 + j\noutputs: v\n"
    report = neuron(text).analyse()
    assert [b.states for b in report.boundaries] == [("j",)]
    assert [c.row for c in report.figures.channels()] == ["j"]
    assert report.figures.modes[0].multiplier == pytest.approx(np.exp(-0.02), rel=1e-14)


@pytest.mark.parametrize("name", names())
def test_every_model_prints_and_gives_json(name: str) -> None:
    report = no.load(name).analyse()
    assert str(report)
    json.dumps(report.to_json(), allow_nan=False)


def test_eigenvalues_are_numpy_s() -> None:
    """Three coupled states, no formula: numbers of the flow, and of the step that the program takes."""
    A = np.array([[-1.0, 0.4, 0.0], [0.0, -2.0, 1.5], [0.7, -1.0, -0.5]])
    rows = [" + ".join(f"({a})*x{j}" for j, a in enumerate(row) if a) for row in A]
    text = (
        "dt: 0.1\nequations: |\n" + "\n".join(f"  dx{i}/dt = {r} + I" for i, r in enumerate(rows)) + "\noutputs: x0\n"
    )
    figures = neuron(text).analyse().figures
    wanted = np.linalg.eigvals(A)
    for m in figures.modes:
        assert np.abs(wanted - m.eigenvalue[0]).min() <= 1e-12
        assert abs(np.exp(0.1 * m.eigenvalue[0]) - m.multiplier[0]) <= 1e-12
    assert len(figures.modes) == 2  # a real one and a pair


def test_many_elements_stay_within_a_budget() -> None:
    """16 resonators: 12 in symbols, all in numbers; a channel alone answers as the whole system does."""
    report = no.load("drf").with_axes({"k": 16}).analyse()
    assert "4 further sets of states: in numbers only" in str(report)
    assert len(report.boundaries) == 12
    assert len(report.figures.modes) == 16
    step, w = report.figures.step, np.array([0.01, 0.1, 1.0])
    assert len(step.channel("z__5", "I").A) == 2
    whole = step.at(w)[:, step.rows.index("z__5"), 0]
    assert distance(step.channel("z__5", "I").at(w)[:, 0, 0], whole) <= 1e-12
