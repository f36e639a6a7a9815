"""The report of a comparison, a folder: one page, pictures, and `report.json`, strict JSON with every number."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape

from neuroode.train.files import replace_file
from neuroode.train.latent.plan import Comparison
from neuroode.train.latent.report_numbers import Figures, collect, table
from neuroode.train.report_page import document, pairs, picture, scrolled, section
from neuroode.train.report_page import table as html_table

ARMS = {
    "smoothing": "Gaussian-process smoothing of each seen neuron's spikes, then a Poisson regression",
    "gru": "the same encoder and readout around a GRU with inferred inputs, without a differential equation",
    "released": "the affine recursion of LangevinFlow's released code; only its start is inferred, and the readout "
    "takes the encoder's state beside it, as there: compare it with the neuron + encoder, not with the neuron",
    "released, latents only": "the same with a readout of z and v alone",
}


def write(found: Comparison) -> Figures:
    """Write the report into the plan's folder, if it names one, and return its numbers.

    Each file appears whole or not at all; `report.json` comes last, so that its presence says that all is there.
    """
    figures = collect(found)
    if (out := found.plan.out) is not None:
        from neuroode.train.latent.report_figures import draw, files

        for name, content in files(figures).items():
            replace_file(out / name, content)
            figures["pictures"].append(name)
        replace_file(out / "report.html", page(figures, draw(figures)).encode())
        replace_file(out / "report.json", json.dumps(figures, indent=1, allow_nan=False).encode())
    return figures


def page(figures: Figures, pictures: Mapping[str, str]) -> str:
    """The whole page; `pictures`: SVG elements by name."""
    return document(f"{figures['neuron']} on {figures['task']}", [
        _head(figures),
        section("Arms", _arms(figures)),
        section("Training", picture(pictures["training"], "Validation figures by epoch.", _course(figures))),
        section("Rates of a test trial", picture(pictures["rates"], "True and inferred rates of six neurons.",
                "Black: the truth; ticks: bins with spikes. Spikes of held-out neurons are read by nothing.")),
        section("The latent and the Lorenz system", picture(pictures["latents"], "Trajectories by time and in a plane.",
                f"An affine map of the latent, fitted to {figures['latents']['trials']} other test trials; "
                f"R² on these {figures['latents']['r_squared']:.3f}.")),
        section("The neuron", _neuron(figures)),
        section("How it was made", _made(figures)),
    ])  # fmt: skip


def _head(figures: Figures) -> str:
    own, data = figures["arms"][0], figures["data"]
    return (
        f"<h1>{escape(figures['neuron'])} on {escape(figures['task'])}</h1>\n"
        f'<p class="lead">R² of inferred rates <strong>{own["r_squared"]["mean"]:.3f}</strong>, '
        f"{own['bits']['mean']:.4f} bits per held-out spike.</p>\n"
        f"<p>{escape(figures['about'])}; {data['train']} trials to train, {data['val']} to validate, "
        f"{data['test']} to test, seeds {', '.join(map(str, figures['seeds']))}. "
        "The epoch of the most bits per held-out spike on the validation trials is picked; the test trials are looked "
        "at once.</p>\n"
    )


def _arms(figures: Figures) -> str:
    head, rows = table(figures)
    notes = "".join(f"<p><b>{escape(n)}</b>: {escape(text)}</p>\n" for n, text in ARMS.items())
    chosen = "; ".join(a["note"] for a in figures["arms"] if a["note"])
    return (
        f'{scrolled("arms")}{html_table(head, rows)}</div>\n{notes}<p class="soft">Smoothing: {escape(chosen)}.</p>\n'
    )


def _course(figures: Figures) -> str:
    return "; ".join(
        f"{arm['name']}, seed {seed['seed']}: epoch {seed['picked_epoch']} of {len(seed['epochs']) - 1} picked"
        for arm in figures["arms"] for seed in arm["seeds"] if seed["epochs"]
    )  # fmt: skip


def _neuron(figures: Figures) -> str:
    model = figures["model"]
    return (
        f"<h3>As it was declared</h3>\n<pre>{escape(model['declaration'])}</pre>\n"
        f"<h3>As it was computed</h3>\n<pre>{escape(model['discretization'])}</pre>\n"
        f"<h3>What is known of it</h3>\n<pre>{escape(model['facts'])}</pre>\n"
    )


def _made(figures: Figures) -> str:
    seconds = figures["seconds"]
    return (
        f"<pre>{escape(figures['command'])}</pre>\n"
        f"<p>{seconds['training']:.1f} s of training together, {seconds['clock']:.1f} s on the clock.</p>\n"
        f"<details><summary>Settings</summary>\n{pairs(figures['settings'])}</details>\n"
        f"<details><summary>Versions</summary>\n{pairs(figures['versions'])}</details>\n"
    )
