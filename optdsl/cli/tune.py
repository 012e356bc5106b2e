"""`optdsl tune FILE --task T`."""

import sys
import time
from typing import TYPE_CHECKING, Any

import click

from optdsl.cli.options import parse_settings, tuning_seeds
from optdsl.cli.output import FINDINGS, fail, print_json, say
from optdsl.cli.tasks import find_task_or_fail, users_code
from optdsl.frontend import find_source, load
from optdsl.passes.protect import protect
from optdsl.tasks.scores import mean_score

if TYPE_CHECKING:
    from optdsl.comparison.tune import Tuned


@click.command("tune")
@click.argument("file", metavar="FILE")
@click.option("--task", required=True, help="A built-in task, or a file my_task.py.")
@tuning_seeds
@click.option(
    "--set", "settings", metavar="NAME=VALUE", multiple=True, help="A hyperparameter's value."
)
@click.option("--protected", is_flag=True, help="Keep functions inside of their domains.")
@click.option("--json", "as_json", is_flag=True, help="Print one object.")
def command(
    file: str, task: str, seeds: int, settings: tuple[str, ...], protected: bool, as_json: bool
) -> None:
    """Tune learning rate and weight decay; exit 1 if every setting diverges.

    A grid first, then what lies around its best. The best few are trained again on other seeds to
    choose among them, and what is chosen on 16 more to say what it is worth. A program without
    weight decay has as many settings of the learning rate alone.
    """
    program = load(find_source(file))
    program = protect(program) if protected else program
    values = parse_settings(program, settings)
    found = find_task_or_fail(task)

    from optdsl.cli.progress import progress_bar
    from optdsl.comparison.tune import tune

    began = time.monotonic()
    with users_code(task), progress_bar(f"{file} on {found.name}") as progress:
        tuned = tune(program, found, seeds, values, progress)
    seconds = time.monotonic() - began
    if as_json:
        print_json(_to_json(tuned, seconds))
    else:
        _show(tuned, seconds)
    if tuned.has_failed:
        fail("training diverged at every setting", FINDINGS)
    sys.exit(0)


def _show(tuned: "Tuned", seconds: float) -> None:
    from optdsl.cli.heat_map import show_heat_map
    from optdsl.comparison.text import mean_text
    from optdsl.comparison.tune import REPORT_SEEDS

    best = tuned.best
    title = f"Mean validation score on {tuned.task.name}"
    show_heat_map(title, tuned.grid, tuned.decay, best)
    seeds = len(best.scores)
    say(
        f"best of {len(tuned.grid)} settings: {best.setting}: "
        f"{best.mean:.4f} as it was found, on {seeds} seed{'s' if seeds > 1 else ''}"
    )
    if tuned.at_border:
        say(f"it has the {' and the '.join(tuned.at_border)} of all: there may be better beyond")
    say(
        f"on {len(REPORT_SEEDS)} fresh seeds: "
        f"validation {mean_text(tuned.validation)}, test {mean_text(tuned.test)}"
    )
    say(f"{tuned.task.name}, {seconds:.1f} s")


def _to_json(tuned: "Tuned", seconds: float) -> dict[str, Any]:
    from optdsl.tasks.statistics import standard_error

    return {
        "task": tuned.task.name,
        "decay": tuned.decay,
        "best": {
            "setting": tuned.best.setting.to_json(),
            "validation": mean_score(tuned.validation),
            "validation_standard_error": standard_error(tuned.validation),
            "test": mean_score(tuned.test),
            "test_standard_error": standard_error(tuned.test),
            "as_found": tuned.best.mean,
            "at_border": tuned.at_border,
        },
        "grid": [cell.to_json() for cell in tuned.grid],
        "seeds": len(tuned.best.scores),
        "fresh_seeds": len(tuned.runs),
        "seconds": seconds,
    }
