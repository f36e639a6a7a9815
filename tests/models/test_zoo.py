"""Every model of the zoo is well formed and short, and can be found."""

from __future__ import annotations

from pathlib import Path

import pytest

from neuroode._errors import SpecError
from neuroode.models import names, path
from neuroode.spec.read_yaml import read, read_text
from neuroode.spec.write_yaml import to_yaml


def test_names_are_found_family_by_family() -> None:
    families = [path(name).parent.name for name in names()]
    assert families == sorted(families)
    assert {"lif", "alif", "cuba_lif", "li", "rf", "brf", "bhrf", "tc_lif"} <= set(names())
    assert len(set(names())) == len(names())


def test_an_unknown_name_is_refused_with_a_suggestion() -> None:
    with pytest.raises(SpecError, match=r"no neuron 'alf' in the zoo\nhint: did you mean 'alif'\?"):
        path("alf")
    with pytest.raises(SpecError, match="no neuron"):
        path("../lif")


@pytest.mark.parametrize("name", names())
def test_a_file_says_what_it_is(name: str) -> None:
    spec = read(path(name), find=path)
    assert spec.name == name == path(name).stem
    assert spec.about.endswith((".", ")"))
    assert spec.cite
    assert Path(spec.source) == path(name)
    assert len(path(name).read_text(encoding="utf-8").splitlines()) <= 25


@pytest.mark.parametrize("name", names())
def test_written_and_read_again_it_is_the_same(name: str) -> None:
    spec = read(path(name), find=path)
    assert read_text(to_yaml(spec), find=path) == spec


@pytest.mark.parametrize(("name", "compat"), [(n, c) for n in names() for c, _ in read(path(n), find=path).compat])
def test_a_deviation_is_a_model_of_its_own(name: str, compat: str) -> None:
    assert read(path(name), compat=compat, find=path) != read(path(name), find=path)
