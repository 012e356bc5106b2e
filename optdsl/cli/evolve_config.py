"""The configuration of a run: from the options of `optdsl evolve`, or from its folder."""

import shlex
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from optdsl.cli.output import fail, say
from optdsl.evolve.config import CONFIG_FILE, LOOKS, RECIPES, RunConfig, read_config
from optdsl.evolve.judge import EVALUATORS, JudgeSpec, in_one_line
from optdsl.evolve.mutations import BY_NAME, MUTATIONS
from optdsl.evolve.proposals import KEYS
from optdsl.evolve.store import StoreError
from optdsl.frontend import find_source, load
from optdsl.ir import Role, print_program
from optdsl.ops import FunctionSet
from optdsl.passes.live import reads_numbers
from optdsl.resources import search_start
from optdsl.tasks.table import TaskError, TaskSource, load_task, read_task

CHOICES: dict[str, Collection[str]] = {
    "evaluator": EVALUATORS,
    "strategy": MUTATIONS,
    "baselines": MUTATIONS,
    "mutations": BY_NAME,
    "cache_level": KEYS,
    "functions": [which.value for which in FunctionSet],
}
"""What the names in a configuration may be."""


@dataclass(frozen=True)
class Setup:
    """A run to begin, or to go on with."""

    config: RunConfig
    folder: Path
    task: TaskSource
    meta_task: TaskSource | None

    @property
    def spec(self) -> JudgeSpec:
        """What its programs are judged by."""
        return JudgeSpec(self.task, self.config.learning_rate, self.config.evaluator)

    @property
    def meta_spec(self) -> JudgeSpec | None:
        """What its leaders are judged by too."""
        if self.meta_task is None:
            return None
        return replace(self.spec, task=self.meta_task, learning_rate=self.config.meta_learning_rate)

    @property
    def resume_command(self) -> str:
        """How to go on with it; files with code are named again."""
        words = ["optdsl", "evolve", "--resume", str(self.folder)]
        for option, source in (("--task", self.task), ("--meta-task", self.meta_task)):
            if source is not None and source.text is not None:
                words += [option, source.name]
        return shlex.join(words)


def begin(file: str | None, options: dict[str, Any]) -> Setup:
    """A new run, in its new folder; what is wrong is a usage error."""
    program = load(find_source(file or str(search_start())))
    if options["keep_lr"] and not reads_numbers(program, Role.LEARNING_RATE):
        fail(
            "--keep-lr needs a program whose update depends on `lr`; this one's does not:"
            " multiply its update by `lr`, or leave --keep-lr out"
        )
    name, meta_name = options["task"] or "digits_mlp", options["meta_task"]
    for option in ("meta_every", "meta_stop"):
        if options[option] and not meta_name:
            fail(f"--{option.replace('_', '-')} needs --meta-task")
    folder = Path(options["out"]) if options["out"] else new_folder(Path("runs"), Path(name).stem)
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
    task = _or_fail(lambda: load_task(source))
    meta_source = _find(meta_name) if meta_name else None
    meta_task = _or_fail(lambda: load_task(meta_source)) if meta_source else None

    from optdsl.evolve.evaluators import choose_evaluator
    from optdsl.evolve.run import create_folder
    from optdsl.tasks.evaluation import default_learning_rate

    def rate(task: Any) -> float:
        return default_learning_rate(program, task) if options["lr"] is None else options["lr"]

    every = options["meta_every"] or max(options["programs"] // LOOKS, options["lag"])
    try:
        config = RunConfig(
            version=version("optdsl"),
            task=name,
            task_digest=source.digest,
            learning_rate=rate(task),
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
            keep_lr=options["keep_lr"],
            meta_task=meta_name or "",
            meta_task_digest=meta_source.digest if meta_source else "",
            meta_learning_rate=rate(meta_task) if meta_task else 0.0,
            meta_every=every if meta_task else 0,
            meta_stop=options["meta_stop"],
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
    return Setup(config, folder, source, meta_source)


def read(folder: Path, task: str | None, meta_task: str | None) -> Setup:
    """A run that was stopped, if it can go on; what is wrong is a usage error."""
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
    source = _found_again("task", task, config.task, config.task_digest, folder)
    meta_source = None
    if config.meta_task:
        digest = config.meta_task_digest
        meta_source = _found_again("meta task", meta_task, config.meta_task, digest, folder)
    elif meta_task is not None:
        fail(f"{folder} was begun without a meta task")
    return Setup(config, folder, source, meta_source)


def _found_again(what: str, given: str | None, name: str, digest: str, folder: Path) -> TaskSource:
    """A task of a run that goes on.

    A run folder is data: the code of a task runs only if the user names its file.
    """
    if given is None and name.endswith(".py"):
        option = f"--{what.replace(' ', '-')}"
        fail(f"the run's {what} is a file: name it again, with {option} {name}")
    source = _find(given or name)
    if source.digest != digest:
        fail(f"the {what} {source.name} is not the one that {folder} was begun with")
    _or_fail(source.load)
    return source


def _find(name: str) -> TaskSource:
    return _or_fail(lambda: read_task(name))


def _or_fail(action: Callable[[], Any]) -> Any:
    try:
        return action()
    except TaskError as error:
        fail(str(error))


def new_folder(parent: Path, name: str) -> Path:
    """The first of parent/name-1, parent/name-2, ... that does not exist."""
    number = 1
    while (parent / f"{name}-{number}").exists():
        number += 1
    return parent / f"{name}-{number}"
