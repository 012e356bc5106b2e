"""`optdsl fidelity --tasks A,B,C`."""

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from optdsl.cli.output import fail, print_json, say
from optdsl.cli.tasks import find_task_or_fail, users_code
from optdsl.frontend import find_source, load

if TYPE_CHECKING:
    from optdsl.comparison.fidelity import Agreement, Measured


@click.command("fidelity")
@click.argument("files", metavar="[FILE]...", nargs=-1)
@click.option(
    "--tasks",
    "names",
    metavar="A,B,C",
    required=True,
    help="Two tasks or more, from small to large, such as digits_mlp,digits_mlp@10x.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one object.")
def command(files: tuple[str, ...], names: str, as_json: bool) -> None:
    """Tell whether small tasks rank optimizers as larger ones do.

    Trains each FILE, by default optimizers of the standard library, on each task with learning
    rates on a grid. Prints the rank correlation (Spearman's) of the test scores for each two tasks,
    with a 95 % bootstrap interval over programs and seeds.
    """
    wanted = names.split(",")
    if len(wanted) < 2 or "" in wanted:
        fail(f"--tasks takes two tasks or more with commas between them, not `{names}`")
    for what, given in (("FILE", list(files)), ("--tasks", wanted)):
        twice = [name for name in given if given.count(name) > 1]
        if twice:
            fail(f"{what} {twice[0]} is given twice")
    if 0 < len(files) < 3:
        fail(f"ranks of {len(files)} programs tell nothing: give three FILEs or more, or none")
    tasks = [find_task_or_fail(name) for name in wanted]

    from optdsl.backends.bytecode import UnsupportedProgram
    from optdsl.cli.progress import progress_bar
    from optdsl.comparison.fidelity import PROGRAMS, agreements, measure

    programs = {name: load(find_source(name)) for name in files or PROGRAMS}
    began = time.monotonic()
    try:
        with users_code(*wanted), progress_bar("fidelity") as progress:
            measured = measure(programs, tasks, progress=progress)
    except UnsupportedProgram as error:
        fail(f"a program can't be ranked by the register machine: {error}")
    found, seconds = agreements(measured), time.monotonic() - began
    if as_json:
        print_json(
            {
                "agreements": [asdict(entry) for entry in found],
                "measured": [asdict(entry) for entry in measured],
                "seconds": seconds,
            }
        )
    else:
        _show(found, measured, seconds)


def _show(found: "Sequence[Agreement]", measured: "Sequence[Measured]", seconds: float) -> None:
    by_task: dict[str, list[Measured]] = {}
    for entry in measured:
        by_task.setdefault(entry.task, []).append(entry)
    for task, entries in by_task.items():
        say(f"{task}, test part, mean of {len(entries[0].scores)} fresh seeds:")
        width = max(len(entry.program) for entry in entries)
        for entry in sorted(entries, key=lambda entry: -entry.mean):
            border = ", the grid's end" if entry.at_border else ""
            rate = f"lr {entry.learning_rate:.3g}{border}"
            say(f"  {entry.program:<{width}}  {entry.mean:9.4f}  {rate}")
    say("rank correlation, and its 95 % interval:")
    for entry in found:
        low, high = entry.interval
        pair = f"{entry.small} and {entry.large}"
        say(f"  {pair}: {entry.correlation:.2f} ({low:.2f} to {high:.2f})")
    say(f"{len(next(iter(by_task.values())))} programs, {seconds:.1f} s")
