"""A comparison that is fair to every program: equal budgets, paired seeds, untouched test data.

Each program is tuned on each task with the same budget (`tune.py`). Then all are trained with the
same initial weights and batches, seed by seed, and the held-out test part says how they differ. A
mean's interval is Student's t over the seeds; a difference's is that of the paired differences, as
wide as it must be for all of a comparison's verdicts to hold together with 95 % (Bonferroni).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from optdsl.comparison.tune import SEARCH_SEEDS, Progress, Tuned, tune
from optdsl.ir import Program
from optdsl.tasks.scores import mean_score
from optdsl.tasks.settings import curve_steps
from optdsl.tasks.statistics import (
    LEVEL,
    Difference,
    Interval,
    difference,
    interval,
    standard_error,
)
from optdsl.tasks.task import Task


@dataclass(frozen=True)
class LearningCurve:
    """Validation scores along training on REPORT_SEEDS."""

    steps: tuple[int, ...]
    mean: tuple[float, ...]
    error: tuple[float, ...]
    """Standard errors."""


@dataclass(frozen=True)
class Row:
    """A program on a task."""

    name: str
    tuned: Tuned
    score: Interval
    """On the test part."""
    difference: Difference | None
    """To the first program; None for that one itself."""

    @property
    def curve(self) -> LearningCurve:
        """How its runs with the chosen setting went."""
        points = list(zip(*(run.curve for run in self.tuned.runs), strict=True))
        return LearningCurve(
            curve_steps(self.tuned.task),
            tuple(map(mean_score, points)),
            tuple(map(standard_error, points)),
        )


def compare(
    programs: Mapping[str, Program],
    tasks: Sequence[Task],
    seeds: int = SEARCH_SEEDS,
    progress: Progress = lambda done, of: None,
) -> tuple[Row, ...]:
    """Compare programs with the first of them.

    Args:
        programs: by name.
        tasks: each with a tuning of its own.
        seeds: how many each setting is tried on.
        progress: told how many settings were tried, of all tunings.

    Returns:
        For each task a row for each program, in their orders.
    """
    level = 1 - (1 - LEVEL) / max((len(programs) - 1) * len(tasks), 1)
    rows: list[Row] = []

    def tried(done: int, of: int) -> None:
        progress(len(rows) * of + done, len(programs) * len(tasks) * of)

    for task in tasks:
        first: Tuned | None = None
        for name, program in programs.items():
            tuned = tune(program, task, seeds, progress=tried)
            against = None if first is None else difference(tuned.test, first.test, level)
            first = first or tuned
            rows.append(Row(name, tuned, interval(tuned.test), against))
    return tuple(rows)
