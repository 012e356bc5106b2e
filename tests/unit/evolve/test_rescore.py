"""Scores that can be believed: other seeds to choose, and others again to report."""

import math
from statistics import fmean, stdev

import pytest

from optdsl.evolve.driver import Leader
from optdsl.evolve.proposals import check
from optdsl.evolve.rescore import CHOICE_SEEDS, REPORT_SEEDS, choose, report
from optdsl.evolve.run import SEARCH_SEEDS
from optdsl.tasks.evaluation import FAILED, Scores


def test_no_seed_serves_two_purposes() -> None:
    seeds = (*SEARCH_SEEDS, *CHOICE_SEEDS, *REPORT_SEEDS)
    assert len(set(seeds)) == len(seeds)
    assert len(SEARCH_SEEDS) > 1, "a single seed picks noise"


def test_means_and_standard_errors() -> None:
    validation, test = (-1.0, -2.0, -4.0), (-3.0, -3.0, -3.0)
    found = report(Scores(validation, test))
    assert found.fitness == pytest.approx(fmean(validation))
    assert found.fitness_error == pytest.approx(stdev(validation) / math.sqrt(3))
    assert (found.test_fitness, found.test_error) == (-3.0, 0.0)


def test_one_failed_seed_fails_the_program() -> None:
    found = report(Scores((-1.0, FAILED), (-1.0, -2.0)))
    assert found.fitness == FAILED
    assert math.isnan(found.fitness_error)
    assert found.test_fitness == -1.5
    assert math.isnan(report(Scores((-1.0,), (-1.0,))).fitness_error)


def test_the_choice_is_not_by_the_fitness_that_the_search_saw(genome_of) -> None:
    leaders = []
    for number, factor in enumerate((1.0, 2.0, 3.0, 4.0)):
        candidate = check(genome_of(f"def train(g):\n    return g * {factor}\n"))
        assert candidate is not None
        leaders.append(Leader(-float(number), number, candidate))
    judged = {1.0: -3.0, 2.0: FAILED, 3.0: -1.0, 4.0: -1.0}

    def judge(program) -> Scores:
        return Scores((judged[program.constants[0]],), (0.0,))

    assert choose(leaders, judge).number == 2
    assert choose(leaders[:2], judge).number == 0
    assert choose(leaders[1:2], judge).number == 1
