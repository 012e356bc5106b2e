"""All that the page shows and `--json` prints, found in one reading of the run folder."""

import sqlite3
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from optdsl.evolve.finds import Found, best_of_stages
from optdsl.evolve.funnel_file import FunnelRung, read_funnel
from optdsl.evolve.meta import Fall, falls
from optdsl.evolve.run_data import RunData, Stage, open_database, read_run
from optdsl.report.curves import Curves, curves
from optdsl.report.programs import (
    Fresh,
    Line,
    Lineage,
    fresh_reports,
    lineage,
    listing,
    winner,
)

BEST = 20
"""How many of the best programs are shown."""

KINDS = 10
"""How many kinds of failures are told apart."""

FAILURES = f"""
SELECT CASE failure WHEN '' THEN 'diverged' ELSE failure END AS kind, count(*) AS count
FROM programs WHERE fitness = -9e999 GROUP BY kind ORDER BY count DESC, kind LIMIT {KINDS}
"""


@dataclass(frozen=True)
class Counts:
    """How the searches, or one of them, went."""

    name: str
    strategy: str
    programs: int
    evaluations: int
    hit_rate: float
    """The share of programs that needed no evaluation."""
    invalid: int
    redundant_fraction: float
    """The share of dead statements in all programs."""
    best: float
    """By the search's own fitness."""


@dataclass(frozen=True)
class Winner:
    """The best program, with where it comes from."""

    found: Found
    lines: tuple[Line, ...]
    lineage: Lineage


@dataclass(frozen=True)
class Summary:
    """A run, told."""

    run: RunData
    total: Counts | None
    """Of all searches but the baselines; None before the first commit."""
    stages: tuple[Counts, ...]
    failures: tuple[tuple[str, int], ...]
    """Why programs have no fitness, and how many."""
    winner: Winner | None
    fresh: tuple[Fresh, ...]
    best: tuple[Found, ...]
    """Of all searches but the baselines."""
    curves: Curves
    falls: tuple[Fall, ...]
    """Where searches overfitted their task, by the meta task."""
    funnel: tuple[FunnelRung, ...]
    """What `optdsl funnel` found, if it was run."""

    def to_json(self) -> dict[str, Any]:
        """The object that `report --json` prints."""
        found = self.winner
        return {
            "folder": str(self.run.folder),
            "finished": self.run.finished,
            "seconds": self.run.seconds,
            "counts": None if self.total is None else asdict(self.total),
            "stages": [asdict(stage) for stage in self.stages],
            "failures": [{"kind": kind, "count": count} for kind, count in self.failures],
            "fresh_seeds": [{"program": one.program} | asdict(one.report) for one in self.fresh],
            "winner": None
            if found is None
            else asdict(found.found)
            | {
                "dead_lines": [i for i, line in enumerate(found.lines, start=1) if line.dead],
                "lineage": asdict(found.lineage),
            },
            "best": [asdict(one) for one in self.best],
            "curves": asdict(self.curves),
            "meta": [point.to_json() for point in self.run.meta],
            "meta_warnings": [fall.to_json() for fall in self.falls],
            "funnel": [asdict(rung) for rung in self.funnel],
            "config": self.run.config,
        }


def summarize(folder: Path) -> Summary:
    """Read a run folder; nothing in it is changed or evaluated.

    Raises:
        StoreError: if it is none, or damaged, or its funnel's file is.
    """
    with open_database(folder) as db:
        run = read_run(folder, db)
        searches = run.searches
        return Summary(
            run=run,
            total=_counts("all searches", searches) if searches else None,
            stages=tuple(_counts(stage.name, [stage]) for stage in run.stages),
            failures=tuple(db.execute(FAILURES).fetchall()),
            winner=_winner(db, run),
            fresh=fresh_reports(db, run),
            best=tuple(best_of_stages(db, searches, BEST)),
            curves=curves(run),
            falls=tuple(falls(run.meta)),
            funnel=read_funnel(folder),
        )


def _winner(db: sqlite3.Connection, run: RunData) -> Winner | None:
    found = winner(db, run)
    if found is None:
        return None
    return Winner(found, listing(found.text), lineage(db, run, found))


def _counts(name: str, stages: Sequence[Stage]) -> Counts:
    proposals = np.concatenate([stage.proposals for stage in stages])
    programs, evaluations = len(proposals), int(np.sum(proposals["evaluated"]))
    statements, live = int(np.sum(proposals["statements"])), int(np.sum(proposals["live"]))
    return Counts(
        name=name,
        strategy=stages[0].strategy,
        programs=programs,
        evaluations=evaluations,
        hit_rate=1 - evaluations / programs if programs else 0.0,
        invalid=int(np.sum(proposals["invalid"])),
        redundant_fraction=1 - live / statements if statements else 0.0,
        best=max(float(np.max(stage.commits["fitness"])) for stage in stages),
    )
