"""How far two tasks rank programs alike."""

import math

import pytest

from optdsl.comparison.fidelity import SEEDS, Measured, agreements, measure
from optdsl.comparison.tune import REPORT_SEEDS
from optdsl.frontend import find_source, load
from optdsl.tasks import get_task
from optdsl.tasks.evaluation import BytecodeEvaluator


def measured(task: str, means: list[float]) -> list[Measured]:
    return [
        Measured(f"p{i}", task, 0.1, (mean - 0.01, mean + 0.01), at_border=False)
        for i, mean in enumerate(means)
    ]


def test_equal_and_opposite_ranks() -> None:
    ranks = [float(i) for i in range(8)]
    same, opposite = agreements(
        measured("a", ranks) + measured("b", [r**3 for r in ranks]) + measured("c", ranks[::-1])
    )[:2]
    assert (same.small, same.large, same.correlation) == ("a", "b", pytest.approx(1))
    assert same.interval == (pytest.approx(1), pytest.approx(1))
    assert (opposite.large, opposite.correlation) == ("c", pytest.approx(-1))


def test_spearmans_correlation_of_a_known_case() -> None:
    """1 - 6 Σd² / (n (n² - 1)), d = (1, 1, 0, 1, 1)."""
    small = measured("a", [1.0, 2.0, 3.0, 4.0, 5.0])
    (found,) = agreements(small + measured("b", [2.0, 1.0, 3.0, 5.0, 4.0]))
    assert found.correlation == pytest.approx(1 - 6 * 4 / (5 * 24))
    low, high = found.interval
    assert -1 <= low < found.correlation < high <= 1


def test_a_program_that_failed_is_last_and_equal_scores_tell_nothing() -> None:
    small = measured("a", [1.0, 2.0, 3.0])
    (found,) = agreements(small + measured("b", [-math.inf, 2.0, 3.0]))
    assert found.correlation == pytest.approx(1)
    (found,) = agreements(small + measured("b", [1.0, 1.0, 1.0]))
    assert math.isnan(found.correlation)


def test_programs_are_measured_at_their_best_learning_rate() -> None:
    programs = {name: load(find_source(name)) for name in ("sgd", "signsgd")}
    task = get_task("quadratic")
    found = measure(programs, [task])
    assert [entry.program for entry in found] == list(programs)
    fresh = BytecodeEvaluator(task, REPORT_SEEDS[:SEEDS])
    for entry in found:
        again = fresh.evaluate(programs[entry.program], entry.learning_rate)
        assert entry.scores == again.test
        assert entry.mean > fresh.evaluate(programs[entry.program], 0.001).test_fitness
