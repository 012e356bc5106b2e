"""The run folder's database: every commit of a run, one transaction each, one writer."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

FORMAT = 1
"""Raised when the tables change; stored as SQLite's `user_version`."""

SCHEMA = """
CREATE TABLE programs (
    key TEXT PRIMARY KEY,       -- structural hash
    text TEXT NOT NULL,         -- the first program with this hash, as .opt text
    fitness REAL NOT NULL       -- mean over the seeds; -Inf for a failed program
) STRICT, WITHOUT ROWID;
CREATE TABLE proposals (
    stage TEXT NOT NULL,        -- evolution, tune or random
    number INTEGER NOT NULL,    -- commits happen in this order; -1 is the initial program
    parent INTEGER,             -- its parent's number
    mutation TEXT NOT NULL,
    invalid INTEGER NOT NULL,   -- invalid children thrown away before it
    statements INTEGER NOT NULL,
    live_statements INTEGER NOT NULL,
    key TEXT NOT NULL REFERENCES programs (key),
    PRIMARY KEY (stage, number)
) STRICT, WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Commit:
    """A proposal whose fitness is known."""

    stage: str
    number: int
    parent: int | None
    mutation: str
    invalid: int
    statements: int
    live_statements: int
    key: str
    fitness: float
    text: str | None
    """The program, if this is the first one with its key."""


@dataclass(frozen=True, slots=True)
class Ancestor:
    """One step of a program's lineage."""

    number: int
    mutation: str
    fitness: float
    key: str


class Store:
    """Writes a run's commits; `with` closes it."""

    def __init__(self, path: Path) -> None:
        """Create the database; it must not exist."""
        if path.exists():
            raise FileExistsError(f"{path} exists")
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.execute(f"PRAGMA user_version={FORMAT}")
        self._db.executescript(SCHEMA)

    def __enter__(self) -> "Store":
        """The store itself."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close it; all commits are on disk already."""
        self._db.close()

    def commit(self, commit: Commit) -> None:
        """Write one commit in one transaction, whole or not at all.

        Raises:
            sqlite3.IntegrityError: if its number was committed before or its fitness is NaN.
        """
        with self._db as db:
            db.execute("BEGIN")
            if commit.text is not None:
                row = (commit.key, commit.text, commit.fitness)
                # Not OR IGNORE, which ignores NOT NULL too, and SQLite stores NaN as NULL.
                db.execute(
                    "INSERT INTO programs VALUES (?, ?, ?) ON CONFLICT (key) DO NOTHING", row
                )
            db.execute(
                "INSERT INTO proposals VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    commit.stage,
                    commit.number,
                    commit.parent,
                    commit.mutation,
                    commit.invalid,
                    commit.statements,
                    commit.live_statements,
                    commit.key,
                ),
            )

    def lineage(self, stage: str, number: int) -> list[Ancestor]:
        """From a proposal back to the initial program, the proposal first."""
        return list(self._ancestors(stage, number))

    def _ancestors(self, stage: str, number: int | None) -> Iterator[Ancestor]:
        query = (
            "SELECT parent, mutation, fitness, key FROM proposals JOIN programs USING (key)"
            " WHERE stage = ? AND number = ?"
        )
        while number is not None:
            with closing(self._db.execute(query, (stage, number))) as rows:
                parent, mutation, fitness, key = rows.fetchone()
            yield Ancestor(number, mutation, fitness, key)
            number = parent
