"""What can be said of a mean from a few seeds."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.special import stdtrit

from optdsl.tasks.scores import FAILED, mean_score

LEVEL = 0.95
"""Of an interval, unless another is asked for."""

BETTER, WORSE, UNDECIDED = "better", "worse", "not told apart"
"""What a difference says."""


@dataclass(frozen=True)
class Interval:
    """A mean and its confidence interval; the mean is FAILED and the rest NaN where runs failed."""

    mean: float
    half_width: float

    @property
    def bounds(self) -> tuple[float, float]:
        """The lower and the upper end."""
        return self.mean - self.half_width, self.mean + self.half_width


@dataclass(frozen=True)
class Difference:
    """How much better than another program one is, seed by seed."""

    gain: Interval
    verdict: str


def standard_error(values: Sequence[float]) -> float:
    """Of the mean; NaN for a single value, or where a run failed."""
    if len(values) < 2 or FAILED in values:
        return math.nan
    return statistics.stdev(values) / math.sqrt(len(values))


def half_width(values: Sequence[float], level: float = LEVEL) -> float:
    """Half the width of the mean's two-sided confidence interval, by Student's t (1908).

    NaN for a single value, or where a run failed.
    """
    error = standard_error(values)
    return error * float(stdtrit(len(values) - 1, (1 + level) / 2)) if error > 0 else error


def interval(scores: Sequence[float], level: float = LEVEL) -> Interval:
    """The mean of some scores with its interval."""
    return Interval(mean_score(scores), half_width(scores, level))


def difference(of: Sequence[float], against: Sequence[float], level: float = LEVEL) -> Difference:
    """The paired difference of scores on the same seeds.

    Where runs failed there is no mean; the verdict is that of a sign test, to which a failure is
    the worst score.
    """
    if FAILED in of or FAILED in against:
        return Difference(Interval(math.nan, math.nan), _sign_test(of, against, level))
    gain = interval([a - b for a, b in zip(of, against, strict=True)], level)
    low, high = gain.bounds
    return Difference(gain, BETTER if low > 0 else WORSE if high < 0 else UNDECIDED)


def _sign_test(of: Sequence[float], against: Sequence[float], level: float) -> str:
    """Whether one wins more often than a fair coin would (Arbuthnot, 1710), ties left out."""
    wins = sum(a > b for a, b in zip(of, against, strict=True))
    losses = sum(a < b for a, b in zip(of, against, strict=True))
    count, fewer = wins + losses, min(wins, losses)
    chance = 2 * sum(math.comb(count, k) for k in range(fewer + 1)) / 2**count
    if chance > 1 - level:
        return UNDECIDED
    return BETTER if wins > losses else WORSE
