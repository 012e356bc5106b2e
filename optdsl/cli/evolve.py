"""`optdsl evolve [FILE]`, and `optdsl evolve --resume DIR`."""

import os
import shlex
import sqlite3
import sys
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click

from optdsl.cli.options import numbers, positive
from optdsl.cli.output import FINDINGS, fail, print_json, say
from optdsl.evolve.config import CONFIG_FILE, RECIPES, RunConfig, read_config
from optdsl.evolve.engines import ENGINES, EngineError, EngineOptions
from optdsl.evolve.judge import EVALUATORS, JudgeSpec, in_one_line
from optdsl.evolve.mutations import BY_NAME, MUTATIONS
from optdsl.evolve.proposals import KEYS
from optdsl.evolve.store import StoreError
from optdsl.frontend import find_source, load
from optdsl.ir import print_program
from optdsl.ops import FunctionSet
from optdsl.resources import search_start
from optdsl.tasks.table import TaskError, TaskSource, read_task

LAG = 64
"""Proposals under way; a part of the configuration, so that workers are not."""

CHOICES: dict[str, Collection[str]] = {
    "evaluator": EVALUATORS,
    "strategy": MUTATIONS,
    "baselines": MUTATIONS,
    "mutations": BY_NAME,
    "cache_level": KEYS,
    "functions": [which.value for which in FunctionSet],
}
"""What the names in a configuration may be."""

