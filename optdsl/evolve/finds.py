"""The best programs of a run, read from its folder."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from optdsl.evolve.judge import Rank, rank_measured
from optdsl.evolve.run_data import Stage


@dataclass(frozen=True)
class Found:
    """A program, and the first proposal of a stage with it."""

    stage: str
    number: int
    mutation: str
    fitness: float
    seeds: int
    """How many it was trained on."""
    statements: int
    live_statements: int
    key: str
    text: str


def best_of_stages(db: sqlite3.Connection, stages: Sequence[Stage], count: int) -> list[Found]:
    """The best distinct programs as a search ranks them, of equal ones the earliest."""
    found: dict[str, Found] = {}
    for stage in stages:
        for number in _best_numbers(stage, count):
            one = _find(db, stage.name, number)
            found.setdefault(one.key, one)
    return sorted(found.values(), key=rank, reverse=True)[:count]


def rank(found: Found) -> Rank:
    """Those measured on more seeds first: of the others, the best are the luckiest."""
    return rank_measured(found.fitness, found.seeds)


def _best_numbers(stage: Stage, count: int) -> list[int]:
    commits = stage.commits[stage.commits["first"]]
    commits = commits[np.isfinite(commits["fitness"])]
    order = np.lexsort((commits["number"], -commits["fitness"], -commits["seeds"]))[:count]
    return [int(commits["number"][i]) for i in order]


def _find(db: sqlite3.Connection, stage: str, number: int) -> Found:
    query = (
        "SELECT mutation, fitness, json_array_length(scores), statements, live_statements, key,"
        " text FROM proposals JOIN programs USING (key) WHERE stage = ? AND number = ?"
    )
    return Found(stage, number, *db.execute(query, (stage, number)).fetchone())
