"""`neuroode train`: train a network of one neuron on a task, for several seeds, with a report."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuroode._errors import RunError
from neuroode.cli.model import assignments

if TYPE_CHECKING:
    from neuroode.train.latent.plan import Comparison
    from neuroode.train.plan import Outcome, Plan

HELP = "train a network of a neuron on a task"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("task", metavar="TASK", help="digits, smnist, fashion, ecg, adding, copy, sine, xor or lorenz")
    parser.add_argument("--neuron", metavar="MODEL", required=True, help="a zoo name or a path to a YAML file")
    parser.add_argument("--compat", metavar="NAME", help="a named deviation that the model declares")
    files = "QTDB_*.mat for ecg, MNIST's files for smnist, Fashion-MNIST's for fashion"
    parser.add_argument("--data", metavar="DIR", help=f"the folder of {files}")
    parser.add_argument("--backend", metavar="NAME", default="torch", help="what trains: torch (default) or jax")
    _recipe_arguments(parser.add_argument_group("recipe", "what is not given comes from the task's settings"))
    _run_arguments(parser.add_argument_group("run"))


def _recipe_arguments(group: Any) -> None:
    group.add_argument("--set", metavar="NAME=EXPR", action="append", default=[], help='omega="uniform(15, 50)"')
    group.add_argument("--net", metavar="KIND", help="dense, or conv for images; default: as the recipe of the neuron")
    counts = {"epochs": "passes over the data", "size": "hidden neurons, or channels of conv", "batch": "sequences"}
    for name, what in {**counts, "steps": "how long conv is shown an image"}.items():
        group.add_argument(f"--{name}", type=int, metavar="N", help=what)
    group.add_argument("--lr", type=float, metavar="X", help="learning rate of the first epoch")
    group.add_argument("--neuron-lr", type=float, metavar="X", help="factor on it for the neurons' own parameters")
    group.add_argument("--clip", type=float, metavar="X", help="largest norm of the gradient")
    group.add_argument("--loss", metavar="KIND", help="every_step, last_step or mean_output")
    group.add_argument("--dt", type=float, metavar="X", help="step of the hidden layer")
    group.add_argument("--reset-gradient", metavar="KIND", help="through or detached")
    group.add_argument("--recurrent", action=argparse.BooleanOptionalAction, help="default: where the neuron spikes")
    group.add_argument("--require", type=float, metavar="PERCENT", help="exit 1 if a seed's test score is lower")


def _run_arguments(group: Any) -> None:
    which = group.add_mutually_exclusive_group()
    which.add_argument("--seed", type=int, metavar="N", help="one seed (default 0)")
    which.add_argument("--seeds", metavar="N,N", help="several seeds, for example 0,1,2")
    group.add_argument("--jobs", type=int, default=1, metavar="N", help="seeds at the same time, one process each")
    group.add_argument("--threads", type=int, metavar="N", help="of one seed")
    group.add_argument("--out", metavar="DIR", type=Path, help="report and checkpoints (default runs/TASK-MODEL)")
    group.add_argument("--resume", action="store_true", help="go on from the checkpoints in --out")
    group.add_argument("--json", action="store_true", help="print the result as JSON, and no progress")


def run(args: argparse.Namespace) -> int:
    """Train, write the report, print the result. 1 if a seed is below the required score."""
    from neuroode.train import report, tasks
    from neuroode.train.experiment import run as train

    plan = _plan(args)
    if plan.task in tasks.POPULATIONS:
        return _latent(plan, args.json)
    report.prepare(plan.out)
    outcome = train(plan, quiet=args.json)
    figures = report.write(outcome)
    print(json.dumps(figures, indent=2, allow_nan=False) if args.json else summary(outcome))
    return 1 if outcome.failed else 0


def _latent(plan: Plan, as_json: bool) -> int:
    """A task whose data are a population: the neuron is a latent, compared with baselines."""
    from neuroode.train import report as folder
    from neuroode.train.latent import report
    from neuroode.train.latent.experiment import run as train
    from neuroode.train.latent.plan import prepare

    prepare(plan)
    folder.prepare(plan.out)
    found = train(plan, quiet=as_json)
    figures = report.write(found)
    print(json.dumps(figures, indent=2, allow_nan=False) if as_json else _arms(found, figures))
    return 1 if found.failed else 0


def _arms(found: Comparison, figures: dict[str, Any]) -> str:
    """The last lines of a comparison: its table, time, and where the report is."""
    from neuroode.cli.table import table as plain
    from neuroode.train.latent.report_numbers import table

    head, rows = table(figures)
    lines = [
        figures["about"],
        plain(head, rows),
        "a readout that takes the encoder's state can pass the latents by: compare such arms with each other",
        *(f"{a['name']}: {a['note']}" for a in figures["arms"] if a["note"]),
        f"together {figures['seconds']['training']:.1f} s of training, {found.wall:.1f} s on the clock",
        f"report: {found.plan.out}/report.html",
    ]
    if (least := found.recipe.require) is not None:
        lines.append(f"below the required {least:g} %: " + ", ".join(f"seed {a.seed}" for a in found.failed)
                     if found.failed else f"every seed reaches the required {least:g} %")  # fmt: skip
    return "\n".join(lines)


def summary(outcome: Outcome) -> str:
    """The last lines of a run: score of each seed, time, and where the report is."""
    settings, results = outcome.settings, outcome.results
    lines = [
        f"{outcome.plan.task}, {outcome.neuron.spec.name}: {results[0].raster.output.shape[1]:,} neurons, "
        f"{results[0].parameters:,} parameters, {settings.epochs} epochs; {outcome.task.about}",
        *(
            f"seed {r.seed}: test {outcome.task.score} {r.test_score:.2f} % (epoch {r.epochs[r.picked].epoch}, "
            "of least validation loss), "
            f"{r.seconds:.1f} s of training"
            for r in results
        ),
        f"together {sum(r.seconds for r in results):.1f} s of training, {outcome.wall:.1f} s on the clock",
        f"report: {outcome.plan.out}/report.html",
    ]
    if settings.require is not None:
        lines.append(_verdict(outcome, settings.require))
    return "\n".join(lines)


def _verdict(outcome: Outcome, least: float) -> str:
    if not outcome.failed:
        return f"every seed reaches the required {least:g} %"
    return f"below the required {least:g} %: " + ", ".join(f"seed {r.seed}" for r in outcome.failed)


def _plan(args: argparse.Namespace) -> Plan:
    from neuroode.train.plan import Plan

    names = ["net", "steps", "epochs", "size", "batch", "lr", "neuron_lr", "clip", "loss", "dt", "reset_gradient"]
    names += ["recurrent", "require"]
    return Plan(
        task=args.task,
        neuron=args.neuron,
        compat=args.compat,
        data=args.data,
        backend=args.backend,
        changes={**{name: getattr(args, name) for name in names}, "init": assignments(args.set)},
        seeds=seeds(args.seeds) if args.seeds is not None else (args.seed or 0,),
        threads=args.threads,
        jobs=args.jobs,
        out=args.out or Path("runs") / f"{args.task}-{Path(args.neuron).stem}",
        resume=args.resume,
    )


def seeds(text: str) -> tuple[int, ...]:
    """`0,1,2` as numbers."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise RunError(
            f"--seeds is '{text}'", hint="whole numbers with commas between them, for example 0,1,2"
        ) from None
