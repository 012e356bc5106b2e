"""`optdsl compare FILE... --task T...`."""

import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from optdsl.cli.options import tuning_seeds
from optdsl.cli.output import FINDINGS, fail, print_json, say
from optdsl.cli.tasks import find_task_or_fail, users_code
from optdsl.files import write_text
from optdsl.frontend import find_source, load
from optdsl.passes.protect import protect

if TYPE_CHECKING:
    from optdsl.comparison.compare import Row


@click.command("compare")
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option(
    "--task",
    "names",
    metavar="T",
    multiple=True,
    required=True,
    help="A built-in task, or a file my_task.py; may be given several times.",
)
@tuning_seeds
@click.option("--protected", is_flag=True, help="Keep functions inside of their domains.")
@click.option("-o", "--output", metavar="OUT", help="Also write a page with learning curves.")
@click.option("--json", "as_json", is_flag=True, help="Print one object.")
def command(
    files: tuple[str, ...],
    names: tuple[str, ...],
    seeds: int,
    protected: bool,
    output: str | None,
    as_json: bool,
) -> None:
    """Compare programs with the first one, each tuned for each task with the same budget.

    Scores are of the held-out test part, on 16 fresh seeds that all programs share. A difference
    is called one if its interval leaves 0 out; all verdicts hold together with 95 % confidence.
    Exit 1 if a program diverges at every setting.
    """
    for what, given in (("FILE", files), ("--task", names)):
        twice = [name for name in given if given.count(name) > 1]
        if twice:
            fail(f"{what} {twice[0]} is given twice")
    if output is not None and not Path(output).parent.is_dir():
        fail(f"can't write {output}: there is no folder {Path(output).parent}")
    programs = {file: load(find_source(file)) for file in files}
    if protected:
        programs = {file: protect(program) for file, program in programs.items()}
    tasks = {name: find_task_or_fail(name) for name in names}

    from optdsl.cli.progress import progress_bar
    from optdsl.comparison.compare import compare

    began = time.monotonic()
    with users_code(*names), progress_bar("compare") as progress:
        rows = compare(programs, list(tasks.values()), seeds, progress)
    seconds = time.monotonic() - began
    if as_json:
        print_json(_to_json(rows, seconds))
    else:
        _show(rows, seeds, seconds)
    if output is not None:
        _write_page(rows, Path(output))
    failed = [f"{row.name} on {row.tuned.task.name}" for row in rows if row.tuned.has_failed]
    if failed:
        fail(f"training diverged at every setting: {', '.join(failed)}", FINDINGS)
    sys.exit(0)


def _write_page(rows: Sequence["Row"], file: Path) -> None:
    from optdsl.report.comparison import comparison_page

    try:
        write_text(file, comparison_page(rows))
    except OSError as error:
        fail(f"can't write {file}: {error.strerror or error}")
    say(f"wrote {file}")


def _show(rows: Sequence["Row"], seeds: int, seconds: float) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from optdsl.comparison.text import row_text
    from optdsl.comparison.tune import REPORT_SEEDS, Budget

    console = Console(stderr=True, highlight=False)
    for task, group in groupby(rows, key=lambda row: row.tuned.task.name):
        table = Table(title=f"{task}, test part: mean of {len(REPORT_SEEDS)} fresh seeds ± 95 %")
        table.add_column("program", overflow="fold", min_width=8)
        table.add_column("tuned to", overflow="fold", min_width=12)
        for head in ("score", "difference"):
            table.add_column(head, justify="right", no_wrap=True)
        table.add_column("verdict", min_width=8)
        for row in group:
            text = row_text(row)
            cells = (text.program, text.setting, text.score, text.difference, text.verdict)
            table.add_row(*map(Text, cells))
        console.print(table)
    say(f"differences are to {rows[0].name}; each program on each task: {Budget(seeds)}")
    say(f"{seconds:.1f} s")


def _to_json(rows: Sequence["Row"], seconds: float) -> dict[str, Any]:
    from optdsl.comparison.tune import Budget
    from optdsl.tasks.statistics import LEVEL

    return {
        "rows": [_row(row) for row in rows],
        "curves": [_curve(row) for row in rows],
        "budget": asdict(Budget(len(rows[0].tuned.best.scores))),
        "level": LEVEL,
        "seconds": seconds,
    }


def _row(row: "Row") -> dict[str, Any]:
    difference = row.difference
    return {
        "task": row.tuned.task.name,
        "program": row.name,
        "setting": row.tuned.best.setting.to_json(),
        "score": row.score.mean,
        "interval": row.score.bounds,
        "difference": None if difference is None else difference.gain.mean,
        "difference_interval": None if difference is None else difference.gain.bounds,
        "verdict": None if difference is None else difference.verdict,
        "scores": row.tuned.test,
        "at_border": row.tuned.at_border,
    }


def _curve(row: "Row") -> dict[str, Any]:
    curve = row.curve
    return {
        "task": row.tuned.task.name,
        "program": row.name,
        "steps": curve.steps,
        "mean": curve.mean,
        "standard_error": curve.error,
    }
