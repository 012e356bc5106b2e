"""Results as people are shown them, on a terminal and on a page."""

from collections.abc import Sequence
from dataclasses import dataclass

from optdsl.comparison.compare import Row
from optdsl.tasks.scores import FAILED, mean_score
from optdsl.tasks.statistics import Interval, standard_error


@dataclass(frozen=True)
class RowText:
    """A row of a comparison, cell by cell."""

    program: str
    setting: str
    score: str
    difference: str
    verdict: str


def row_text(row: Row) -> RowText:
    """What a row says: means with half the width of their intervals."""
    difference = row.difference
    return RowText(
        program=row.name,
        setting=str(row.tuned.best.setting),
        score=failures_text(row.tuned.test) or interval_text(row.score, ".4f"),
        difference="" if difference is None else interval_text(difference.gain, "+.4f"),
        verdict="" if difference is None else difference.verdict,
    )


def mean_text(scores: Sequence[float]) -> str:
    """A mean with its standard error, or on how many seeds training diverged."""
    mean = f"{mean_score(scores):.4f} ± {standard_error(scores):.4f}"
    return failures_text(scores) or mean


def failures_text(scores: Sequence[float]) -> str:
    """On how many seeds training diverged; empty if on none."""
    failed = scores.count(FAILED)
    return f"diverged on {failed} of {len(scores)} seeds" if failed else ""


def interval_text(interval: Interval, form: str) -> str:
    """A mean with half the width of its interval; a dash where runs failed."""
    known = interval.half_width >= 0.0
    return f"{interval.mean:{form}} ± {interval.half_width:.4f}" if known else "–"
