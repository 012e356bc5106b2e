"""What training a task with a program gives."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

FAILED = -math.inf
"""The score of a run that diverged."""


@dataclass(frozen=True)
class Scores:
    """What a program reached, one number for each seed; FAILED where training diverged."""

    validation: tuple[float, ...]
    test: tuple[float, ...]

    @property
    def fitness(self) -> float:
        """The mean over the seeds on the validation part; never NaN."""
        return mean_score(self.validation)

    @property
    def test_fitness(self) -> float:
        """The same on the held-out test part."""
        return mean_score(self.test)


def mean_score(scores: Sequence[float]) -> float:
    """The mean; FAILED if any run failed."""
    return FAILED if any(s == FAILED for s in scores) else math.fsum(scores) / len(scores)


def as_score(value: Any) -> float:
    """One run's score; FAILED where it is not finite."""
    number = float(value)
    return number if math.isfinite(number) else FAILED
