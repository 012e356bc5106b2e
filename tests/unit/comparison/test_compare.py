"""Comparisons at equal budgets."""

import math

import pytest

from optdsl.comparison.compare import Row, compare
from optdsl.comparison.text import row_text
from optdsl.diagnostics import Source
from optdsl.frontend import find_source, load
from optdsl.tasks import get_task
from optdsl.tasks.scores import FAILED
from optdsl.tasks.statistics import BETTER, UNDECIDED, WORSE, difference, interval

SLOW = "def train(g, lr):\n    return minimum(lr, 0.001) * g\n"
"""Gradient descent that can't be tuned to be fast."""


@pytest.fixture(scope="module")
def rows() -> tuple[Row, ...]:
    sgd = load(find_source("sgd"))
    slow = load(Source("slow.opt", SLOW))
    programs = {"sgd": sgd, "again": sgd, "slow": slow}
    return compare(programs, [get_task("quadratic")], seeds=1)


def test_a_program_is_not_told_apart_from_itself(rows: tuple[Row, ...]) -> None:
    first, again, _ = rows
    assert first.difference is None
    assert again.difference is not None
    assert again.difference.gain.mean == again.difference.gain.half_width == 0.0
    assert again.difference.verdict == UNDECIDED
    assert again.score == first.score


def test_a_worse_program_is_told(rows: tuple[Row, ...]) -> None:
    slow = rows[2]
    assert slow.difference is not None
    assert slow.difference.verdict == WORSE
    expected = slow.score.mean - rows[0].score.mean
    assert slow.difference.gain.mean == pytest.approx(expected)
    low, high = slow.difference.gain.bounds
    assert low < expected < high < 0


def test_all_have_the_same_budget_and_the_same_seeds(rows: tuple[Row, ...]) -> None:
    assert len({len(row.tuned.grid) for row in rows}) == 1
    assert len({len(row.tuned.best.scores) for row in rows}) == 1
    assert len({len(row.tuned.runs) for row in rows}) == 1


def test_learning_curves_end_with_the_validation_scores(rows: tuple[Row, ...]) -> None:
    for row in rows:
        curve = row.curve
        assert len(curve.steps) == len(curve.mean) == len(curve.error) == 20
        assert curve.steps[-1] == 50
        assert curve.mean[-1] == pytest.approx(interval(row.tuned.validation).mean)


def test_the_first_program_is_what_the_others_are_compared_with(rows: tuple[Row, ...]) -> None:
    texts = [row_text(row) for row in rows]
    assert [text.program for text in texts] == ["sgd", "again", "slow"]
    assert [text.verdict for text in texts] == ["", UNDECIDED, WORSE]
    assert texts[0].difference == ""
    assert texts[1].difference == "+0.0000 ± 0.0000"
    assert texts[0].setting == "lr 0.316"


def test_an_interval_is_wider_where_more_verdicts_must_hold() -> None:
    one = [0.0, 0.1, 0.3, 0.1, 0.2, 0.0]
    other = [-0.1, 0.1, 0.1, 0.0, 0.1, 0.0]
    narrow, wide = difference(one, other, 0.9), difference(one, other, 0.999)
    assert narrow.gain.mean == wide.gain.mean
    assert narrow.gain.half_width < wide.gain.half_width
    assert (narrow.verdict, wide.verdict) == (BETTER, UNDECIDED)


def test_paired_differences_see_what_means_do_not() -> None:
    against = [float(i) for i in range(16)]
    of = [value + 0.1 + 0.01 * (i % 2) for i, value in enumerate(against)]
    assert difference(of, against).verdict == BETTER
    assert difference(against, of).verdict == WORSE


@pytest.mark.parametrize(
    ("failures", "of_first", "verdict"),
    [(16, 0, WORSE), (0, 16, BETTER), (16, 16, UNDECIDED), (1, 0, WORSE), (0, 1, WORSE)],
)
def test_where_runs_diverge_the_sign_test_decides(
    failures: int, of_first: int, verdict: str
) -> None:
    """Without its failures, the program is a little worse on each seed."""
    of = [FAILED] * failures + [0.0] * (16 - failures)
    against = [FAILED] * of_first + [0.1] * (16 - of_first)
    found = difference(of, against)
    assert found.verdict == verdict
    assert math.isnan(found.gain.mean)
