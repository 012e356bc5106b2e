"""`optdsl evolve [FILE]`."""

import sys
import time
from pathlib import Path

import click

from optdsl.cli.options import positive
from optdsl.cli.output import fail, print_json, say
from optdsl.cli.tasks import find_task_or_fail
from optdsl.evolve.mutations import MUTATIONS
from optdsl.frontend import find_source, load
from optdsl.ops import FunctionSet
from optdsl.resources import search_start


@click.command("evolve")
@click.argument("file", metavar="[FILE]", required=False)
@click.option("--task", default="digits_mlp", show_default=True, help="A built-in task or a file.")
@click.option("--programs", type=click.IntRange(1), default=5000, show_default=True)
@click.option("--population", type=click.IntRange(1), default=1000, show_default=True)
@click.option("--tournament", type=click.IntRange(1), default=2, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--strategy", type=click.Choice(list(MUTATIONS)), default="evolution")
@click.option("--functions", type=click.Choice([s.value for s in FunctionSet]), default="paper")
@click.option("--protected", is_flag=True, help="Keep functions inside of their domains.")
@click.option("--lr", type=float, callback=positive, help="Peak learning rate.")
@click.option("--out", metavar="DIR", help="The run folder; by default a new one in runs/.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one object.")
def command(
    file: str | None,
    task: str,
    programs: int,
    population: int,
    tournament: int,
    seed: int,
    strategy: str,
    functions: str,
    protected: bool,
    lr: float | None,
    out: str | None,
    as_json: bool,
) -> None:
    """Search for a better program by regularized evolution, from FILE or from AdamW.

    Then the initial program's constants are tuned with as many evaluations, and all three are
    scored on fresh seeds. The peak learning rate is 1 for a program that multiplies `lr` by a
    constant of its own, as AdamW here does, else the task's.
    """
    program = load(find_source(file or str(search_start())))
    folder = Path(out) if out else new_folder(Path("runs"), Path(task).stem)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        fail(f"{folder} exists and is not an empty folder; choose another with --out")
    found = find_task_or_fail(task)

    from importlib.metadata import version

    from optdsl.cli.evolve_output import ProgressLine, show_summary
    from optdsl.evolve.run import Run, RunConfig
    from optdsl.ir import print_program
    from optdsl.tasks.evaluation import default_learning_rate

    config = RunConfig(
        version=version("optdsl"),
        task=task,
        learning_rate=default_learning_rate(program, found) if lr is None else lr,
        programs=programs,
        population=population,
        tournament=tournament,
        seed=seed,
        strategy=strategy,
        functions=functions,
        protected=protected,
        program=print_program(program),
    )
    try:
        run = Run(found, program, config, folder)
    except OSError as error:
        fail(f"can't use the run folder {folder}: {error.strerror or error}")
    say(f"searching for {found.name} in {folder}, starting from {_title(program.doc, file)}")
    progress = ProgressLine(programs, time.monotonic)
    try:
        with progress:
            summary = run.run(progress.update)
    except KeyboardInterrupt:
        say(f"what was committed is in {folder / 'run.sqlite'}")
        raise
    if as_json:
        print_json(summary.to_json())
    show_summary(summary)
    sys.exit(0)


def new_folder(parent: Path, name: str) -> Path:
    """The first of parent/name-1, parent/name-2, ... that does not exist."""
    number = 1
    while (parent / f"{name}-{number}").exists():
        number += 1
    return parent / f"{name}-{number}"


def _title(doc: str, file: str | None) -> str:
    return doc.split("\n")[0] or file or "the given program"
