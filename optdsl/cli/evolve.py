"""`optdsl evolve [FILE]`, and `optdsl evolve --resume DIR`."""

import os
import sqlite3
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import click

from optdsl.cli.evolve_config import begin, read
from optdsl.cli.options import numbers, positive
from optdsl.cli.output import FINDINGS, fail, print_json, say
from optdsl.evolve.config import RECIPES
from optdsl.evolve.engines import ENGINES, EngineError, EngineOptions, needs_no_workers
from optdsl.evolve.judge import EVALUATORS
from optdsl.evolve.mutations import MUTATIONS
from optdsl.evolve.proposals import KEYS
from optdsl.evolve.store import StoreError
from optdsl.ops import FunctionSet
from optdsl.tasks.table import TaskError

LAG = 64
"""Proposals under way; a part of the configuration, so that workers are not."""

RESUMABLE = ("resume", "task", "meta_task", "workers", "engine", "address", "deadline", "cache",
             "as_json")  # fmt: skip
"""The options that may stand beside --resume: results don't depend on them."""

DEADLINE = 600.0
"""Seconds for one evaluation."""


@click.command("evolve")
@click.argument("file", metavar="[FILE]", required=False)
@click.option("--task", help="A built-in task or a file; by default digits_mlp.")
@click.option("--programs", type=click.IntRange(1), default=3000, show_default=True)
@click.option("--population", type=click.IntRange(1), help="By default the recipe's.")
@click.option("--tournament", type=click.IntRange(1), help="By default the recipe's.")
@click.option(
    "--tune-first",
    type=click.IntRange(0),
    metavar="N",
    help="Programs that first tune the start's constants; by default the recipe's share.",
)
@click.option("--restarts", type=click.IntRange(1), default=1, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--workers", type=click.IntRange(0), help="By default, the number of cores.")
@click.option("--engine", type=click.Choice(list(ENGINES)), default="local", show_default=True)
@click.option("--address", help="With --engine ray: a running cluster's address.")
@click.option(
    "--deadline",
    type=float,
    default=DEADLINE,
    callback=positive,
    show_default=True,
    help="Seconds after which an evaluation is given up.",
)
@click.option("--strategy", type=click.Choice(list(MUTATIONS)), default="evolution")
@click.option(
    "--random-baseline", is_flag=True, help="Also search at random, with as many evaluations."
)
@click.option(
    "--baseline-compute",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Evaluations of a baseline, in those of the search.",
)
@click.option("--recipe", type=click.Choice(list(RECIPES)), default="default", show_default=True)
@click.option(
    "--seeds",
    callback=numbers(int),
    metavar="N[,N]...",
    help="Seeds of an evaluation: at first, and in all after each hurdle.",
)
@click.option(
    "--hurdle",
    "hurdles",
    callback=numbers(float),
    metavar="P[,P]...",
    help="The percentile of the last programs to reach for more seeds.",
)
@click.option("--evaluator", type=click.Choice(["auto", *EVALUATORS]), default="auto")
@click.option("--cache-level", type=click.Choice(list(KEYS)), default="structural")
@click.option("--cache", metavar="FILE", help="Use and extend what earlier runs found.")
@click.option(
    "--lag",
    type=click.IntRange(1),
    default=LAG,
    show_default=True,
    help="Proposals under way at once; raise it for many workers.",
)
@click.option("--functions", type=click.Choice([s.value for s in FunctionSet]), default="paper")
@click.option("--protected", is_flag=True, help="Keep functions inside of their domains.")
@click.option(
    "--keep-lr", is_flag=True, help="Only programs whose update is computed from the learning rate."
)
@click.option("--lr", type=float, callback=positive, help="Peak learning rate, on both tasks.")
@click.option(
    "--meta-task",
    metavar="T",
    help="A larger task, on which the leader is judged now and then: is it better there too?",
)
@click.option(
    "--meta-every",
    type=click.IntRange(1),
    metavar="N",
    help="Programs between two looks at the leader.  [default: a twentieth of all]",
)
@click.option("--meta-stop", is_flag=True, help="End a search whose leaders get worse there.")
@click.option("--out", metavar="DIR", help="The run folder; by default a new one in runs/.")
@click.option("--resume", metavar="DIR", help="Go on with the run in a folder.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one object.")
def command(file: str | None, resume: str | None, as_json: bool, **options: Any) -> None:
    """Search for a better program by regularized evolution, from FILE or from AdamW.

    Its constants are tuned first, and evolution goes on from there. For comparison they are also
    tuned with as many evaluations in all; every program is then scored on fresh seeds. The peak
    learning rate is 1 for a program that multiplies `lr` by a constant of its own, as AdamW here
    does, else the task's.

    The result depends on neither --workers nor --engine; a GPU or TPU of this machine judges many
    programs in one call, without workers. A run that was stopped, however, goes on
    with --resume; a task in a file of your own must then be named again.

    With --meta-task the leader of a search, the best program at the time, is also judged on a
    larger task, and a warning says if it gets worse there while its fitness rises.
    """  # fmt: skip
    if resume is not None:
        _refuse_what_the_folder_says(file)
        setup = read(Path(resume), options["task"], options["meta_task"])
    else:
        setup = begin(file, options)
    config, folder = setup.config, setup.folder
    from optdsl.cli.evolve_output import ProgressLine, show_summary, warn
    from optdsl.evolve.cache import FitnessCache
    from optdsl.evolve.run import Run

    workers = options["workers"]
    workers = cores() if workers is None else workers
    engine_options = EngineOptions(workers, options["deadline"], options["address"])
    alone = options["engine"] == "local" and needs_no_workers(setup.spec)
    where = "side by side" if alone else f"{workers} worker{'' if workers == 1 else 's'}"

    def start() -> Any:
        return ENGINES[options["engine"]](setup.spec, engine_options)

    too = f", its leaders judged on {config.meta_task} too" if config.meta_task else ""
    say(
        f"{'going on' if resume else 'searching'} for {config.task} in {folder}"
        f" ({config.evaluator} evaluator, {where}){too}"
    )
    line = ProgressLine(time.monotonic)
    try:
        with line:
            cache = FitnessCache(Path(options["cache"]), config) if options["cache"] else None
            meta, on_fall = setup.meta_spec, partial(warn, config)
            summary = Run(config, folder, start, line.update, cache, meta, on_fall).run()
    except KeyboardInterrupt:
        say(f"what was committed is in {folder / 'run.sqlite'}")
        say(f"go on with: {setup.resume_command}")
        raise
    except (StoreError, TaskError) as error:
        fail(str(error))
    except EngineError as error:
        fail(f"{error}; go on with {setup.resume_command}", FINDINGS)
    except sqlite3.OperationalError as error:
        fail(
            f"can't write {folder / 'run.sqlite'}: {error}; what was committed is there: make room"
            f" and go on with {setup.resume_command}",
            FINDINGS,
        )
    except sqlite3.DatabaseError as error:
        fail(f"{folder / 'run.sqlite'} is damaged: {error}")
    except OSError as error:
        fail(f"can't write to {folder}: {error.strerror or error}", FINDINGS)
    if as_json:
        print_json(summary.to_json())
    show_summary(summary)
    sys.exit(0)


def _refuse_what_the_folder_says(file: str | None) -> None:
    context = click.get_current_context()
    given = [
        parameter.opts[0]
        for parameter in context.command.params
        if context.get_parameter_source(parameter.name) is click.core.ParameterSource.COMMANDLINE
        and parameter.name not in RESUMABLE
    ]
    if file is not None or given:
        what = "FILE" if file is not None else given[0]
        fail(f"{what} can't be given with --resume: the run folder says it")


def cores() -> int:
    """How many this process may use; all, where the system does not tell."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
