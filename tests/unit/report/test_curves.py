"""Curves: the best so far, rates over a window, means over searches."""

import math

import numpy as np
import pytest

from optdsl.evolve.run_data import COMMIT, Part, RunData, Stage
from optdsl.report.curves import (
    POINTS,
    best_by_evaluations,
    best_by_programs,
    curves,
    hit_rate,
    redundant_fraction,
)
from optdsl.report.summary import Summary


def commits(fitness: list[float], evaluated: list[bool]) -> np.ndarray:
    rows = np.zeros(len(fitness), COMMIT)
    rows["number"] = np.arange(-1, len(fitness) - 1)
    rows["fitness"], rows["evaluated"] = fitness, evaluated
    rows["statements"], rows["live"] = 4, np.arange(len(fitness)) % 4
    return rows


ONE = commits([-5, -6, -3, -4, -1], [False, True, False, True, True])
"""The initial program and four proposals, the second of which is known."""


def test_the_best_by_programs_keeps_its_last_value() -> None:
    assert best_by_programs(ONE, np.array([0, 1, 2, 3, 4, 9])).tolist() == [-5, -5, -3, -3, -1, -1]


def test_the_best_by_evaluations_counts_what_was_free_too() -> None:
    assert best_by_evaluations(ONE, np.array([0, 1, 2, 3, 9])).tolist() == [-5, -3, -3, -1, -1]


def test_rates_are_over_the_window_before_a_point_and_without_the_initial_program() -> None:
    assert hit_rate(ONE, np.array([1, 2, 3, 4]), 2).tolist() == [0, 0.5, 0.5, 0]
    # live of 4 statements each: 1, 2, 3, 0
    assert redundant_fraction(ONE, np.array([1, 2, 4]), 2).tolist() == [0.75, 0.625, 0.625]


def test_programs_without_statements_have_no_redundancy() -> None:
    rows = ONE.copy()
    rows["statements"] = rows["live"] = 0
    assert np.isnan(redundant_fraction(rows, np.array([1, 4]), 2)).all()


def run_of(*stages: Stage, best: str | None = "") -> RunData:
    return RunData(folder=None, config={}, best=best, seconds=0.0, stages=stages)


def restart(number: int, rows: np.ndarray) -> Stage:
    return Stage(f"evolution-{number}", "evolution", Part.RESTART, rows)


def test_mean_and_standard_error_over_the_restarts() -> None:
    two = ONE.copy()
    two["fitness"] -= 1
    found = curves(run_of(restart(1, ONE), restart(2, two))).fitness_by_programs
    assert [(curve.series, curve.searches) for curve in found] == [
        ("evolution: all searches together", 1),
        ("evolution: one search, mean of 2", 2),
    ]
    together, mean = found
    assert (together.x[-1], together.mean[-1], together.error) == (8, -1, None)
    assert (mean.x, mean.mean) == ([0, 1, 2, 3, 4], [-5.5, -5.5, -3.5, -3.5, -1.5])
    assert mean.error == pytest.approx([0.5] * 5)


def test_restarts_under_way_are_in_the_mean() -> None:
    """They take turns, so all are as far as one another."""
    run = run_of(restart(1, ONE), restart(2, ONE), restart(3, ONE), best=None)
    assert [curve.searches for curve in curves(run).fitness_by_evaluations] == [1, 3]


def test_all_searches_together_are_in_the_order_of_their_commits() -> None:
    better, last = ONE.copy(), ONE.copy()
    better["fitness"] = [-5, -4, -2, -2, -2]
    last["fitness"] = [-1, -1, -1, 0, -1]
    best = Stage("evolution-best", "evolution", Part.BEST, last)
    run = run_of(restart(1, ONE), restart(2, better), best)
    assert run.searched["number"].tolist() == [-1, 0, 0, 1, 1, 2, 2, 3, 3, 0, 1, 2, 3]
    assert curves(run).fitness_by_programs[0].mean == [
        -5, -5, -4, -3, -2, -2, -2, -1, -1, -1, -1, 0, 0,
    ]  # fmt: skip


def test_a_search_that_has_found_nothing_is_at_minus_infinity() -> None:
    none = commits([-math.inf, -math.inf], [False, True])
    (_, mean) = curves(run_of(restart(1, ONE), restart(2, none))).fitness_by_programs
    assert mean.mean == [-math.inf] * 5
    assert mean.error is not None
    assert all(map(math.isnan, mean.error))


def test_nothing_was_committed_or_only_the_initial_program() -> None:
    empty = curves(run_of(best=None))
    assert (empty.fitness_by_programs, empty.hit_rate) == ((), ())
    begun = curves(run_of(restart(1, ONE[:1]), best=None))
    assert [curve.mean for curve in begun.fitness_by_evaluations] == [[-5]]
    assert begun.redundant_fraction == ()


def test_long_curves_are_thinned_and_keep_their_ends() -> None:
    rows = commits(np.linspace(-9, -1, 5001).tolist(), [False] + [True] * 5000)
    (curve,) = curves(run_of(restart(1, rows))).fitness_by_evaluations
    assert len(curve.x) == POINTS
    assert (curve.x[0], curve.x[-1], curve.mean[0], curve.mean[-1]) == (0, 5000, -9, -1)


def test_the_curves_of_a_whole_run(whole: Summary) -> None:
    found = whole.curves
    assert [curve.series for curve in found.fitness_by_evaluations] == [
        "evolution: all searches together",
        "evolution: one search, mean of 3",
        "tune",
        "random",
    ]
    assert [curve.series for curve in found.redundant_fraction] == [
        "evolution: one search, mean of 3",
        "from the best found",
    ]
    assert whole.total is not None
    assert found.fitness_by_programs[0].mean[-1] == whole.total.best
    assert found.fitness_by_evaluations[0].x[-1] == whole.total.evaluations
