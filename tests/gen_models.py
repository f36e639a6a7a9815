"""The models of the day: `python tests/gen_models.py --seed TODAY` draws five neurons, each through every stage.

Writes the declarations into a folder and prints pass or fail per stage. `--seed 2026-01-31/3` draws that one alone,
which is how a failure of a test is looked at.
"""

from __future__ import annotations

import argparse
import datetime
import re
import sys
import time
import traceback
import zlib
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from gen_neurons import declaration
from gen_stages import Case, run_all

from neuroode import Unsupported
from neuroode.neuron import Neuron
from neuroode.spec.read_yaml import read_text


def case(seed: str, folder: Path) -> Case:
    """The neuron of a seed such as 2026-01-31/3, written into the folder."""
    name = "generated_" + "".join(c if c.isalnum() else "_" for c in seed)
    text = with_method_that_applies(declaration(seed, name))
    path = folder / f"{name}.yaml"
    path.write_text(text, encoding="utf-8")
    number = zlib.crc32(seed.encode())
    return Case(text, path, number, (3,) if number % 3 else (2, 2))


KNOWN = ("exact", "euler", "semi_implicit", "exp_euler", "heun", "rk4", "bilinear")  # to the second implementation


def with_method_that_applies(text: str) -> str:
    """The declaration with its method, or one that applies to its equations and that the second implementation has."""
    bare = re.sub(r"(?m)^method: .*\n", "", text)
    candidates = [text, bare, *(f"{bare.rstrip()}\nmethod: {m}\n" for m in ("exp_euler", "euler"))]
    return next((c for c in candidates if _has_known_method(c)), bare)


def _has_known_method(text: str) -> bool:
    try:
        neuron = Neuron.from_spec(read_text(text))
        neuron.program(1.0)
        return all(u.method.startswith(KNOWN) for u in neuron.discretize(1.0).updates)
    except Unsupported as error:
        if "method" not in str(error):
            raise
        return False
    except Exception:  # a stage will say so
        return True


def failures(seed: str, folder: Path, say: bool = False, without: tuple[str, ...] = ()) -> list[str]:
    """Stages that failed, with the reason; empty if all went well."""
    found, wrong, words = case(seed, folder), [], []
    for stage, error in run_all(found, without):
        words.append(f"{stage} {'FAIL' if error else 'ok'}")
        if error is not None:
            last = traceback.extract_tb(error.__traceback__)[-1]
            wrong.append(
                f"{seed}: {stage}: {type(error).__name__} at {Path(last.filename).name}:{last.lineno}: {error}"
            )
    if say:
        print(f"{found.path}: " + ", ".join(words), flush=True)
    return wrong


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--seed", default="TODAY", help="TODAY, a date or any word; with /N the one neuron of that number"
    )
    parser.add_argument("--count", type=int, default=5)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("generated"))
    args = parser.parse_args(words)
    day = datetime.date.today().isoformat() if args.seed == "TODAY" else args.seed
    seeds = [day] if "/" in day else [f"{day}/{i}" for i in range(args.first, args.first + args.count)]
    args.out.mkdir(parents=True, exist_ok=True)
    start, wrong = time.process_time(), []
    for seed in seeds:
        found = failures(seed, args.out, say=True)
        for text in found:
            print("  " + text, flush=True)
        wrong += found
    spent = time.process_time() - start
    print(f"{len(seeds)} neurons, {len(wrong)} failed stages, {spent:.1f} s; again: --seed {seeds[0]}")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
