"""A whole run: search, the tuned baseline at equal evaluations, re-scoring, and the run folder."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

from optdsl.evolve.driver import Progress, Search, SearchResult, SearchSettings
from optdsl.evolve.engine import SerialEngine
from optdsl.evolve.genome import from_program
from optdsl.evolve.mutations import has_constants_to_scale
from optdsl.evolve.proposals import Candidate, check
from optdsl.evolve.rescore import CHOICE_SEEDS, REPORT_SEEDS, Report, choose, report
from optdsl.evolve.store import Ancestor, Commit, Store
from optdsl.files import write_text
from optdsl.ir import Program, print_program
from optdsl.ops import FunctionSet, functions
from optdsl.passes.fold import bind, default_values
from optdsl.passes.hashing import structural_hash
from optdsl.passes.live import remove_dead_state
from optdsl.passes.protect import protect
from optdsl.tasks.evaluation import (
    BytecodeEvaluator,
    Scores,
    UnsupportedProgram,
    evaluate_jitted,
)
from optdsl.tasks.task import Task

SEARCH_SEEDS = (0, 1, 2)
"""Every fitness in a search is a mean over these: initial weights and batch order."""

OnCommit = Callable[[str, Callable[[], Progress]], None]
"""Called after each commit with the strategy's name and a function that gives the counts."""

TUNING_PROPOSALS = 1_000_000
"""A bound that tuning never reaches: where there are constants, it ends with its evaluations."""


@dataclass(frozen=True)
class RunConfig:
    """All that is needed to repeat a run; written to `config.toml`."""

    version: str
    task: str
    """A built-in task's name or a task file's path."""
    learning_rate: float
    """The peak of the task's schedule."""
    programs: int
    population: int
    tournament: int
    seed: int
    strategy: str
    functions: str
    protected: bool
    program: str
    """The initial program's text."""


@dataclass(frozen=True)
class Summary:
    """What a run found, every number on REPORT_SEEDS."""

    config: RunConfig
    progress: Progress
    seconds: float
    initial: Report
    tuned: Report
    tuned_program: Program
    best: Report
    best_program: Program
    best_hash: str
    """Of `best_program`, as it is executed: protected, if the run was."""
    folder: Path

    @property
    def best_file(self) -> Path:
        """Where the best program was written."""
        return self.folder / "best.opt"

    def to_json(self) -> dict[str, object]:
        """The object that `evolve --json` prints."""
        progress = self.progress
        return {
            "task": self.config.task,
            "programs": progress.programs,
            "evaluations": progress.evaluations,
            "cache_hits": progress.cache_hits,
            "hit_rate": progress.hit_rate,
            "invalid": progress.invalid,
            "redundant_fraction": progress.redundant_fraction,
            "seconds": self.seconds,
            "initial_fitness": self.initial.fitness,
            "initial_test_fitness": self.initial.test_fitness,
            "tuned_fitness": self.tuned.fitness,
            "tuned_test_fitness": self.tuned.test_fitness,
            "best": {
                "fitness": self.best.fitness,
                "fitness_standard_error": self.best.fitness_error,
                "test_fitness": self.best.test_fitness,
                "test_fitness_standard_error": self.best.test_error,
                "hash": self.best_hash,
                "statements": len(self.best_program.operations),
                "file": str(self.best_file),
            },
        }


