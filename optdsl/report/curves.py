"""The paper's Figures 2 and 3 as numbers: what the searches reached, and how they went about it.

A curve of several searches is their mean, with its standard error. A search that ended keeps the
best that it found: it never spent more.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from optdsl.evolve.run_data import RunData, Stage
from optdsl.evolve.store import Part

POINTS = 400
"""A curve has at most so many."""

Commits = NDArray[np.void]
Floats = NDArray[np.float64]
Places = NDArray[np.int64]

Sample = Callable[[Commits, Places], Floats]
"""A search's commits, the initial program's first, and places on the x axis -> values there."""


@dataclass(frozen=True)
class Curve:
    """One line of a figure."""

    series: str
    searches: int
    """How many it is the mean of."""
    x: list[int]
    mean: list[float]
    error: list[float] | None
    """Standard errors, NaN where there is none; None for a single search's own fitness."""


@dataclass(frozen=True)
class Curves:
    """All figures."""

    fitness_by_evaluations: tuple[Curve, ...]
    fitness_by_programs: tuple[Curve, ...]
    hit_rate: tuple[Curve, ...]
    redundant_fraction: tuple[Curve, ...]
    window: int
    """The last two are over so many programs before each point."""
    leader_fitness: tuple[Curve, ...]
    """Of each search's leader where it was looked at, by programs; () without a meta task."""
    meta_fitness: tuple[Curve, ...]
    """The same leaders' on the meta task."""


def curves(run: RunData) -> Curves:
    """All figures of a run; empty where nothing was committed."""
    window = max((len(stage.proposals) for stage in run.searches), default=0) // 50
    window = max(window, 50)
    by_evaluations = _fitness(run, _evaluations, best_by_evaluations)
    by_programs = _fitness(run, lambda commits: len(commits) - 1, best_by_programs)
    hits = _rates(run, window, lambda commits, x: hit_rate(commits, x, window))
    redundant = _rates(run, window, lambda commits, x: redundant_fraction(commits, x, window))
    return Curves(by_evaluations, by_programs, hits, redundant, window, *_leaders(run))


def best_by_programs(commits: Commits, x: Places) -> Floats:
    """The fitness after x programs of the best that was trained on all seeds."""
    measured = commits["seeds"] == commits["seeds"].max()
    best = np.maximum.accumulate(np.where(measured, commits["fitness"], -np.inf))
    return best[np.minimum(x, len(best) - 1)]


def best_by_evaluations(commits: Commits, x: Places) -> Floats:
    """That fitness before more than x evaluations were made."""
    spent = np.cumsum(commits["evaluated"])
    return best_by_programs(commits, np.searchsorted(spent, x, side="right") - 1)


def hit_rate(commits: Commits, x: Places, window: int) -> Floats:
    """The share of the programs up to x, from 1 on, that needed no evaluation."""
    return 1 - _windowed(commits["evaluated"], x, window) / np.minimum(x, window)


def redundant_fraction(commits: Commits, x: Places, window: int) -> Floats:
    """The share of dead statements in the programs up to x, from 1 on."""
    total = _windowed(commits["statements"], x, window)
    live = _windowed(commits["live"], x, window)
    return 1 - live / np.where(total, total, np.nan)


def _windowed(values: NDArray[np.generic], x: Places, window: int) -> Floats:
    """Sums over the last values up to each place, without the initial program's."""
    sums = np.concatenate(([0], np.cumsum(values[1:], dtype=np.float64)))
    return sums[x] - sums[np.maximum(x - window, 0)]


def _evaluations(commits: Commits) -> int:
    return int(np.sum(commits["evaluated"]))


def _fitness(run: RunData, length: Callable[[Commits], int], sample: Sample) -> tuple[Curve, ...]:
    restarts, searches = run.restarts, run.searches
    if not searches:
        return ()
    strategy = searches[0].strategy
    lines: list[tuple[str, list[Commits]]] = []
    if len(searches) > 1:
        lines.append((f"{strategy}: all searches together", [run.searched]))
    lines.append((_restarts_name(strategy, restarts), [stage.commits for stage in restarts]))
    lines += [(stage.name, [stage.commits]) for stage in run.baselines]
    return tuple(
        _mean(name, parts, _grid(0, max(map(length, parts))), sample) for name, parts in lines
    )


def _rates(run: RunData, window: int, sample: Sample) -> tuple[Curve, ...]:
    if not run.searches:
        return ()
    lines = [(_restarts_name(run.searches[0].strategy, run.restarts), run.restarts)]
    lines += [("from the best found", (s,)) for s in run.searches if s.part is Part.BEST]
    found: list[Curve] = []
    for name, stages in lines:
        # Rates, unlike the best fitness, have no value after a search's end.
        shortest = min(len(stage.proposals) for stage in stages)
        if shortest:
            commits = [stage.commits for stage in stages]
            found.append(_mean(name, commits, _grid(min(window, shortest), shortest), sample))
    return tuple(found)


def _leaders(run: RunData) -> tuple[tuple[Curve, ...], tuple[Curve, ...]]:
    """What each search's leaders are worth there and on the meta task: Figure 3, left."""
    made = {stage.name: len(stage.proposals) for stage in run.stages}
    fitness: list[Curve] = []
    meta: list[Curve] = []
    for stage, group in groupby(run.meta, key=lambda point: point.stage):
        points = list(group)
        x = [point.programs for point in points]
        if x[-1] < made.get(stage, 0):  # the last leader stays one
            x.append(made[stage])
            points.append(points[-1])
        errors = [point.meta_error for point in points]
        fitness.append(Curve(stage, 1, x, [point.fitness for point in points], None))
        meta.append(Curve(stage, 1, x, [point.meta_fitness for point in points], errors))
    return tuple(fitness), tuple(meta)


def _restarts_name(strategy: str, restarts: Sequence[Stage]) -> str:
    count = len(restarts)
    return strategy if count == 1 else f"{strategy}: one search, mean of {count}"


def _grid(first: int, last: int) -> Places:
    count = min(last - first + 1, POINTS)
    return np.unique(np.linspace(first, last, count).round().astype(np.int64))


def _mean(series: str, parts: Sequence[Commits], x: Places, sample: Sample) -> Curve:
    values = np.stack([sample(commits, x) for commits in parts])
    with np.errstate(invalid="ignore"):  # a search that has found nothing yet is at -inf
        mean = values.mean(axis=0)
        error = None
        if len(parts) > 1:
            error = (values.std(axis=0, ddof=1) / np.sqrt(len(parts))).tolist()
    return Curve(series, len(parts), x.tolist(), mean.tolist(), error)
