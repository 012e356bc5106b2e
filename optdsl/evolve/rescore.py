"""Scores that can be believed: leaders are chosen, and then reported, on seeds of their own.

The best of thousands of noisy fitnesses is a lucky one. So the leaders of a search are evaluated
again on fresh seeds to choose among them, and the chosen one on other fresh seeds to report it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from optdsl.evolve.judge import Score, estimate
from optdsl.tasks.statistics import Difference, difference, standard_error

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


def report(scores: Sequence[Score]) -> Report:
    """Means and standard errors over the seeds."""
    validation, test = zip(*scores, strict=True)
    return Report(
        estimate(validation, ()),
        standard_error(validation),
        estimate(test, ()),
        standard_error(test),
    )


def gain(scores: Sequence[Score], over: Sequence[Score]) -> Difference:
    """By how much a program's test scores are above another's, seed by seed: what makes a seed
    easy is easy for both."""
    return difference([test for _, test in scores], [test for _, test in over])


def best_of(scores: Sequence[Sequence[Score]]) -> int:
    """The position of the program that is best on validation, the first among equals."""
    means = [estimate([validation for validation, _ in one], ()) for one in scores]
    return max(range(len(means)), key=lambda i: means[i])
