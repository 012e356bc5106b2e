"""`optdsl train FILE --task T`."""

import sys
import time

import click

from optdsl.cli.options import parse_settings, positive
from optdsl.cli.output import FINDINGS, fail, print_json, say
from optdsl.cli.tasks import find_task_or_fail, users_code
from optdsl.frontend import find_source, load
from optdsl.passes.protect import protect
from optdsl.tasks.scores import FAILED


@click.command("train")
@click.argument("file", metavar="FILE")
@click.option("--task", required=True, help="A built-in task, or a file my_task.py.")
@click.option(
    "--lr", type=float, callback=positive, help="Peak learning rate; see below for the default."
)
@click.option("--seeds", type=click.IntRange(1), default=1, show_default=True)
@click.option("--set", "settings", metavar="NAME=VALUE", multiple=True, help="A hyperparameter.")
@click.option("--protected", is_flag=True, help="Keep functions inside of their domains.")
@click.option("--json", "as_json", is_flag=True, help="Print one object.")
def command(
    file: str,
    task: str,
    lr: float | None,
    seeds: int,
    settings: tuple[str, ...],
    protected: bool,
    as_json: bool,
) -> None:
    """Train a task with a program; exit 1 if it diverges.

    The learning rate follows the task's schedule up to the peak --lr. Without --lr the peak is 1
    for a program that multiplies `lr` by a constant of its own, as the paper's programs do, else
    the task's.
    """
    program = load(find_source(file))
    program = protect(program) if protected else program
    values = parse_settings(program, settings)
    found = find_task_or_fail(task)

    from optdsl.tasks.evaluation import default_learning_rate, evaluate_jitted

    rate = default_learning_rate(program, found) if lr is None else lr
    began = time.monotonic()
    with users_code(task):
        scores = evaluate_jitted(found, program, range(seeds), rate, values)
    seconds = time.monotonic() - began
    diverged = [seed for seed, score in enumerate(scores.validation) if score == FAILED]
    if as_json:
        print_json(
            {
                "fitness": list(scores.validation),
                "test_fitness": list(scores.test),
                "learning_rate": rate,
                "seconds": seconds,
            }
        )
    else:
        for seed, (validation, test) in enumerate(zip(scores.validation, scores.test, strict=True)):
            say(f"seed {seed}: validation {validation:.4f}, test {test:.4f}")
        say(f"{found.name}, learning rate {rate:g}, {found.steps} steps, {seconds:.1f} s")
    if diverged:
        which = ", ".join(map(str, diverged))
        fail(
            f"training diverged (a weight was not finite, or above {found.explode:g}) for seed"
            f"{'s' if len(diverged) > 1 else ''} {which}; try a smaller --lr than {rate:g}",
            FINDINGS,
        )
    sys.exit(0)
