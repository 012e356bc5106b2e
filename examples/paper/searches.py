"""What the scripts about searches share: a run in its folder, and its finds on fresh seeds."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from sqlite3 import Connection

from optdsl.cli.main import main
from optdsl.diagnostics import Source
from optdsl.evolve.config import CONFIG_FILE, read_config
from optdsl.evolve.finds import best_of_stages
from optdsl.evolve.judge import Job, JudgeSpec, Score, judge
from optdsl.evolve.rescore import CHOICE_SEEDS, REPORT_SEEDS, best_of
from optdsl.evolve.run_data import Stage
from optdsl.frontend import load
from optdsl.ir import Program
from optdsl.report.programs import LEADERS
from optdsl.tasks.scores import mean_score
from optdsl.tasks.statistics import standard_error
from optdsl.tasks.table import read_task


def evolve(folder: Path, task: str, *options: object) -> None:
    """`optdsl evolve` into a folder; a run that is there goes on, with the options that it had."""
    if (folder / "best.opt").exists():
        return
    begun = (folder / CONFIG_FILE).exists()
    words = ["--resume", folder] if begun else ["--out", folder, *options]
    try:
        main(["evolve", "--task", task, *map(str, words)])
    except SystemExit as end:
        if end.code:
            raise


def judge_of(folder: Path, task: str | None = None) -> JudgeSpec:
    """What a run's programs were judged by, or the same on another task."""
    config = read_config(folder)
    return JudgeSpec(read_task(task or config.task), config.learning_rate, config.evaluator)


def scores(spec: JudgeSpec, program: Program, seeds: Sequence[int]) -> tuple[Score, ...]:
    """The program's validation and test scores, one pair for each seed."""
    return judge(spec, Job("", program, (tuple(seeds),))).on_all(seeds)


@dataclass(frozen=True)
class Find:
    """A program with its scores on seeds that nothing was chosen by."""

    program: Program
    scores: tuple[Score, ...]

    @property
    def test(self) -> float:
        """The mean held-out test score."""
        return mean_score([test for _, test in self.scores])


def reported(spec: JudgeSpec, program: Program) -> Find:
    """A program on the seeds of every report."""
    return Find(program, scores(spec, program, REPORT_SEEDS))


def find_of(spec: JudgeSpec, db: Connection, stage: Stage) -> Find:
    """The best of a search: chosen among its leaders on fresh seeds, reported on others."""
    found = best_of_stages(db, [stage], LEADERS)
    programs = [load(Source(one.key, one.text)) for one in found]
    best = best_of([scores(spec, program, CHOICE_SEEDS) for program in programs])
    return reported(spec, programs[best])


def mean_text(values: Sequence[float]) -> str:
    """A mean with its standard error, if there is one."""
    error = f" ± {standard_error(values):.4f}" if len(values) > 1 else ""
    return f"{mean_score(values):.4f}{error}"
