"""The funnel: a run's best programs climb to larger tasks (section 2.3 of the paper).

What wins a search has often overfitted its task. So the best distinct programs of a run are trained
on one task after the other, and only those that beat the tuned baseline on one, on validation data,
go on to the next. All are tuned on each task with equal budgets, see `comparison/tune.py`.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from optdsl.comparison.compare import Row, compare
from optdsl.comparison.tune import Progress
from optdsl.diagnostics import Source
from optdsl.evolve.best import TUNE
from optdsl.evolve.config import CONFIG_FILE, read_config
from optdsl.evolve.finds import best_of_stages
from optdsl.evolve.proposals import Space
from optdsl.evolve.run_data import RunData, open_database, read_run
from optdsl.evolve.store import StoreError
from optdsl.frontend import load
from optdsl.ir import Program, print_program
from optdsl.passes.canonical import canonical_hash
from optdsl.passes.fold import bind, default_values
from optdsl.tasks.statistics import Difference, difference
from optdsl.tasks.task import Task

BASELINE = "baseline"
"""The initial program, its constants tuned by the run if that had such a baseline."""

WINNER = "winner"
"""The program of `best.opt`."""


@dataclass(frozen=True)
class Entrants:
    """The programs that enter a funnel."""

    baseline: Program
    finds: Mapping[str, Program]
    """By where they were found; no two have one canonical hash."""
    is_tuned: bool = True
    """Whether the baseline's constants are: a search that has not ended may not have tuned them."""


@dataclass(frozen=True)
class Climb:
    """A program on a rung."""

    row: Row
    validation: Difference
    """To the baseline, on validation data."""

    @property
    def goes_on(self) -> bool:
        """Whether the program beat the baseline."""
        return self.validation.gain.mean > 0


@dataclass(frozen=True)
class Rung:
    """One task of a funnel."""

    task: Task
    baseline: Row
    climbs: tuple[Climb, ...]
    """In the order of their gains, the best first."""


def entrants(folder: Path, count: int) -> Entrants:
    """The best distinct programs of a run, and what they must beat.

    Args:
        folder: a run folder; its search may not have ended.
        count: at most so many finds.

    Raises:
        StoreError: if it is no run folder, or nothing was found yet.
    """
    config = read_config(folder)
    space = Space((), protected=config.protected)
    with open_database(folder) as db:
        run = read_run(folder, db)
        texts = list(_texts(db, run, count))
        tuned = [stage for stage in run.baselines if stage.name == TUNE]
        best_tuned = best_of_stages(db, tuned, 1)
    initial = load(Source(CONFIG_FILE, config.program))
    baseline = bind(initial, default_values(initial))
    if best_tuned:
        baseline = load(Source(TUNE, best_tuned[0].text))
    finds: dict[str, Program] = {}
    hashes = {canonical_hash(space.executed(baseline))}
    for name, text in texts:
        program = space.executed(load(Source(name, text)))
        if (key := canonical_hash(program)) not in hashes and len(finds) < count:
            hashes.add(key)
            finds[name] = program
    if not finds:
        raise StoreError(f"{folder} has no finds yet: let its search go on first")
    return Entrants(space.executed(baseline), finds, bool(best_tuned))


def climb(
    entrants: Entrants,
    tasks: Sequence[Task],
    seeds: int,
    progress: Progress = lambda done, of: None,
) -> Iterator[Rung]:
    """The rungs, one by one; it ends where no program goes on.

    Args:
        entrants: from `entrants`.
        tasks: from the smallest to the largest.
        seeds: how many each setting is tried on while tuning.
        progress: told how many settings were tried on a rung, and of how many.
    """
    finds = dict(entrants.finds)
    for task in tasks:
        rows = compare({BASELINE: entrants.baseline, **finds}, [task], seeds, progress)
        first, others = rows[0], rows[1:]
        climbs = [
            Climb(row, difference(row.tuned.validation, first.tuned.validation)) for row in others
        ]
        climbs.sort(key=_gain, reverse=True)
        yield Rung(task, first, tuple(climbs))
        finds = {one.row.name: finds[one.row.name] for one in climbs if one.goes_on}
        if not finds:
            return


def to_json(rung: Rung) -> dict[str, object]:
    """An entry of `rungs` of `funnel --json`."""
    return {
        "task": rung.task.name,
        "baseline": _row_json(rung.baseline),
        "programs": [
            _row_json(one.row)
            | {
                "validation_gain": one.validation.gain.mean,
                "validation_gain_half_width": one.validation.gain.half_width,
                "goes_on": one.goes_on,
            }
            for one in rung.climbs
        ],
        "go_on": [one.row.name for one in rung.climbs if one.goes_on],
    }


def _row_json(row: Row) -> dict[str, object]:
    found: dict[str, object] = {
        "name": row.name,
        "setting": row.tuned.best.setting.to_json(),
        "test": row.score.mean,
        "test_half_width": row.score.half_width,
        "text": print_program(row.tuned.program),
    }
    if row.difference is not None:
        found["test_gain"] = row.difference.gain.mean
        found["test_gain_half_width"] = row.difference.gain.half_width
        found["verdict"] = row.difference.verdict
    return found


def _gain(one: Climb) -> float:
    """For sorting: the programs that diverged, whose gain is NaN, are last."""
    gain = one.validation.gain.mean
    return gain if gain == gain else float("-inf")


def _texts(db: sqlite3.Connection, run: RunData, count: int) -> Iterator[tuple[str, str]]:
    """Where programs were found, and their texts: the winner first, then by the search's rank."""
    if run.best is not None:
        yield WINNER, run.best
    # Many of the best are the same program but for what canonical hashes don't see.
    for found in best_of_stages(db, run.searches, 10 * count):
        yield f"{found.stage} {found.number}", found.text
