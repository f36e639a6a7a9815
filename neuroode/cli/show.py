"""`neuroode show`: everything that is known about one model."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any

from neuroode._errors import NeuroodeError, RunError
from neuroode.cli.model import load, model_arguments
from neuroode.cli.table import table

if TYPE_CHECKING:
    from neuroode.neuron import Neuron
    from neuroode.program.cost import Choice
    from neuroode.spec.types import NeuronSpec

HELP = "show a model: equations, parameters, timing of a step, facts, discretization"
WIDTH = 100


def arguments(parser: argparse.ArgumentParser) -> None:
    model_arguments(parser)
    parser.add_argument("--dt", type=float, help="length of a step; default: the model's")
    parser.add_argument("--plan", action="store_true", help="also how each part of the step is scheduled, and why")
    parser.add_argument("--steps", type=int, default=1024, help="of the predicted times; default: %(default)s")
    parser.add_argument(
        "--lanes", type=int, default=64, help="samples times neurons of the predicted times; default: %(default)s"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    for name in ("steps", "lanes"):
        if getattr(args, name) < 1:
            raise RunError(f"--{name} is {getattr(args, name)}, expected a whole number of at least 1")
    neuron = load(args)
    print(json.dumps(_data(neuron, args), indent=2) if args.json else _text(neuron, args))
    return 0


def _text(neuron: Neuron, args: argparse.Namespace) -> str:
    from neuroode.cli.timing import render, timing

    parts = [_head(neuron.spec), *_declared(neuron.spec), _section("timing of one step", render(timing(neuron.spec)))]
    parts += [_section(title, _indented(str(found))) for title, found in _stages(neuron, args)]
    return "\n\n".join(parts)


def _head(spec: NeuronSpec) -> str:
    from neuroode.cli.declaration import method_text, noise, starts, step_text
    from neuroode.cli.statements import starts_drawn

    inputs = ", ".join(f"{i.name} ({i.kind})" for i in spec.inputs)
    facts = {"dt": step_text(spec), "method": method_text(spec.method), "input": inputs}
    facts["noise"] = ", ".join(f"{name} ({kind})" for name, kind in noise(spec).items())
    facts["start"] = ", ".join(f"{name} = {text}" for name, text in starts(spec).items())
    facts["start"] += ", drawn for each neuron and sample from the call's seed" if starts_drawn(spec) else ""
    facts |= {
        "output": ", ".join(name for name, _ in spec.outputs),
        "compat": ", ".join(name for name, _ in spec.compat),
    }
    facts |= {"cite": ", ".join(spec.cite), "file": spec.source}
    rows = [(key, value) for key, value in facts.items() if value]
    return "\n".join(
        (f"{spec.name}: {spec.about}" if spec.about else spec.name, *(f"  {k.ljust(8)}{v}" for k, v in rows))
    )


def _declared(spec: NeuronSpec) -> Iterator[str]:
    from neuroode.cli import declaration

    yield _section("equations", _indented("\n".join(declaration.equations(spec))))
    if spec.events:
        yield _section("events", _indented("\n".join(map(_event_lines, declaration.events(spec)))))
    if spec.parameters:
        keys = ("name", "value", "per", "domain", "transform", "unit")
        rows = [_parameter_row(p, keys) for p in declaration.parameters(spec)]
        yield _section("parameters", table((*keys, "trained"), rows, indent="  "))
    if spec.checks:
        yield _section("checks", _indented("\n".join(declaration.as_json(spec)["checks"])))


def _event_lines(event: dict[str, str]) -> str:
    rest = {key: value for key, value in event.items() if key not in ("name", "when") and value != "through"}
    return "\n".join((f"{event['name']}: {event['when']}", *(f"  {key}: {value}" for key, value in rest.items())))


def _parameter_row(p: dict[str, Any], keys: tuple[str, ...]) -> list[str]:
    """A constant has no level, domain or transform worth a look, and a quantity shows its unit."""
    shown = {key: str(p[key]) for key in (keys if p["trainable"] else ("name", "value", "unit"))}
    if p["value"].endswith(f" {p['unit']}"):
        shown["unit"] = ""
    return [shown.get(key, "") for key in keys] + ["yes" if p["trainable"] else "no"]


def _stages(neuron: Neuron, args: argparse.Namespace) -> Iterator[tuple[str, Any]]:
    """What the compiler finds. A construct that this version refuses ends the list with the reason."""
    steps: list[tuple[str, Callable[[], Any]]] = [("analysis", lambda: neuron.analyse(brief=True))]
    steps.append(("discretization", lambda: neuron.discretize(dt=args.dt)))
    if args.plan:
        steps.append(("plan", lambda: neuron.program(dt=args.dt).plan))
        steps.append(("predicted", lambda: _predicted(neuron, args)))
    for title, step in steps:
        try:
            yield title, step()
        except NeuroodeError as error:
            yield title, error
            return


def _predicted(neuron: Neuron, args: argparse.Namespace) -> Predicted:
    """What `auto` of a torch layer thinks of each schedule on this machine."""
    from neuroode.nn.costs import chosen

    return Predicted(args.steps, args.lanes, chosen(neuron.program(dt=args.dt), args.steps, args.lanes))


@dataclass(frozen=True, slots=True)
class Predicted:
    """Schedules of a training step (forward, backward, one core), the fastest first."""

    steps: int
    lanes: int
    choices: tuple[Choice, ...]

    def __str__(self) -> str:
        rows = [
            f"{c.schedule} {c.milliseconds:.3g} ms" if isfinite(c.milliseconds) else c.schedule for c in self.choices
        ]
        return f"{self.steps:,} steps, {self.lanes:,} lanes, forward and backward on one core: {', '.join(rows)}"

    def to_json(self) -> dict[str, Any]:
        times = {c.schedule: c.milliseconds if isfinite(c.milliseconds) else None for c in self.choices}
        return {"steps": self.steps, "lanes": self.lanes, "milliseconds": times}


def _data(neuron: Neuron, args: argparse.Namespace) -> dict[str, Any]:
    from dataclasses import asdict

    from neuroode.cli.declaration import as_json
    from neuroode.cli.timing import timing

    found = {title: _plain(value) for title, value in _stages(neuron, args)}
    return {**as_json(neuron.spec), "timing": asdict(timing(neuron.spec)), **found}


def _plain(found: Any) -> Any:
    return found.to_json() if hasattr(found, "to_json") else {"text": str(found)}


def _section(title: str, body: str) -> str:
    return f"{title}\n{body}"


def _indented(text: str) -> str:
    return "\n".join("  " + line if line else line for line in text.splitlines())
