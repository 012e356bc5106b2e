"""Fitness that a run leaves to later ones: a file that any number of runs may share.

An entry holds for one context: task, budget, learning rate, seeds, evaluator, and what the key of a
program means. Only what another run would find again is kept: programs trained on all seeds, and
those that diverged.
"""

import sqlite3
from contextlib import closing
from pathlib import Path

from optdsl.evolve.config import RunConfig
from optdsl.evolve.judge import Outcome
from optdsl.evolve.store import StoreError, scores_from_json, scores_to_json
from optdsl.passes import hashing
from optdsl.tasks.scores import FAILED

APPLICATION = 0x6F707463
"""SQLite's `application_id` of our files: "optc"."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS outcomes (
    context TEXT NOT NULL,
    key TEXT NOT NULL,          -- the program's hash
    scores TEXT NOT NULL,       -- JSON: [validation, test] for each seed; null: diverged
    PRIMARY KEY (context, key)
) STRICT, WITHOUT ROWID;
"""


class FitnessCache:
    """The entries of one context."""

    def __init__(self, path: Path, config: RunConfig) -> None:
        """Open the file, or make it.

        Raises:
            StoreError: if it is damaged, of another application, or can't be written.
        """
        self._context, self._seeds = context(config), config.seeds[-1]
        try:
            self._db = sqlite3.connect(path, isolation_level=None, timeout=60)
            (tables,) = self._db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            (application,) = self._db.execute("PRAGMA application_id").fetchone()
            if tables and application != APPLICATION:
                raise StoreError(f"{path} is not a fitness cache of optdsl")
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.execute(f"PRAGMA application_id={APPLICATION}")
            self._db.executescript(SCHEMA)
        except sqlite3.Error as error:
            raise StoreError(f"{path} can't be used as a fitness cache: {error}") from error

    def lookup(self, key: str) -> Outcome | None:
        """What an earlier run found."""
        query = "SELECT scores FROM outcomes WHERE context = ? AND key = ?"
        with closing(self._db.execute(query, (self._context, key))) as rows:
            row = rows.fetchone()
        return None if row is None else Outcome(scores_from_json(row[0]))

    def add(self, key: str, outcome: Outcome) -> None:
        """Leave an outcome to later runs, if it is one that they would find too."""
        diverged = FAILED in outcome.validation
        if not outcome.failure and (diverged or len(outcome.scores) == self._seeds):
            row = (self._context, key, scores_to_json(outcome.scores))
            self._db.execute("INSERT OR IGNORE INTO outcomes VALUES (?, ?, ?)", row)

    def close(self) -> None:
        """Close the file; all entries are on disk already."""
        self._db.close()


def context(config: RunConfig) -> str:
    """A digest of all that a program's scores depend on, but for the program."""
    parts = (
        config.version,
        config.task_digest,
        repr(config.learning_rate),
        config.evaluator,
        repr(config.seeds[-1]),
        repr(config.protected),
        config.cache_level,
        hashing.VERSION,
    )
    return hashing.combine(*(part.encode() for part in parts)).hex()
