"""Where a program comes from: its ancestors, back to the run's initial program."""

import math
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from optdsl.evolve.judge import Rank, rank_measured
from optdsl.evolve.store import ProposalId, StoreError
from optdsl.tasks.scores import FAILED


@dataclass(frozen=True, slots=True)
class Ancestor:
    """One step of a program's lineage."""

    stage: str
    number: int
    mutation: str
    fitness: float
    seeds: int
    """How many the fitness is an estimate from."""
    statements: int
    live_statements: int


def lineage(db: sqlite3.Connection, found: ProposalId) -> list[Ancestor]:
    """From a program back to the run's initial one, the program first.

    Raises:
        StoreError: if a parent is missing, or was made after its child.
    """
    parent_of = (
        "SELECT parent, mutation, fitness, json_array_length(scores), statements, live_statements"
        " FROM proposals JOIN programs USING (key) WHERE stage = ? AND number = ?"
    )
    origin_of = "SELECT position, origin, origin_number FROM stages WHERE stage = ?"
    ancestors: list[Ancestor] = []
    stage, number, before = found.stage, found.number, math.inf
    while True:
        row = db.execute(parent_of, (stage, number)).fetchone()
        if row is None or (row[0] is not None and row[0] >= number):
            raise StoreError(f"the database is damaged: proposal {number} of {stage} has no parent")
        parent, *rest = row
        if parent is not None:
            ancestors.append(Ancestor(stage, number, *rest))
            number = parent
            continue
        position, origin, origin_number = db.execute(origin_of, (stage,)).fetchone()
        if origin is None:
            return [*ancestors, Ancestor(stage, number, *rest)]
        if position >= before:
            raise StoreError(f"the database is damaged: {stage} begins with a later find")
        stage, number, before = origin, origin_number, position


def gains(ancestors: Sequence[Ancestor]) -> list[Ancestor]:
    """The first, and each that got further than all before it, or as far with a better fitness.

    Args:
        ancestors: from the initial program on.
    """
    found: list[Ancestor] = []
    best: Rank = (0, FAILED)
    for ancestor in ancestors:
        rank = rank_measured(ancestor.fitness, ancestor.seeds)
        if not found or rank > best:
            found.append(ancestor)
            best = rank
    return found
