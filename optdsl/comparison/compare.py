"""A comparison that is fair to every program: equal budgets, paired seeds, untouched test data.

Each program is tuned on each task with the same budget (`tune.py`). Then all are trained with the
same initial weights and batches, seed by seed, and the held-out test part says how they differ. A
mean's interval is Student's t over the seeds; a difference's is that of the paired differences, as
wide as it must be for all of a comparison's verdicts to hold together with 95 % (Bonferroni).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from optdsl.comparison.tune import SEARCH_SEEDS, Progress, Tuned, tune
from optdsl.ir import Program
from optdsl.tasks.scores import FAILED, mean_score
from optdsl.tasks.settings import curve_steps
from optdsl.tasks.statistics import half_width, standard_error
from optdsl.tasks.task import Task

LEVEL = 0.95

BETTER, WORSE, UNDECIDED = "better", "worse", "not told apart"
"""What a difference says."""


@dataclass(frozen=True)
class Interval:
    """A mean and its confidence interval; the mean is FAILED and the rest NaN where runs failed."""

    mean: float
    half_width: float

    @property
    def bounds(self) -> tuple[float, float]:
        """The lower and the upper end."""
        return self.mean - self.half_width, self.mean + self.half_width


@dataclass(frozen=True)
class Difference:
    """How much better than the first program another is, seed by seed."""

    gain: Interval
    verdict: str


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


def interval(scores: Sequence[float], level: float = LEVEL) -> Interval:
    """The mean of some scores with its interval."""
    return Interval(mean_score(scores), half_width(scores, level))


def difference(of: Sequence[float], against: Sequence[float], level: float = LEVEL) -> Difference:
    """The paired difference of scores on the same seeds.

    Where runs failed there is no mean; the verdict is that of a sign test, to which a failure is
    the worst score.
    """
    if FAILED in of or FAILED in against:
        return Difference(Interval(math.nan, math.nan), _sign_test(of, against, level))
    gain = interval([a - b for a, b in zip(of, against, strict=True)], level)
    low, high = gain.bounds
    return Difference(gain, BETTER if low > 0 else WORSE if high < 0 else UNDECIDED)


def _sign_test(of: Sequence[float], against: Sequence[float], level: float) -> str:
    """Whether one wins more often than a fair coin would (Arbuthnot, 1710), ties left out."""
    wins = sum(a > b for a, b in zip(of, against, strict=True))
    losses = sum(a < b for a, b in zip(of, against, strict=True))
    count, fewer = wins + losses, min(wins, losses)
    chance = 2 * sum(math.comb(count, k) for k in range(fewer + 1)) / 2**count
    if chance > 1 - level:
        return UNDECIDED
    return BETTER if wins > losses else WORSE
