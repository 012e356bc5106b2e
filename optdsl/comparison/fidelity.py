"""Whether a small task ranks optimizers as a larger one does.

Programs are trained on each task with learning rates on a logarithmic grid, the best one by the
validation part, and then on fresh seeds, whose mean on the test part ranks them. Two tasks agree as
far as these ranks correlate (Spearman, 1904). The interval is a percentile bootstrap's (Efron,
1979) over programs and seeds: few programs give a wide one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, TypeAlias

import numpy as np
from scipy.stats import rankdata

from optdsl.comparison.tune import CHOICE_SEEDS, REPORT_SEEDS, Progress
from optdsl.ir import Program
from optdsl.tasks.evaluation import BytecodeEvaluator, default_learning_rate
from optdsl.tasks.scores import mean_score
from optdsl.tasks.statistics import LEVEL
from optdsl.tasks.task import Task

PROGRAMS = (
    "sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw", "nadam", "adamax",
    "amsgrad", "adabelief", "lion", "signsgd", "signum",
)  # fmt: skip
"""Of the standard library: first- and second-moment methods and methods of signs."""

RATES = tuple(10 ** (half / 2) for half in range(-4, 4))
"""The grid's learning rates, as multiples of the task's: half a decade apart."""

SEEDS = 4
"""How many a learning rate is chosen by, and how many others rank the program."""

RESAMPLES = 1_000

Scores: TypeAlias = np.ndarray[Any, Any]
"""Of shape (programs, seeds)."""


@dataclass(frozen=True)
class Measured:
    """A program on a task, at the best learning rate."""

    program: str
    task: str
    learning_rate: float
    scores: tuple[float, ...]
    """On the test part, one for each fresh seed."""
    at_border: bool
    """Whether the learning rate is the grid's first or last."""

    @property
    def mean(self) -> float:
        """What ranks it; FAILED if a run failed."""
        return mean_score(self.scores)


@dataclass(frozen=True)
class Agreement:
    """How far two tasks rank the programs alike."""

    small: str
    large: str
    correlation: float
    """Spearman's; NaN where one task tells no programs apart."""
    interval: tuple[float, float]


def measure(
    programs: Mapping[str, Program],
    tasks: Sequence[Task],
    seeds: int = SEEDS,
    progress: Progress = lambda done, of: None,
) -> tuple[Measured, ...]:
    """Each program on each task, task by task.

    One register machine trains all programs at all learning rates.

    Args:
        programs: by name.
        tasks: what to train.
        seeds: how many a learning rate is chosen by, and how many others give the scores; at most
            8.
        progress: told how many trainings of a program on a task are done, and of how many.

    Raises:
        UnsupportedProgram: for a program that it can't run.
    """
    of, found = len(programs) * len(tasks), list[Measured]()
    for task in tasks:
        search, rank = (
            BytecodeEvaluator(task, numbers[:seeds]) for numbers in (CHOICE_SEEDS, REPORT_SEEDS)
        )
        for name, program in programs.items():
            middle = default_learning_rate(program, task)
            rates = [middle * factor for factor in RATES]
            fitness = [search.evaluate(program, rate).fitness for rate in rates]
            best = int(np.argmax(fitness))
            scores = rank.evaluate(program, rates[best]).test
            at_border = best in (0, len(rates) - 1)
            found.append(Measured(name, task.name, rates[best], scores, at_border))
            progress(len(found), of)
    return tuple(found)


def agreements(measured: Sequence[Measured]) -> tuple[Agreement, ...]:
    """For each two tasks, in the order in which they were measured."""
    tasks = list(dict.fromkeys(entry.task for entry in measured))
    scores = {
        task: np.asarray([entry.scores for entry in measured if entry.task == task])
        for task in tasks
    }
    return tuple(
        Agreement(small, large, *_correlation(scores[small], scores[large]))
        for small, large in combinations(tasks, 2)
    )


def _correlation(small: Scores, large: Scores) -> tuple[float, tuple[float, float]]:
    """Spearman's correlation and its interval."""
    random = np.random.RandomState(0)
    count, seeds = small.shape
    samples = np.empty(RESAMPLES)
    for i in range(RESAMPLES):
        programs = random.randint(count, size=count)
        drawn = (one[programs][:, random.randint(seeds, size=seeds)] for one in (small, large))
        samples[i] = _spearman(*drawn)
    told = samples[~np.isnan(samples)]
    if not len(told):
        return _spearman(small, large), (np.nan, np.nan)
    low, high = np.quantile(told, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return _spearman(small, large), (float(low), float(high))


def _spearman(small: Scores, large: Scores) -> float:
    """The correlation of the ranks of the means; a program that failed on a seed is last."""
    first, second = (rankdata(one.mean(axis=1)) for one in (small, large))
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan")
    return float(np.corrcoef(first, second)[0, 1])
