"""A sweep of a 7x5 grid beside its 35 runs, each with its setting compiled in.

    python benchmarks/sweep.py [--json] [--task digits_mlp] [--program adamw] [--repeats 5]

The sweep trains one seed at seven learning rates and five weight decays, which are inputs of one
compiled loop (`SettingsTrainer`); the others are 35 loops, each compiled for its setting. `ratio`:
the sweep's seconds over theirs, all compiled already, in turn; the median of the repeats.
`ratio_with_compilation` counts the sweep's one compilation, and none of theirs; `compilation`, one
compilation in those of one training.
"""

import argparse
import os
import statistics
from itertools import product

os.environ.setdefault("NPROC", "1")  # a training alone is faster on one core

import jax
from figures import seconds, show

from optdsl.frontend import find_source, load
from optdsl.tasks import find_task
from optdsl.tasks.evaluation import compiled_program
from optdsl.tasks.settings import SettingsTrainer

RATES = tuple(10 ** (-4 + i / 2) for i in range(7))
DECAYS = (0.0, 1e-3, 1e-2, 1e-1, 1.0)
GRID = tuple(product(RATES, DECAYS))


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one object")
    parser.add_argument("--task", default="digits_mlp")
    parser.add_argument("--program", default="adamw", help="it has `weight_decay`")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    task, program = find_task(options.task), load(find_source(options.program))
    trainer = SettingsTrainer(task, program, ("weight_decay",))
    baked = [compiled_program(task, program, rate, {"weight_decay": d}) for rate, d in GRID]

    def sweep() -> None:
        for rate, decay in GRID:
            trainer.run(0, rate, {"weight_decay": decay})

    def one_by_one() -> None:
        for run in baked:
            run(0)

    first, _ = seconds(sweep), seconds(one_by_one)
    pairs = [(seconds(sweep), seconds(one_by_one)) for _ in range(options.repeats)]
    ratios = [ours / theirs for ours, theirs in pairs]
    training = statistics.median(theirs for _, theirs in pairs) / len(GRID)
    result = {
        "ratio": statistics.median(ratios),
        "ratio_range": [min(ratios), max(ratios)],
        "ratio_with_compilation": first / (training * len(GRID)),
        "compilation": (first - statistics.median(ours for ours, _ in pairs)) / training,
        "training_ms": 1e3 * training,
        "settings": len(GRID),
        "task": task.name,
        "jax": jax.__version__,
    }
    show(result, options.json)


if __name__ == "__main__":
    main()
