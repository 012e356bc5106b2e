"""The built-in tasks: what a training costs, and what tuned AdamW, Lion and momentum reach.

    python benchmarks/tasks.py [--json] [--tasks digits_mlp,text_lm] [--no-scores]

By default the smallest size of each family; `--tasks all` takes every size. The cost is processor
seconds of one training of AdamW by the register machine, one seed alone, the least of five (of one
where it takes more than ten seconds). The scores are on the held-out test part: learning rates on a
grid of half decades, the best by eight seeds of the validation part, then eight fresh seeds, with
Student's interval of 95 %. `ratio` is the cost of the dearest task over that of the cheapest.
"""

import argparse
import json
import time

import jax

from optdsl.comparison.fidelity import measure
from optdsl.frontend import find_source, load
from optdsl.tasks import TASKS, Task, get_task
from optdsl.tasks.evaluation import BytecodeEvaluator
from optdsl.tasks.statistics import half_width

PROGRAMS = ("adamw", "lion", "momentum")
SEEDS = 8
REPEATS, LONG = 5, 10.0


def cost(task: Task) -> float:
    """Processor seconds of one training."""
    evaluator, program = BytecodeEvaluator(task, (0,)), load(find_source("adamw"))
    evaluator.evaluate(program, task.learning_rate)  # compiles
    seconds: list[float] = []
    while len(seconds) < REPEATS and max(seconds, default=0) < LONG:
        began = time.process_time()
        evaluator.evaluate(program, task.learning_rate)
        seconds.append(time.process_time() - began)
    return min(seconds)


def row(name: str, scores: bool) -> dict:
    """What there is to know of a task."""
    task = get_task(name)
    leaves = jax.tree.leaves(jax.eval_shape(task.init, jax.random.key(0)))
    found = {"task": name, "weights": sum(leaf.size for leaf in leaves), "seconds": cost(task)}
    if scores:
        programs = {program: load(find_source(program)) for program in PROGRAMS}
        for entry in measure(programs, [task], SEEDS):
            found[entry.program] = {
                "learning_rate": entry.learning_rate,
                "mean": entry.mean,
                "half_width": half_width(entry.scores),
                "at_border": entry.at_border,
            }
    return found


def show(found: dict) -> None:
    """A line of a table in Markdown."""
    cells = [f"`{found['task']}`", f"{found['weights']:,}", f"{found['seconds']:.2g}"]
    for program in PROGRAMS:
        if program in found:
            entry = found[program]
            rate = f"{entry['learning_rate']:.2g}{', border' if entry['at_border'] else ''}"
            cells.append(f"{entry['mean']:.4f} ± {entry['half_width']:.4f} ({rate})")
    print(f"| {' | '.join(cells)} |", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one object")
    parser.add_argument("--tasks", help="names with commas between them, or all")
    parser.add_argument("--no-scores", action="store_true", help="the cost alone")
    options = parser.parse_args()
    names = [entry.name for entry in TASKS if options.tasks or entry.rung.compute == 1]
    if options.tasks and options.tasks != "all":
        names = options.tasks.split(",")
    rows = []
    for name in names:
        rows.append(row(name, not options.no_scores))
        if not options.json:
            show(rows[-1])
    ratio = max(one["seconds"] for one in rows) / min(one["seconds"] for one in rows)
    if options.json:
        print(json.dumps({"ratio": ratio, "rows": rows}))
    else:
        print(f"\nratio {ratio:.3g}")


if __name__ == "__main__":
    main()
