"""The report as one page of HTML that needs nothing else: no scripts, no fonts, no pictures from elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

Numbers = dict[str, Any]

STYLE = """
:root { color-scheme: light dark; --back: #fff; --ink: #1d1d1f; --soft: #5c5c63; --line: #d9d9de; --card: #f6f6f8; }
@media (prefers-color-scheme: dark) {
  :root { --back: #18181b; --ink: #ececf0; --soft: #a8a8b3; --line: #3b3b42; --card: #222226; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 72rem; padding: 1.5rem 1rem 4rem; background: var(--back); color: var(--ink);
  font: 16px/1.55 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 .3rem; }
h2 { font-size: 1.2rem; margin: 2.4rem 0 .7rem; border-bottom: 1px solid var(--line); padding-bottom: .25rem; }
p { max-width: 46rem; margin: .5rem 0; }
.lead { font-size: 1.15rem; }
.soft, figcaption { color: var(--soft); }
figcaption { font-size: .92rem; margin-top: .35rem; }
figure { margin: 0; min-width: 0; }
.picture { background: #fff; border: 1px solid var(--line); border-radius: .4rem; padding: .4rem; }
.picture svg { display: block; width: 100%; height: auto; }
.two { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); gap: 1.2rem; }
.many { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 16rem), 1fr)); gap: 1rem; }
.wide { overflow-x: auto; }
.wide .picture { min-width: 38rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .25rem .8rem; border-bottom: 1px solid var(--line); white-space: nowrap; }
thead th { white-space: normal; vertical-align: bottom; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
.facts th, .facts td { text-align: left; white-space: normal; overflow-wrap: anywhere; vertical-align: top; }
tfoot td { font-weight: 600; border-bottom: 0; }
pre { background: var(--card); border: 1px solid var(--line); border-radius: .4rem; padding: .8rem 1rem;
  overflow-x: auto; font: .86rem/1.5 ui-monospace, "DejaVu Sans Mono", monospace; }
summary { cursor: pointer; margin: .8rem 0 .4rem; }
:focus-visible { outline: 2px solid #0072b2; outline-offset: 2px; }
"""
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"  # a browser refuses what would leave the page


def page(figures: Numbers, pictures: Mapping[str, str]) -> str:
    """The whole page.

    Args:
        figures: `report_numbers.collect`.
        pictures: SVG elements by name, `report_figures.draw`.
    """
    title = f"{figures['neuron']} on {figures['task']}"
    sections = [
        _head(figures),
        section("Seeds", _seeds(figures)),
        section("Training", _training(figures, pictures)),
        section("What the hidden layer does", _hidden(figures["hidden"], pictures)),
        section("Parameters before and after", _parameters(figures, pictures)),
        section("The neuron", _neuron(figures["model"])),
        section("How it was made", _made(figures)),
    ]
    return document(title, sections)


def document(title: str, sections: Iterable[str]) -> str:
    """A page of sections that needs nothing else."""
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{escape(title)}</title>\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<style>{STYLE}</style>\n</head>\n<body>\n<main>\n{''.join(sections)}</main>\n</body>\n</html>\n"
    )


def section(title: str, content: str) -> str:
    return f"<section>\n<h2>{title}</h2>\n{content}</section>\n"


def _head(figures: Numbers) -> str:
    score, settings = figures["score"], figures["settings"]
    seeds = len(figures["seeds"])
    of = "one seed" if seeds == 1 else f"mean of {seeds} seeds"
    spread = "" if score["spread"] is None else f" ± {score['spread']:.2f}"
    data = figures["data"]
    return (
        f"<h1>{escape(figures['neuron'])} on {escape(figures['task'])}</h1>\n"
        f'<p class="lead">Test {score["name"]} <strong>{score["mean"]:.2f}{spread} %</strong>, {of}; '
        f"the best constant answer has {score['chance']:.1f} %.</p>\n"
        f"<p>{escape(figures['about'])}: {_shape(data)}, "
        f"{data['train']:,} sequences to train, {data['val']:,} to validate, {data['test']:,} to test. "
        f"{figures['hidden']['neurons']:,} neurons, {figures['parameters']:,} trained numbers, "
        f"{settings['epochs']} epochs. "
        "The epoch of least validation loss is picked for each seed; the test set is looked at once, then."
        f"{_bar(figures)}</p>\n"
    )


def _shape(data: Numbers) -> str:
    if data["side"] is not None:
        return f"{data['side']} x {data['side']} pixels"
    return f"{data['steps']:,} steps of {_plural(data['channels'], 'channel')}"


def _plural(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _bar(figures: Numbers) -> str:
    least = figures["settings"]["require"]
    if least is None:
        return ""
    reached = "reaches" if figures["score"]["least"] >= least else "does not reach"
    return f" Every seed must reach {least:g} %; the lowest one {reached} it."


def _seeds(figures: Numbers) -> str:
    head = ["seed", f"test {figures['score']['name']} (%)", "test loss", "picked epoch", "validation (%)"]
    head += ["firing (%)", "training (s)", "updates left out"]
    rows = [_seed(seed) for seed in figures["seeds"]]
    score = figures["score"]
    spread = "" if score["spread"] is None else f" ± {score['spread']:.2f}"
    foot = ["mean" + (" ± standard deviation" if spread else ""), f"{score['mean']:.2f}{spread}"]
    foot += [""] * 4 + [f"{figures['seconds']['training']:.1f} together", ""]
    return f"{scrolled('all seeds')}{table(head, rows, foot)}</div>\n"


def _seed(seed: Numbers) -> tuple[str, ...]:
    picked = seed["epochs"][seed["picked_epoch"]]
    return (
        str(seed["seed"]),
        f"{seed['test_score']:.2f}",
        f"{seed['test_loss']:.4f}",
        str(seed["picked_epoch"]),
        f"{picked['val_score']:.2f}",
        "graded" if seed["test_rate"] is None else f"{100 * seed['test_rate']:.2f}",
        f"{seed['seconds']:.1f}",
        str(sum(e["skipped"] for e in seed["epochs"])),
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]], foot: Sequence[str] = ()) -> str:
    cells = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>\n" for row in rows)
    end = f"<tfoot><tr>{''.join(f'<td>{escape(cell)}</td>' for cell in foot)}</tr></tfoot>\n" if foot else ""
    return f"<table>\n<thead><tr>{cells}</tr></thead>\n<tbody>\n{body}</tbody>\n{end}</table>"


def pairs(values: Mapping[str, Any]) -> str:
    rows = (
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(_shown(value))}</td></tr>\n'
        for name, value in values.items()
    )
    return f'<table class="facts">\n<tbody>\n{"".join(rows)}</tbody>\n</table>\n'


def scrolled(name: str) -> str:
    """The start of what may be wider than the screen; the keyboard reaches it too."""
    return f'<div class="wide" role="region" aria-label="{name}, may be scrolled" tabindex="0">'


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{k}: {v}" for k, v in value.items()) or "none"
    return {None: "as the model or the task has it", True: "yes", False: "no"}.get(value, str(value))


def picture(svg: str, alt: str, caption: str) -> str:
    box = f'<div class="picture" role="img" aria-label="{escape(alt)}">{svg}</div>'
    return f"<figure>{box}<figcaption>{escape(caption)}</figcaption></figure>\n"


def _training(figures: Numbers, pictures: Mapping[str, str]) -> str:
    name = figures["score"]["name"]
    course = "; ".join(_course(seed) for seed in figures["seeds"])
    return (
        '<div class="two">\n'
        + picture(
            pictures["score"],
            f"Validation {name} by epoch. {course}.",
            f"Solid: {name} on the validation set; dashed: on the training set, while it is trained on; dotted: the "
            "best constant answer.",
        )
        + picture(
            pictures["loss"],
            f"Loss by epoch. {'; '.join(_fall(seed) for seed in figures['seeds'])}.",
            "Solid: validation; dashed: training. Epoch 0 is the untrained network.",
        )
        + "</div>\n"
    )


def _course(seed: Numbers) -> str:
    first, last = seed["epochs"][0], seed["epochs"][-1]
    return f"Seed {seed['seed']} goes from {first['val_score']:.1f} to {last['val_score']:.1f} per cent"


def _fall(seed: Numbers) -> str:
    first, last = seed["epochs"][0], seed["epochs"][-1]
    return f"Validation loss of seed {seed['seed']} goes from {first['val_loss']:.3g} to {last['val_loss']:.3g}"


def _hidden(shown: Numbers, pictures: Mapping[str, str]) -> str:
    what = (
        f"{shown['neurons']} neurons over {shown['steps']} steps of test sample {shown['sample']}, seed {shown['seed']}"
    )
    if "spikes" in shown:
        share = f"{100 * shown['rate']:.2f} per cent of all possible ones"
        text = f"{len(shown['spikes']['step']):,} spikes of {what}; {share}"
    else:
        text = f"Outputs of the most active of {what}"
    caption = f"{text}. Neurons stand in order of {shown['ordered_by']}, with the parameters that were picked."
    return f"{scrolled('the hidden layer')}\n{picture(pictures['hidden'], text, caption)}</div>\n"


def _parameters(figures: Numbers, pictures: Mapping[str, str]) -> str:
    found = "".join(_histogram(one, pictures) for one in figures["parameters_by_name"])
    text = f'<div class="many">\n{found}</div>\n'
    if figures["resonators"] is not None:
        text += '<h3>Resonators</h3>\n<div class="two">\n' + _resonators(figures["resonators"], pictures) + "</div>\n"
    return text


def _histogram(one: Numbers, pictures: Mapping[str, str]) -> str:
    means = f"mean {one['mean_start']:.4g} before, {one['mean_end']:.4g} after"
    alt = f"Histogram of {one['count']:,} values of {one['name']}: {means}"
    return picture(pictures[f"histogram {one['name']}"], alt, f"{one['name']}: {means}")


def _resonators(found: Numbers, pictures: Mapping[str, str]) -> str:
    count = sum(len(seed["omega"]) for seed in found["seeds"])
    return picture(
        pictures["frequencies"],
        f"Frequency against damping of {count} resonators, with the divergence boundary.",
        "Circles: before training; dots: after. Above the black line a step grows.",
    ) + picture(
        pictures["distances"],
        f"Distance to the divergence boundary of {count} resonators, by frequency.",
        "The damping that is left, on a logarithmic axis.",
    )


def _neuron(model: Numbers) -> str:
    about = f"<p>{escape(model['about'])}</p>\n" if model["about"] else ""
    cite = f'<p class="soft">{escape(", ".join(model["cite"]))}</p>\n' if model["cite"] else ""
    return (
        f"{about}{cite}<h3>As it was declared</h3>\n<pre>{escape(model['declaration'])}</pre>\n"
        f"<h3>As it was computed</h3>\n<pre>{escape(model['discretization'])}</pre>\n"
        f"<h3>What is known of it</h3>\n<pre>{escape(model['facts'])}</pre>\n"
    )


def _made(figures: Numbers) -> str:
    seconds = figures["seconds"]
    return (
        f"<pre>{escape(figures['command'])}</pre>\n"
        f"<p>{seconds['training']:.1f} s of training in all seeds together, {seconds['clock']:.1f} s on the clock, "
        "evaluation and start included.</p>\n"
        f"<details><summary>Settings</summary>\n{pairs(figures['settings'])}</details>\n"
        f"<details><summary>Versions</summary>\n{pairs(figures['versions'])}</details>\n"
    )
