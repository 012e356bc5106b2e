"""`optdsl train FILE --task T`."""

import math
import sys
import time

import click

from optdsl.cli.options import positive
from optdsl.cli.output import FINDINGS, fail, print_json, say
from optdsl.cli.tasks import find_task_or_fail
from optdsl.diagnostics import did_you_mean, nearest
from optdsl.frontend import find_source, load
from optdsl.ir import Program
from optdsl.passes.fold import default_values
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
    values = _parse_settings(program, settings)
    found = find_task_or_fail(task)

    from optdsl.tasks.evaluation import default_learning_rate, evaluate_jitted

    rate = default_learning_rate(program, found) if lr is None else lr
    began = time.monotonic()
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


def _parse_settings(program: Program, settings: tuple[str, ...]) -> dict[str, float]:
    defaults = default_values(program)
    values: dict[str, float] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            fail(f"--set takes name=value, not `{setting}`")
        if name not in defaults:
            help = did_you_mean(nearest(name, defaults))
            known = f"it has {', '.join(defaults)}" if defaults else "it has none"
            fail(f"the program has no hyperparameter `{name}`; {help or known}")
        if name in values:
            fail(f"--set gives `{name}` twice")
        try:
            values[name] = float(text)
        except ValueError:
            fail(f"--set {name}: `{text}` is not a number")
        if not math.isfinite(values[name]):
            fail(f"--set {name}: `{text}` is not finite")
    return values
