"""`optdsl simplify FILE`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from optdsl.cli.options import positive
from optdsl.cli.output import fail, print_json, say
from optdsl.cli.tasks import find_task_or_fail
from optdsl.files import write_text
from optdsl.frontend import find_source, load
from optdsl.ir import print_program

if TYPE_CHECKING:
    from optdsl.simplify.simplify import Measured, Simplified


@click.command("simplify")
@click.argument("file", metavar="FILE")
@click.option("--task", help="Also remove what training shows to be superfluous on this task.")
@click.option(
    "--tolerance",
    type=float,
    callback=positive,
    default=0.01,
    show_default=True,
    help="The loss of fitness that is accepted, with 95 % confidence.",
)
@click.option("-o", "--output", metavar="OUT", help="Write to a file instead of standard output.")
@click.option("--json", "as_json", is_flag=True, help="Print one object.")
def command(
    file: str, task: str | None, tolerance: float, output: str | None, as_json: bool
) -> None:
    """Make a program shorter without loss.

    First exact and algebraic rewriting, each step checked by numbers. With --task, then what costs
    less than the tolerance is removed, constants are rounded, and the result is measured on fresh
    seeds. At last values get names that say what they are.
    """
    program = load(find_source(file))
    found = None if task is None else find_task_or_fail(task)

    from optdsl.simplify.simplify import simplify

    result = simplify(program, found, tolerance, say)
    text = print_program(result.program)
    if output is not None:
        try:
            write_text(Path(output), text)
        except OSError as error:
            fail(f"can't write {output}: {error.strerror}")
    if as_json:
        print_json(_to_json(result, text))
        return
    _show(result)
    if output is None:
        click.echo(text, nl=False)
    else:
        say(f"wrote {output}")


def _show(result: "Simplified") -> None:
    for step in result.steps:
        say(f"{step.stage:<10} {step.before} to {step.after} statements: {step.reason}")
    say(f"{result.before} to {result.after} statements")
    if result.rate_factor != 1.0:
        say(f"the learning rate is the original's times {result.rate_factor:g}")
    if result.measured is not None:
        measured = result.measured
        mode = ", protected" if measured.protected else ""
        say(
            f"on fresh seeds{mode}: {measured.original.fitness:.4f} before, "
            f"{measured.result.fitness:.4f} after at learning rate {measured.result.rate:g}; "
            f"a loss of {measured.loss.mean:.4f} ± {measured.loss.error:.4f}"
        )


def _to_json(result: "Simplified", text: str) -> dict[str, object]:
    return {
        "before": result.before,
        "after": result.after,
        "steps": [step.to_json() for step in result.steps],
        "learning_rate_factor": result.rate_factor,
        "measured": None if result.measured is None else _measured(result.measured),
        "program": text,
    }


def _measured(measured: "Measured") -> dict[str, object]:
    return {
        "original": {
            "fitness": measured.original.fitness,
            "learning_rate": measured.original.rate,
            "formally_simplified": measured.stand_in,
        },
        "result": {"fitness": measured.result.fitness, "learning_rate": measured.result.rate},
        "loss": measured.loss.mean,
        "loss_at_most": measured.loss.most,
        "protected": measured.protected,
        "runs": measured.runs,
    }
