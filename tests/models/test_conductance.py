"""Golden numbers of eif, hodgkin_huxley, fitzhugh_nagumo and morris_lecar (textbook.md, sections 5 and 7 to 9)."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import neuroode as no

Array = np.ndarray


def spikes(model: str, currents: list[float], length: float, dt: float, compat: str | None = None) -> list[Array]:
    """Spike times of one lane for each constant current; an event is at the end of its step."""
    layer = no.load(model, compat=compat).torch(len(currents), dt=dt, dtype=torch.float64)
    x = torch.tensor(currents, dtype=torch.float64).expand(round(length / dt), 1, -1).contiguous()
    with torch.no_grad():
        found = layer(x)[0][:, 0].numpy()
    return [dt * (np.flatnonzero(s) + 1) for s in found.T]


def rates(*args: object, last: int = 1) -> list[float]:
    """Rates in Hz over the last intervals; 0 where the spikes end."""
    return [1000 * last / (t[-1] - t[-1 - last]) if len(t) > last + 1 else 0.0 for t in spikes(*args)]  # type: ignore[arg-type]


def test_rates_of_the_exponential_neuron() -> None:
    wanted = [3.5667, 8.2555, 31.1223, 57.7227]
    assert rates("eif", [0.17, 0.2, 0.5, 1.0], 1500, 0.02) == pytest.approx(wanted, rel=1e-3)
    assert rates("eif", [0.17, 0.2, 0.5, 1.0], 1500, 0.1) == pytest.approx(wanted, rel=5e-3)
    assert [len(t) for t in spikes("eif", [0.16, 0.161], 1000, 0.1)] == [0, 0]  # the rheobase is 0.162


def test_hodgkin_and_huxley_rest_and_fire() -> None:
    model = no.load("hodgkin_huxley")
    found = model.simulate(np.zeros((5000, 1, 1)), dt=0.02)
    rest = [found[n][-1, 0, 0] for n in ("v", "m", "h", "n")]
    assert rest == pytest.approx([-64.996379, 0.052955, 0.595994, 0.317732], abs=3e-6)
    times = spikes("hodgkin_huxley", [6.2, 6.3, 10.0], 300, 0.01)
    assert len(times[0]) == 3
    assert times[2][0] == pytest.approx(1.9012, abs=0.011)
    assert [1000 / np.diff(t[-3:]).mean() for t in times[1:]] == pytest.approx([52.371, 68.324], rel=2e-3)


@pytest.mark.slow
def test_rates_of_hodgkin_and_huxley() -> None:
    wanted = [52.371, 58.327, 68.324, 86.470, 117.036]
    found = rates("hodgkin_huxley", [6.3, 7.0, 10.0, 20.0, 50.0], 500, 0.002, last=5)
    assert found == pytest.approx(wanted, rel=2e-4)


def test_removable_singularities_of_hodgkin_and_huxley() -> None:
    """a_m is 1 at -40 mV and a_n 0.1 at -55 mV, where the textbook's quotients are 0/0."""
    for v, name, rate in ((-40.0, "a_m", 1.0), (-55.0, "a_n", 0.1)):
        model = no.load("hodgkin_huxley").replace(method="euler", states={"v": f"{v} mV"})
        layer = model.torch(1, dt=1e-9, dtype=torch.float64, schedule="eager")
        assert layer.trace(torch.zeros(1, 1, 1, dtype=torch.float64))[name].item() / 1000 == pytest.approx(
            rate, abs=1e-6
        )
    for v in (-40, -55):
        layer = no.load("hodgkin_huxley").replace(states={"v": f"{v} mV"})
        layer = layer.torch(1, dtype=torch.float64, schedule="eager")
        out, carry = layer(torch.zeros(3, 1, 1, dtype=torch.float64))
        (out.sum() + carry["v"].sum()).backward()
        assert all(p.grad is None or p.grad.isfinite().all() for p in layer.parameters())


@pytest.mark.slow
def test_fitzhugh_and_nagumo_go_round_in_the_period_of_the_sheet() -> None:
    (times,) = spikes("fitzhugh_nagumo", [0.5], 400, 0.01)
    assert np.diff(times[-5:]).mean() == pytest.approx(39.474415, abs=3e-3)
    rest = no.load("fitzhugh_nagumo").simulate(np.zeros((20000, 1, 1)), dt=0.01)
    assert [rest[n][-1, 0, 0] for n in ("v", "w")] == pytest.approx([-1.19940804, -0.62426004], abs=1e-5)  # dt^2
    for current, many in ((0.32, False), (0.345, True), (1.40, True), (1.43, False)):  # Hopf at 0.3313 and 1.4187
        assert (
            np.ptp(no.load("fitzhugh_nagumo").simulate(np.full((20000, 1, 1), current), dt=0.1)["v"][-2000:]) > 0.2
        ) == many


LECAR = {
    None: ([88.0, 90.0, 94.0, 100.0, 150.0, 220.0], [0.0, 9.7345, 10.7812, 11.7246, 15.1145, 0.0]),
    "snlc": ([39.5, 45.0, 60.0, 100.0], [0.0, 10.0814, 17.0950, 23.8375]),
}


@pytest.mark.parametrize("compat", LECAR)
def test_rates_of_morris_and_lecar(compat: str | None) -> None:
    currents, wanted = LECAR[compat]
    assert rates("morris_lecar", currents, 1500, 0.05, compat) == pytest.approx(wanted, rel=3e-3)


@pytest.mark.slow
def test_the_homoclinic_set_of_morris_and_lecar_begins_at_a_high_rate() -> None:
    (found,) = rates("morris_lecar", [40.0], 6000, 0.01, "homoclinic", last=5)
    assert found == pytest.approx(41.6011, rel=1e-3)


@pytest.mark.parametrize("name", ["eif", "hodgkin_huxley", "fitzhugh_nagumo", "morris_lecar"])
def test_gradients_stay_finite_over_many_spikes(name: str) -> None:
    current = {"eif": 1.0, "hodgkin_huxley": 20.0, "fitzhugh_nagumo": 0.5, "morris_lecar": 100.0}[name]
    layer = no.load(name).torch(1, dtype=torch.float64)
    out, carry = layer(torch.full((2000, 1, 1), current, dtype=torch.float64))
    (out.sum() + sum(carry[n].sum() for n in carry)).backward()
    assert all(p.grad.isfinite().all() for p in layer.parameters() if p.grad is not None)
