"""Scores that can be believed: other seeds to choose, and others again to report."""

import math
from statistics import fmean, stdev

import pytest

from optdsl.evolve.config import MAX_SEEDS, RECIPES
from optdsl.evolve.rescore import CHOICE_SEEDS, REPORT_SEEDS, best_of, report
from optdsl.tasks.scores import FAILED


def test_no_seed_serves_two_purposes() -> None:
    seeds = (*range(MAX_SEEDS), *CHOICE_SEEDS, *REPORT_SEEDS)
    assert len(set(seeds)) == len(seeds)
    assert RECIPES["default"].seeds[-1] > 1, "a single seed picks noise"


def test_means_and_standard_errors() -> None:
    validation, test = (-1.0, -2.0, -4.0), (-3.0, -3.0, -3.0)
    found = report(list(zip(validation, test, strict=True)))
    assert found.fitness == pytest.approx(fmean(validation))
    assert found.fitness_error == pytest.approx(stdev(validation) / math.sqrt(3))
    assert (found.test_fitness, found.test_error) == (-3.0, 0.0)


def test_one_failed_seed_fails_the_program() -> None:
    found = report([(-1.0, -1.0), (FAILED, -2.0)])
    assert found.fitness == FAILED
    assert math.isnan(found.fitness_error)
    assert found.test_fitness == -1.5
    assert math.isnan(report([(-1.0, -1.0)]).fitness_error)


def test_the_best_on_validation_the_first_among_equals() -> None:
    scores = [[(one, 0.0)] for one in (-3.0, FAILED, -1.0, -1.0)]
    assert best_of(scores) == 2
    assert best_of(scores[:2]) == 0
    assert best_of(scores[1:2]) == 0
    assert best_of([[(-1.0, -9.0), (-1.0, -9.0)], [(0.0, 0.0), (-3.0, 0.0)]]) == 0