RESUMABLE = ("resume", "task", "workers", "engine", "address", "deadline", "cache", "as_json")
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
@click.option("--lr", type=float, callback=positive, help="Peak learning rate.")
@click.option("--out", metavar="DIR", help="The run folder; by default a new one in runs/.")
@click.option("--resume", metavar="DIR", help="Go on with the run in a folder.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one object.")
def command(file: str | None, resume: str | None, as_json: bool, **options: Any) -> None:
    """Search for a better program by regularized evolution, from FILE or from AdamW.

    Its constants are tuned first, and evolution goes on from there. For comparison they are also
    tuned with as many evaluations in all; every program is then scored on fresh seeds. The peak
    learning rate is 1 for a program that multiplies `lr` by a constant of its own, as AdamW here
    does, else the task's.

    The result depends on neither --workers nor --engine. A run that was stopped, however, goes on
    with --resume; a task in a file of your own must then be named again.
    """  # fmt: skip
    if resume is not None:
        folder = Path(resume)
        _refuse_what_the_folder_says(file)
        config, source = _read(folder, options["task"])
    else:
        folder = Path(options["out"]) if options["out"] else None
        config, source, folder = _begin(file, folder, options)
    from optdsl.cli.evolve_output import ProgressLine, show_summary
    from optdsl.evolve.cache import FitnessCache
    from optdsl.evolve.run import Run

    workers = options["workers"]
    workers = cores() if workers is None else workers
    engine_options = EngineOptions(workers, options["deadline"], options["address"])
    spec = JudgeSpec(source, config.learning_rate, config.evaluator)

    def start() -> Any:
        return ENGINES[options["engine"]](spec, engine_options)

    say(
        f"{'going on' if resume else 'searching'} for {config.task} in {folder}"
        f" ({config.evaluator} evaluator, {workers} worker{'' if workers == 1 else 's'})"
    )
    line = ProgressLine(time.monotonic)
    try:
        with line:
            cache = FitnessCache(Path(options["cache"]), config) if options["cache"] else None
            summary = Run(config, folder, start, line.update, cache).run()
    except KeyboardInterrupt:
        _say_how_to_resume(folder, config)
        raise
    except (StoreError, TaskError) as error:
        fail(str(error))
    except EngineError as error:
        fail(f"{error}; go on with {_resume_command(folder, config)}", FINDINGS)
    except sqlite3.OperationalError as error:
        fail(
            f"can't write {folder / 'run.sqlite'}: {error}; what was committed is there: make room"
            f" and go on with {_resume_command(folder, config)}",
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


def _begin(
    file: str | None, folder: Path | None, options: dict[str, Any]
) -> tuple[RunConfig, TaskSource, Path]:
    """The configuration of a new run, in its new folder."""
    program = load(find_source(file or str(search_start())))
    name = options["task"] or "digits_mlp"
    folder = folder or new_folder(Path("runs"), Path(name).stem)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        fail(f"{folder} exists and is not an empty folder; choose another with --out")
    recipe = RECIPES[options["recipe"]]
    seeds = options["seeds"] or recipe.seeds
    hurdles = tuple(percent / 100 for percent in options["hurdles"] or ())
    if not options["seeds"] and not options["hurdles"]:
        hurdles = recipe.hurdles
    tune_first = options["tune_first"]
    if tune_first is None:
        is_evolution = options["strategy"] == "evolution"
        tune_first = recipe.tuned(options["programs"]) if is_evolution else 0
    source = _find(name)
    task = _load(source)

    from optdsl.evolve.evaluators import choose_evaluator
    from optdsl.evolve.run import create_folder
    from optdsl.tasks.evaluation import default_learning_rate

    lr = options["lr"]
    try:
        config = RunConfig(
            version=version("optdsl"),
            task=name,
            task_digest=source.digest,
            learning_rate=default_learning_rate(program, task) if lr is None else lr,
            evaluator=options["evaluator"],
            strategy=options["strategy"],
            baselines=("tune", "random") if options["random_baseline"] else ("tune",),
            baseline_compute=options["baseline_compute"],
            programs=options["programs"],
            tune_first=tune_first,
            restarts=options["restarts"],
            population=options["population"] or recipe.population,
            tournament=options["tournament"] or recipe.tournament,
            mutations=recipe.mutations,
            seed=options["seed"],
            seeds=seeds,
            hurdles=hurdles,
            lag=options["lag"],
            cache_level=options["cache_level"],
            functions=options["functions"],
            protected=options["protected"],
            program=print_program(program),
        )
    except ValueError as error:
        fail(str(error))
    if config.evaluator == "auto":
        try:
            choice = choose_evaluator(task, program, config)
        except Exception as error:  # of the user's code, which runs here for the first time
            fail(f"the task {name} can't be trained: {in_one_line(error)}")
        say(choice.reason)
        config = replace(config, evaluator=choice.evaluator)
    try:
        create_folder(folder, config)
    except OSError as error:
        fail(f"can't use the run folder {folder}: {error.strerror or error}")
    return config, source, folder


def _read(folder: Path, task: str | None) -> tuple[RunConfig, TaskSource]:
    """The configuration of a run that was stopped, if it can go on."""
    try:
        config = read_config(folder)
    except StoreError as error:
        fail(str(error))
    for field, choices in CHOICES.items():
        values = getattr(config, field)
        for value in values if isinstance(values, tuple) else (values,):
            if value not in choices:
                fail(f"{folder / CONFIG_FILE} has an unknown name in `{field}`: {value}")
    if config.version != version("optdsl"):
        fail(
            f"{folder} was begun by optdsl {config.version}, and this is {version('optdsl')}:"
            " results may differ; install that version to go on"
        )
    # A run folder is data: the code of a task runs only if the user names its file.
    if task is None and config.task.endswith(".py"):
        fail(f"the run's task is a file: name it again, with --task {config.task}")
    source = _find(task or config.task)
    if source.digest != config.task_digest:
        fail(f"the task {source.name} is not the one that {folder} was begun with")
    _load(source)
    return config, source


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


def _find(name: str) -> TaskSource:
    return _or_fail(lambda: read_task(name))


def _load(source: TaskSource) -> Any:
    return _or_fail(source.load)


def _or_fail(action: Callable[[], Any]) -> Any:
    try:
        return action()
    except TaskError as error:
        fail(str(error))


def _say_how_to_resume(folder: Path, config: RunConfig) -> None:
    say(f"what was committed is in {folder / 'run.sqlite'}")
    say(f"go on with: {_resume_command(folder, config)}")


def _resume_command(folder: Path, config: RunConfig) -> str:
    words = ["optdsl", "evolve", "--resume", str(folder)]
    if config.task.endswith(".py"):
        words += ["--task", config.task]
    return shlex.join(words)


def cores() -> int:
    """How many this process may use; all, where the system does not tell."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def new_folder(parent: Path, name: str) -> Path:
    """The first of parent/name-1, parent/name-2, ... that does not exist."""
    number = 1
    while (parent / f"{name}-{number}").exists():
        number += 1
    return parent / f"{name}-{number}"
