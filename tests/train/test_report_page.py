"""The page: one file that needs no other, well formed, with every figure in words too."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

import neuroode as no
from neuroode.train import Outcome, Plan
from neuroode.train.loop_torch import Run
from neuroode.train.options import recommended
from neuroode.train.report_numbers import collect
from neuroode.train.report_page import page
from neuroode.train.tasks import Task

pytest.importorskip("matplotlib")
VOID = {"meta", "br", "img", "path", "use", "image", "rect", "circle"}


class Reader(HTMLParser):
    """Tags in their order and nesting, attributes, visible text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID or tag == "path":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def values(self, name: str) -> list[str]:
        return [value for _, found, value in self.attributes if found == name]


@pytest.fixture(scope="module")
def outcome(few: Task) -> Outcome:
    settings = replace(recommended("digits", "brf"), size=10, epochs=1, require=99.0)
    neuron = no.load("brf")
    results = tuple(Run(few, neuron, no.load("li"), settings, s).train(lambda _: None) for s in (0, 1))
    plan = Plan(task="digits", neuron="brf", seeds=(0, 1), changes={"size": 10, "init": {"omega": "uniform(3, 5)"}})
    return Outcome(plan=plan, neuron=neuron, settings=settings, task=few, results=results, wall=1.0)


@pytest.fixture(scope="module")
def written(outcome: Outcome) -> tuple[dict, str]:
    from neuroode.train.report_figures import draw

    figures = collect(outcome)
    return figures, page(figures, draw(figures))


def test_it_is_well_formed_and_needs_nothing_else(written: tuple[dict, str]) -> None:
    reader = Reader(written[1])
    assert reader.open == []
    assert not {"script", "link", "iframe", "img", "object", "embed"} & set(reader.seen)
    sources = [v for tag, name, v in reader.attributes if name in ("src", "href", "xlink:href", "srcset", "action")]
    assert all(v.startswith(("#", "data:image/png")) for v in sources)
    outside = {v for name in ("xmlns", "xmlns:xlink") for v in reader.values(name)}
    assert set(re.findall(r"https?://[^\s\"'<)]+", written[1])) <= outside
    assert not re.search(r"url\((?!#)|@import", written[1])


def test_ids_are_unique_and_found(written: tuple[dict, str]) -> None:
    reader = Reader(written[1])
    ids = reader.values("id")
    assert len(ids) == len(set(ids))
    used = {v[1:] for v in reader.values("xlink:href") if v.startswith("#")}
    used |= set(re.findall(r"url\(#([^)]+)\)", written[1]))
    assert used
    assert used <= set(ids)


def test_every_picture_has_words(written: tuple[dict, str]) -> None:
    figures, text = written
    reader = Reader(text)
    words = [v for tag, name, v in reader.attributes if name == "aria-label" and not v.endswith("may be scrolled")]
    assert len(words) == reader.seen.count("figure") == reader.seen.count("figcaption") == text.count('role="img"')
    assert len(words) == 2 + 1 + len(figures["parameters_by_name"]) + 2
    assert all(len(one) > 20 for one in words)
    assert [v for tag, name, v in reader.attributes if (tag, name) == ("html", "lang")] == ["en"]


def test_figures_stand_in_the_text(written: tuple[dict, str]) -> None:
    figures, text = written
    words = " ".join(Reader(text).text.split())
    assert f"{figures['score']['mean']:.2f} ± {figures['score']['spread']:.2f} %" in words
    assert all(f"{seed['test_score']:.2f}" in words for seed in figures["seeds"])
    assert "Every seed must reach 99 %; the lowest one does not reach it." in words
    assert "neuroode train digits --neuron brf --seeds 0,1 --set 'omega=uniform(3, 5)' --size 10" in words
    assert "du/dt = (b + i*omega)*u + I" in words
    assert "eigenvalue (proved)" in words
    assert f"torch{figures['versions']['torch']}" in words


def test_names_cannot_write_html(outcome: Outcome) -> None:
    figures = collect(replace(outcome, task=replace(outcome.task, about="<script>1 & 2</script>")))
    figures["model"] |= {"about": "<b>", "declaration": "</pre><i>"}
    pictures = dict.fromkeys(("score", "loss", "hidden", "frequencies", "distances"), "<svg></svg>")
    pictures |= {f"histogram {one['name']}": "<svg></svg>" for one in figures["parameters_by_name"]}
    text = page(figures, pictures)
    assert "<script>" not in text
    assert "&lt;script&gt;1 &amp; 2&lt;/script&gt;" in text
    assert "</pre><i>" not in text


def test_histograms_count_every_value(outcome: Outcome) -> None:
    found = {one["name"]: one for one in collect(outcome)["parameters_by_name"]}
    assert set(found) == {
        "input weights", "recurrent weights", "omega", "b_0", "output weights", "tau of the readout"
    }  # fmt: skip
    for name, one in found.items():
        assert sum(one["start"]) == sum(one["end"]) == one["count"], name
    assert found["recurrent weights"]["count"] == 2 * 10 * 10
    trained = next(t for t in outcome.results[0].trained if t.name == "omega")
    assert np.all((trained.start >= 5) & (trained.start <= 95))
