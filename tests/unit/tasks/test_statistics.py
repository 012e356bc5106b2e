"""Means from a few seeds."""

import math

import pytest

from optdsl.tasks.scores import FAILED
from optdsl.tasks.statistics import half_width, standard_error


def test_standard_error() -> None:
    assert standard_error([1.0, 2.0, 3.0, 4.0]) == pytest.approx(math.sqrt(5 / 3) / 2)
    assert standard_error([2.0, 2.0]) == 0.0


def test_half_width_is_students_t() -> None:
    values = [0.0, 2.0] * 8
    # tables of t: 2.131 for 15 degrees of freedom and 95 %, 2.947 for 99 %
    assert half_width(values) == pytest.approx(2.131 * standard_error(values), rel=1e-3)
    assert half_width(values, 0.99) == pytest.approx(2.947 * standard_error(values), rel=1e-3)
    assert half_width([3.0, 3.0]) == 0.0


@pytest.mark.parametrize("values", [[1.0], [1.0, FAILED], [FAILED, FAILED]])
def test_no_error_is_known_of_one_value_or_of_a_failure(values: list[float]) -> None:
    assert math.isnan(standard_error(values))
    assert math.isnan(half_width(values))
