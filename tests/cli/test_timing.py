"""The timing diagram says of every read what language.md, section 3, says."""

from __future__ import annotations

from neuroode.cli.timing import Timing, render, timing
from neuroode.models import names, path
from neuroode.spec.read_yaml import read, read_text


def of(text: str) -> Timing:
    return timing(read_text(text))


def zoo(name: str, compat: str | None = None) -> Timing:
    return timing(read(path(name), compat=compat, find=path))


def order(times: Timing) -> list[tuple[str, tuple[str, ...]]]:
    return [(stage.title, stage.values) for stage in times.stages]


def meaning(times: Timing, place: str, text: str) -> str:
    (means,) = {
        r.means for s in times.stages for where, reads in s.places if where == place for r in reads if r.text == text
    }
    return means


def test_brf() -> None:
    times = zoo("brf")
    assert order(times) == [
        ("carry in", ("u[t-1]", "q[t-1]")),
        ("flow", ("u[t]",)),
        ("guard", ("s[t]",)),
        ("map", ("q[t]",)),
        ("outputs", ("s",)),
        ("carry out", ("after(u)", "after(q)")),
    ]
    assert meaning(times, "flow of u", "u") == "running value"
    assert meaning(times, "flow of u", "I") == "I[t], held over the step"
    assert meaning(times, "flow of u", "q[t-1]") == "what step t-1 left, held over the step"
    assert meaning(times, "guard of s", "u") == "u[t]: after flow"
    assert meaning(times, "q[t]", "s") == "s[t], 1 or 0"
    assert times.prologue == ("p",)


def test_a_definition_is_looked_through() -> None:
    (flow,) = [reads for s in zoo("brf").stages for place, reads in s.places if place == "flow of u"]
    assert {r.text: r.through for r in flow} == {"q[t-1]": ("b",), "u": (), "I": ()}


def test_tc_lif_reads_the_soma_after_its_reset_and_the_paper_before() -> None:
    code, paper = zoo("tc_lif"), zoo("tc_lif", "paper")
    assert [title for title, _ in order(code)] == ["carry in", "map", "map", "guard", "resets", "outputs", "carry out"]
    assert meaning(code, "u_d[t]", "u_s[t-1]") == "what step t-1 left, after its resets"
    assert meaning(code, "reset by s", "u_s -= v_th") == "acts where s[t] is 1"
    assert meaning(code, "guard of s", "u_s") == "u_s[t]: after map, before this step's resets"
    assert meaning(code, "u_s[t]", "u_d") == "u_d[t]: after map, before this step's resets"
    assert [title for title, _ in order(paper)][1:4] == ["map", "late resets", "map"]
    assert meaning(paper, "reset by s[t-1]", "u_s -= v_th") == "acts where s[t-1] is 1"
    assert meaning(paper, "guard of s", "u_s") == "u_s[t]: after map and late resets"


def test_impulses_stand_before_the_flow_or_after_it() -> None:
    text = "neuron: n\ninputs: {x: {kind: impulse, at: AT}}\nequations: dv/dt = -v + x\nspike: v > 1\nreset: v = 0\n"
    start, end = (of(text.replace("AT", at)) for at in ("start", "end"))
    assert [title for title, _ in order(start)][1:3] == ["impulses", "flow"]
    assert [title for title, _ in order(end)][1:3] == ["flow", "impulses"]
    assert meaning(start, "flow of v", "x") == "a jump by coefficient*x[t] at the start of the step"
    assert meaning(end, "guard of s", "v") == "v[t]: after flow and impulses, before this step's resets"


def test_a_map_that_reads_after_comes_after_the_resets() -> None:
    times = of("neuron: n\nequations: |\n  dv/dt = -v + I\n  w[t] = after(v)\n  q[t] = v\nspike: v > 1\nreset: v = 0\n")
    titles = [values for _, values in order(times)]
    assert titles.index(("q[t]",)) < titles.index(("after(v)",)) < titles.index(("w[t]",))
    assert meaning(times, "w[t]", "after(v)") == "after this step's resets"


def test_an_event_that_a_flow_reads_comes_first() -> None:
    times = of("neuron: n\nequations: |\n  da/dt = -a + e\nevents: {e: {when: I > 1}}\noutputs: a\n")
    assert [title for title, _ in order(times)] == ["carry in", "guard", "flow", "outputs", "carry out"]
    assert meaning(times, "flow of a", "e") == "e[t], 1 or 0, held over the step"
    assert meaning(times, "guard of e", "I") == "the number I[t]"


def test_the_carry_holds_what_is_read_with_a_lag() -> None:
    times = of("neuron: n\nequations: |\n  v[t] = 0.5*v[t-1] + I[t-2] + s[t-1]\nspike: v > 1\n")
    assert order(times)[0] == ("carry in", ("v[t-1]", "I[t-2]", "s[t-1]"))
    assert meaning(times, "v[t]", "I[t-2]") == "the input of step t-2"


def test_second_order_states() -> None:
    times = of("neuron: n\nequations: |\n  x'' = -x' - x + I*sin(t)\noutputs: {y: x*t}\n")
    assert order(times)[1] == ("flow", ("x[t]", "x'[t]"))
    assert meaning(times, "flow of x", "x'") == "running value"
    assert meaning(times, "flow of x", "t") == "running time"
    assert meaning(times, "output y", "t") == "(step+1)*dt"


def test_what_reads_later_steps_is_said() -> None:
    text = """
neuron: psn
axes: {tau: time}
horizon: 8
parameters: {W: {init: "normal(0, 1)", per: [tau, time]}}
inputs: {x: current}
operators: {norm: external}
equations: h = norm(sum_tau(W[tau, t]*x[tau]))
spike: h > 1
"""
    times = of(text)
    assert [title for title, _ in order(times)] == ["guard", "outputs"]
    assert meaning(times, "guard of s", "x[tau]") == "every step, later ones too"
    assert meaning(times, "guard of s", "W[tau, t]") == "every step's weight in this one"
    assert times.notes[0].startswith("not causal: index tau runs over the whole sequence")
    assert times.notes[1].startswith("operator norm")


def test_a_long_chain_of_definitions_is_no_trouble() -> None:
    chain = "\n".join(f"  b_{k} = b_{k - 1} + b_{k - 1}" for k in range(1, 1500))
    times = of(f"neuron: n\nequations: |\n  b_0 = v\n{chain}\n  dv/dt = -b_1499\noutputs: v\n")
    assert meaning(times, "flow of v", "v") == "running value"


def test_every_model_of_the_zoo_is_drawn() -> None:
    for name in names():
        text = render(zoo(name))
        assert max(len(line) for line in text.splitlines()) <= 120
        assert "carry in" in text or "not causal" in text