class Run:
    """One run in one folder."""

    def __init__(self, task: Task, program: Program, config: RunConfig, folder: Path) -> None:
        """Make the folder; it must not exist, or be empty.

        Raises:
            FileExistsError: if it holds anything.
            OSError: if it can't be made.
        """
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise FileExistsError(f"{folder} is not empty")
        self.task, self.config, self.folder = task, config, folder
        initial = check(from_program(bind(program, default_values(program))))
        assert initial is not None, "the program was checked"
        self.initial: Candidate = initial
        write_text(folder / "config.toml", to_toml(asdict(config)))

    def run(self, on_commit: OnCommit) -> Summary:
        """Search, tune, re-score, write `best.opt`.

        Args:
            on_commit: see `OnCommit`.
        """
        began = time.monotonic()
        config = self.config
        settings = SearchSettings(
            config.strategy, config.programs, config.population, config.tournament, config.seed
        )
        searching, choosing, reporting = map(
            self._judge, (SEARCH_SEEDS, CHOICE_SEEDS, REPORT_SEEDS)
        )
        with Store(self.folder / "run.sqlite") as store:
            found = self._search(settings, searching, store, on_commit)
            tuning = replace(
                settings,
                strategy="tune",
                programs=TUNING_PROPOSALS if has_constants_to_scale(self.initial.program) else 0,
                evaluations=found.progress.evaluations,
            )
            tuned = (
                found
                if config.strategy == "tune"
                else self._search(tuning, searching, store, on_commit)
            )
            best, tuned_best = (choose(one.leaders, choosing) for one in (found, tuned))
            lineage = store.lineage(config.strategy, best.number)
        initial, tuned_report, best_report = (
            report(reporting(one.program))
            for one in (self.initial, tuned_best.candidate, best.candidate)
        )
        best_program = self._executed(best.candidate.program)
        summary = Summary(
            config=config,
            progress=found.progress,
            seconds=time.monotonic() - began,
            initial=initial,
            tuned=tuned_report,
            tuned_program=self._executed(tuned_best.candidate.program),
            best=best_report,
            best_program=best_program,
            best_hash=structural_hash(best_program),
            folder=self.folder,
        )
        write_text(summary.best_file, best_text(summary, lineage))
        return summary

    def _search(
        self,
        settings: SearchSettings,
        judge: Callable[[Program], Scores],
        store: Store,
        on_commit: OnCommit,
    ) -> SearchResult:
        def committed(commit: Commit) -> None:
            store.commit(commit)
            on_commit(settings.strategy, search.progress)

        engine = SerialEngine(lambda program: judge(program).fitness)
        which = functions(FunctionSet(self.config.functions))
        search = Search(self.initial, engine, settings, which, committed, {})
        return search.run()

    def _judge(self, seeds: tuple[int, ...]) -> Callable[[Program], Scores]:
        """What scores programs on some seeds: made once, since each compiles a training loop."""
        judge = Judge(self.task, seeds, self.config.learning_rate)
        return lambda program: judge.scores(self._executed(program))

    def _executed(self, program: Program) -> Program:
        """What is run of a genome's program."""
        return remove_dead_state(protect(program) if self.config.protected else program)


@dataclass(frozen=True)
class Judge:
    """Scores programs on one task and one set of seeds, by bytecode where it can."""

    task: Task
    seeds: tuple[int, ...]
    learning_rate: float

    @cached_property
    def _evaluator(self) -> BytecodeEvaluator | None:
        try:
            return BytecodeEvaluator(self.task, self.seeds)
        except UnsupportedProgram:
            return None

    def scores(self, program: Program) -> Scores:
        """The program's scores, one for each seed."""
        if self._evaluator is not None:
            try:
                return self._evaluator.evaluate(program, self.learning_rate)
            except UnsupportedProgram:
                pass
        return evaluate_jitted(self.task, program, self.seeds, self.learning_rate)


def best_text(summary: Summary, lineage: list[Ancestor]) -> str:
    """`best.opt`: the best program without what is dead, its scores and lineage in comments."""
    config, best = summary.config, summary.best
    gains = _gains(lineage)
    lines = [
        f"# The best of {summary.progress.programs} programs that optdsl {config.version} made for "
        f"the task {config.task}.",
        f"# Mean log-likelihood or score over {len(REPORT_SEEDS)} fresh seeds: validation "
        f"{best.fitness:.4f} (± {best.fitness_error:.4f}), test {best.test_fitness:.4f} "
        f"(± {best.test_error:.4f}).",
        f"# The initial program: {summary.initial.fitness:.4f}, test "
        f"{summary.initial.test_fitness:.4f}; with its constants tuned: "
        f"{summary.tuned.fitness:.4f}, test {summary.tuned.test_fitness:.4f}.",
        f"# Train it again: optdsl train best.opt --task {config.task} "
        f"--lr {config.learning_rate!r}",
        "#",
        f"# Lineage: {len(lineage) - 1} mutations; those that raised the search's fitness:",
        *(f"#   proposal {a.number}, {a.mutation}: {a.fitness:.4f}" for a in gains),
        "",
    ]
    return "\n".join(lines) + print_program(summary.best_program)


def _gains(lineage: list[Ancestor]) -> list[Ancestor]:
    """The initial program and each ancestor that was better than all before it."""
    gains: list[Ancestor] = []
    for ancestor in reversed(lineage):
        if not gains or ancestor.fitness > gains[-1].fitness:
            gains.append(ancestor)
    return gains


def to_toml(values: dict[str, object]) -> str:
    """A flat table; JSON's strings, numbers and booleans are TOML's too."""
    rows = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in values.items()]
    return "\n".join(rows) + "\n"
