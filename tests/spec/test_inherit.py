"""extends, remove, replace, add, compat."""

from __future__ import annotations

from pathlib import Path

import pytest

from neuroode import SpecError
from neuroode.spec.read_yaml import read
from neuroode.spec.write_yaml import to_yaml

BASE = """neuron: base
about: The base.
parameters: {tau: {value: 20, domain: positive}, v_th: 1}
equations: |
  dv/dt = (-v + I)/tau     # leak
spike: v > v_th
reset: v -= v_th
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "base.yaml").write_text(BASE)
    return tmp_path


def _child(folder: Path, text: str):
    file = folder / "child.yaml"
    file.write_text("neuron: child\nextends: base.yaml\n" + text)
    return read(file)


def test_changes_act_by_name(folder: Path) -> None:
    spec = _child(
        folder,
        "replace:\n  parameters: {tau: 5}\n  equations: dv/dt = (-v + 2*I)/tau - a\n"
        "add:\n  equations: |\n    a[t] = b*a[t-1]\n  parameters: {b: 0.9}\n  method: euler\n",
    )
    assert spec.name == "child"
    assert [p.name for p in spec.parameters] == ["tau", "v_th", "b"]
    assert not spec.parameters[0].trainable
    assert [e.name for e in spec.equations] == ["v", "a"]
    assert spec.method == "euler"
    assert spec.about == ""


def test_remove_takes_sections_and_names(folder: Path) -> None:
    spec = _child(folder, "remove: [v_th, reset]\nreplace: {spike: v > 1}\n")
    assert [p.name for p in spec.parameters] == ["tau"]
    assert spec.events[0].reset is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("remove: [tua]\n", "remove: there is no 'tua'"),
        ("replace: {parameters: {tua: 1}}\n", "replace: there is no 'tua' under parameters"),
        ("add: {parameters: {tau: 1}}\n", "add: 'tau' under parameters is there already"),
        ("add: {reset: v = 0}\n", "add: 'reset' is there already"),
        ("replace: {equations: w = 1}\n", "replace: there is no equation of 'w'"),
        ("parameters: {tau: 1}\n", "'parameters' beside 'extends'"),
        ("replace: {neuron: x}\n", "unknown section 'neuron'"),
    ],
)
def test_changes_must_fit(folder: Path, text: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        _child(folder, text)
    assert message in str(caught.value)


def test_places_point_into_the_file_of_the_mistake(folder: Path) -> None:
    with pytest.raises(SpecError) as caught:
        _child(folder, "replace:\n  equations: |\n    dv/dt = -v/tau +\n      2*foo\n")
    assert str(caught.value).startswith(f"{folder / 'child.yaml'}:5:")
    with pytest.raises(SpecError) as caught:
        _child(folder, "replace:\n  equations: |\n    dv/dt = -v/tau + foo\n")
    assert f"{folder / 'child.yaml'}:5:22: unknown name 'foo'" in str(caught.value)
    with pytest.raises(SpecError) as caught:
        _child(folder, "remove: [tau]\n")
    assert f"{folder / 'base.yaml'}:5:20: unknown name 'tau'" in str(caught.value)


def test_circles_and_escapes(folder: Path) -> None:
    (folder / "a.yaml").write_text("neuron: a\nextends: b.yaml\n")
    (folder / "b.yaml").write_text("neuron: b\nextends: a.yaml\n")
    with pytest.raises(SpecError, match="circle"):
        read(folder / "a.yaml")
    (folder / "c.yaml").write_text("neuron: c\nextends: ../a.yaml\n")
    with pytest.raises(SpecError, match="leaves the folder"):
        read(folder / "c.yaml")


def test_zoo_names_are_found_by_the_caller(folder: Path) -> None:
    file = folder / "child.yaml"
    file.write_text("neuron: child\nextends: base\n")
    spec = read(file, find=lambda name: folder / f"{name}.yaml")
    assert spec.name == "child"
    with pytest.raises(SpecError, match="no zoo"):
        read(file)


def test_compat_is_known_by_name(folder: Path) -> None:
    (folder / "x.yaml").write_text(BASE + "compat: {old: {replace: {spike: v >= v_th}}}\n")
    assert read(folder / "x.yaml", compat="old").compat == ()
    assert "compat" in to_yaml(read(folder / "x.yaml"))
    with pytest.raises(SpecError, match="did you mean 'old'"):
        read(folder / "x.yaml", compat="odl")
