"""`optdsl funnel DIR --tasks A,B,C`."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from optdsl.cli.options import tuning_seeds
from optdsl.cli.output import FINDINGS, fail, json_text, print_json, say
from optdsl.cli.tasks import find_task_or_fail, users_code
from optdsl.evolve.funnel_file import FUNNEL_FILE
from optdsl.evolve.store import StoreError
from optdsl.files import write_text

if TYPE_CHECKING:
    from optdsl.evolve.funnel import Rung


@click.command("funnel")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--tasks",
    metavar="A,B,C",
    required=True,
    help="From the smallest to the largest: built-in tasks, or files my_task.py.",
)
@click.option(
    "--top",
    type=click.IntRange(1),
    default=8,
    show_default=True,
    help="How many of the run's best distinct programs enter.",
)
@tuning_seeds
@click.option("--json", "as_json", is_flag=True, help="Print one object.")
def command(folder: Path, tasks: str, top: int, seeds: int, as_json: bool) -> None:
    """Train a run's best programs on larger tasks; those that beat the tuned baseline go on.

    Each task tunes the learning rate and weight decay of every program anew, with equal budgets.
    Validation data say who goes on, the held-out test part what that is worth. Exit 1 if no program
    beats the baseline on the last task.
    """
    from optdsl.evolve.funnel import climb, entrants, to_json

    names = [name.strip() for name in tasks.split(",")]
    if "" in names or len({*names}) < len(names):
        fail(f"--tasks {tasks}: name different tasks, with commas between them")
    rungs = [find_task_or_fail(name) for name in names]
    try:
        entered = entrants(folder, top)
    except StoreError as error:
        fail(str(error))
    say(f"{len(entered.finds)} programs of {folder} against its tuned baseline")
    if not entered.is_tuned:
        say(
            "warning: the search has not tuned its baseline yet: a win may be over an untuned start"
        )

    from optdsl.cli.progress import progress_bar

    began = time.monotonic()
    found: list[dict[str, object]] = []
    with users_code(*names), progress_bar("funnel") as progress:
        for rung in climb(entered, rungs, seeds, progress):
            _show(rung)
            found.append(to_json(rung))
    summary = {
        "rungs": found,
        "seeds": seeds,
        "seconds": time.monotonic() - began,
        "file": str(folder / FUNNEL_FILE),
    }
    try:
        write_text(folder / FUNNEL_FILE, json_text(summary) + "\n")
    except OSError as error:
        fail(f"can't write {folder / FUNNEL_FILE}: {error.strerror or error}")
    if as_json:
        print_json(summary)
    say(f"wrote {folder / FUNNEL_FILE}")
    survivors = found[-1]["go_on"] if len(found) == len(rungs) else []
    if not survivors:
        fail(f"no program beats the tuned baseline on {found[-1]['task']}", FINDINGS)
    sys.exit(0)


def _show(rung: "Rung") -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from optdsl.comparison.text import interval_text

    console = Console(stderr=True, highlight=False)
    table = Table(title=f"{rung.task.name}: gains over the tuned baseline ± 95 %, seed by seed")
    for head in ("program", "tuned to"):
        table.add_column(head, overflow="fold", min_width=8)
    for head in ("validation", "held-out test"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("")
    table.add_row(Text(rung.baseline.name), Text(str(rung.baseline.tuned.best.setting)), "", "", "")
    for one in rung.climbs:
        assert one.row.difference is not None, "only the baseline has none"
        table.add_row(
            Text(one.row.name),
            Text(str(one.row.tuned.best.setting)),
            interval_text(one.validation.gain, "+.4f"),
            interval_text(one.row.difference.gain, "+.4f"),
            "goes on" if one.goes_on else "",
        )
    console.print(table)
