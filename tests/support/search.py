"""Runs of the search: a configuration, an engine that costs nothing, and what a run left behind."""

import hashlib
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from optdsl.evolve.config import RunConfig
from optdsl.evolve.judge import Job, Outcome, Score, estimate
from optdsl.ir import Program
from optdsl.passes.hashing import structural_hash
from optdsl.tasks.scores import FAILED

PROGRAM = """
def train(w, g, m, dead, lr, β=0.9):
    m = interp(g, m, β)
    dead = dead + 1
    update = sqrt(abs(m)) * lr
    update = update + 0.1 * w
    return update, m, dead
"""

CONFIG = RunConfig(
    version="1.2.3",
    task="a task",
    task_digest="0" * 32,
    learning_rate=0.25,
    evaluator="bytecode",
    strategy="evolution",
    baselines=("tune",),
    baseline_compute=1,
    programs=120,
    tune_first=0,
    restarts=1,
    population=20,
    tournament=2,
    mutations=("insert", "delete", "modify"),
    seed=4,
    seeds=(1, 3),
    hurdles=(0.5,),
    lag=16,
    cache_level="structural",
    functions="paper",
    protected=False,
    keep_lr=False,
    meta_task="",
    meta_task_digest="",
    meta_learning_rate=0.25,
    meta_every=0,
    meta_stop=False,
    program=PROGRAM,
)

TABLES = ("meta", "stages", "programs", "proposals", "rescored", "meta_scores")
"""What a run is a function of its configuration in; not `timeline`."""


def tables(folder: Path) -> dict[str, list[tuple[Any, ...]]]:
    """All rows and columns of a run's database."""
    with closing(sqlite3.connect(folder / "run.sqlite")) as db:
        return {name: db.execute(f"SELECT * FROM {name}").fetchall() for name in TABLES}


def score(program: Program, seed: int) -> Score:
    """Another score for every program and seed; some programs fail on some seeds."""
    digest = hashlib.sha256(f"{seed} {structural_hash(program)}".encode()).digest()
    validation = -int.from_bytes(digest[:4], "little") / 2**32
    return (FAILED, FAILED) if digest[4] < 4 else (validation, validation - 1)


class FakeEngine:
    """Judges as `judge` does, by a score that costs nothing, and remembers."""

    def __init__(self, score: Callable[[Program, int], Score] = score) -> None:
        self.score = score
        self.jobs: list[Job] = []
        self.waiting: dict[str, Job] = {}
        self.closed = False

    def submit(self, job: Job) -> None:
        assert not self.closed
        assert job.key not in self.waiting
        self.jobs.append(job)
        self.waiting[job.key] = job

    def result(self, key: str) -> Outcome:
        job = self.waiting.pop(key)
        scores: list[Score] = []
        for floor, seeds in zip((None, *job.floors), job.rungs, strict=False):
            if floor is not None and estimate([v for v, _ in scores], job.baseline) < floor:
                break
            for seed in seeds:
                scores.append(self.score(job.program, seed))
                if scores[-1][0] == FAILED:
                    return Outcome(tuple(scores))
        return Outcome(tuple(scores))

    def close(self) -> None:
        self.closed = True
