"""What can be said of a mean from a few seeds."""

import math
import statistics
from collections.abc import Sequence

from scipy.special import stdtrit

from optdsl.tasks.scores import FAILED


def standard_error(values: Sequence[float]) -> float:
    """Of the mean; NaN for a single value, or where a run failed."""
    if len(values) < 2 or FAILED in values:
        return math.nan
    return statistics.stdev(values) / math.sqrt(len(values))


def half_width(values: Sequence[float], level: float = 0.95) -> float:
    """Half the width of the mean's two-sided confidence interval, by Student's t (1908).

    NaN for a single value, or where a run failed.
    """
    error = standard_error(values)
    return error * float(stdtrit(len(values) - 1, (1 + level) / 2)) if error > 0 else error
