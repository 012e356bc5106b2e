"""Scores that can be believed: leaders are chosen, and then reported, on seeds of their own.

The best of thousands of noisy fitnesses is a lucky one. So the leaders of a search are evaluated
again on fresh seeds to choose among them, and the chosen one on other fresh seeds to report it.
"""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from optdsl.evolve.driver import Leader
from optdsl.ir import Program
from optdsl.tasks.evaluation import FAILED, Scores

CHOICE_SEEDS = tuple(range(1_000, 1_008))
"""Seeds to choose among leaders; no search uses them."""

REPORT_SEEDS = tuple(range(2_000, 2_016))
"""Seeds of every reported number; nothing is chosen by them."""


@dataclass(frozen=True)
class Report:
    """Mean scores over REPORT_SEEDS with their standard errors."""

    fitness: float
    fitness_error: float
    test_fitness: float
    test_error: float


def report(scores: Scores) -> Report:
    """Means and standard errors over the seeds."""
    return Report(
        scores.fitness,
        _standard_error(scores.validation),
        scores.test_fitness,
        _standard_error(scores.test),
    )


def choose(leaders: Sequence[Leader], judge: Callable[[Program], Scores]) -> Leader:
    """The leader that is best on CHOICE_SEEDS, which `judge` must use."""
    return max(leaders, key=lambda leader: judge(leader.candidate.program).fitness)


def _standard_error(values: Sequence[float]) -> float:
    if len(values) < 2 or any(value == FAILED for value in values):
        return math.nan
    return statistics.stdev(values) / math.sqrt(len(values))
