"""The run folder's database: every commit of a run, one transaction each, one writer."""

import fcntl
import json
import math
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import IO

from optdsl.evolve.judge import Outcome, Score
from optdsl.tasks.scores import FAILED

FORMAT = 5
"""Raised when the tables change; stored as SQLite's `user_version`."""

APPLICATION = 0x6F707464
"""SQLite's `application_id` of our files: "optd"."""

SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE stages (
    stage TEXT PRIMARY KEY,     -- one search of the run, such as evolution-1 or tune
    position INTEGER NOT NULL,  -- in the order in which they run
    strategy TEXT NOT NULL,
    part TEXT NOT NULL,         -- see `Part`
    origin TEXT,                -- the stage that found its initial program; NULL: the run's own
    origin_number INTEGER       -- and that program's number there
) STRICT, WITHOUT ROWID;
CREATE TABLE programs (
    key TEXT PRIMARY KEY,       -- its hash, at the run's cache level
    text TEXT NOT NULL,         -- the first program with this hash, as .opt text
    fitness REAL NOT NULL,      -- estimated mean over the seeds; -Inf for a failed program
    scores TEXT NOT NULL,       -- JSON: [validation, test] for each seed trained; null: diverged
    failure TEXT NOT NULL,      -- why there is no score: its worker crashed or took too long
    borrowed INTEGER NOT NULL   -- 1: judged by an earlier run
) STRICT, WITHOUT ROWID;
CREATE TABLE proposals (
    stage TEXT NOT NULL,
    number INTEGER NOT NULL,    -- commits happen in this order; -1 is the initial program
    parent INTEGER,             -- its parent's number
    mutation TEXT NOT NULL,
    invalid INTEGER NOT NULL,   -- invalid children thrown away before it
    statements INTEGER NOT NULL,
    live_statements INTEGER NOT NULL,
    key TEXT NOT NULL REFERENCES programs (key),
    PRIMARY KEY (stage, number)
) STRICT, WITHOUT ROWID;
CREATE TABLE rescored (
    key TEXT NOT NULL,          -- the structural hash of what was run
    seeds TEXT NOT NULL,        -- JSON
    scores TEXT NOT NULL,       -- JSON, as in programs
    PRIMARY KEY (key, seeds)
) STRICT, WITHOUT ROWID;
CREATE TABLE meta_scores (
    stage TEXT NOT NULL,
    programs INTEGER NOT NULL,  -- how many it had made when its leader was another than before
    key TEXT NOT NULL REFERENCES programs (key),
    scores TEXT NOT NULL,       -- JSON, as in programs, on the meta task
    PRIMARY KEY (stage, programs)
) STRICT, WITHOUT ROWID;
CREATE TABLE timeline (seconds REAL NOT NULL, programs INTEGER NOT NULL) STRICT;
"""


class Part(StrEnum):
    """What a search is for."""

    TUNING = "tuning"
    """Tunes the initial program's constants, for the others to start from."""
    RESTART = "restart"
    """One of the searches from the initial program, which may be tuned."""
    BEST = "best"
    """From the best that the restarts found."""
    BASELINE = "baseline"
    """What the find is compared with."""


@dataclass(frozen=True, slots=True)
class ProposalId:
    """A proposal of a run."""

    stage: str
    number: int


@dataclass(frozen=True, slots=True)
class StageRow:
    """One search of a run."""

    name: str
    strategy: str
    part: Part
    origin: ProposalId | None = None
    """What its initial program is; None: the run's own."""


class StoreError(ValueError):
    """A run folder that can't be used; says why and what to do."""


@dataclass(frozen=True, slots=True)
class Judged:
    """The first of the proposals with its key."""

    text: str
    outcome: Outcome
    borrowed: bool = False
    """Whether an earlier run judged it."""


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
    judged: Judged | None
    """What is known of its key, if this is the first proposal with it."""


class Store:
    """Writes a run's commits; `with` closes it and unlocks the folder.

    `db` is the connection, for the modules that have a table of their own to read or write.
    """

    def __init__(self, folder: Path, config: str) -> None:
        """Open the folder's database, or make it; the folder is locked until it is closed.

        Args:
            folder: the run folder, which exists.
            config: the run's configuration as text; that of an existing database must be equal.

        Raises:
            StoreError: if another driver uses the folder, or its database is damaged, of another
                format, or of a run with another configuration.
            sqlite3.OperationalError: if the disk is full, or may not be written to.
        """
        path = folder / "run.sqlite"
        with ExitStack() as opened:
            opened.enter_context(lock(folder))
            try:
                self.db = opened.enter_context(closing(sqlite3.connect(path, isolation_level=None)))
                _check(self.db, path, config)
                # Only now: they change the file, which may be another program's.
                self.db.execute("PRAGMA journal_mode=WAL")
                self.db.execute("PRAGMA synchronous=NORMAL")
            except sqlite3.DatabaseError as error:
                if getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF not in _DAMAGED:
                    raise
                raise StoreError(f"{path} is damaged or no database: {error}") from error
            self._opened = opened.pop_all()
        self._replays: dict[str, Iterator[tuple[int, str]]] = {}

    def __enter__(self) -> "Store":
        """The store itself."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close it; all commits are on disk already."""
        self._opened.close()

    def known(self) -> Iterator[tuple[str, tuple[float, ...], bool]]:
        """Of every program judged so far: key, validation scores, whether it was borrowed."""
        for key, scores, borrowed in self.db.execute("SELECT key, scores, borrowed FROM programs"):
            validation = tuple(validation for validation, _ in scores_from_json(scores))
            yield key, validation, bool(borrowed)

    def begin(self, stage: StageRow) -> None:
        """A search begins, or begins again after a stop: its first commits may be known."""
        origin = stage.origin
        with self.db as db:
            db.execute("BEGIN")
            db.execute(
                "INSERT INTO stages VALUES (?, (SELECT count(*) FROM stages), ?, ?, ?, ?)"
                " ON CONFLICT (stage) DO NOTHING",
                (
                    stage.name,
                    stage.strategy,
                    stage.part.value,
                    origin and origin.stage,
                    origin and origin.number,
                ),
            )
        query = "SELECT number, key FROM proposals WHERE stage = ? ORDER BY number"
        self._replays[stage.name] = iter(self.db.execute(query, (stage.name,)).fetchall())

    def commit(self, commit: Commit) -> bool:
        """Write one commit in one transaction, whole or not at all; whether it was new.

        Raises:
            StoreError: if it was committed before, as another program.
            sqlite3.IntegrityError: if its fitness is NaN.
        """
        if commit.stage in self._replays:
            committed = next(self._replays[commit.stage], None)
            if committed is not None:
                if committed != (commit.number, commit.key):
                    raise StoreError(
                        f"the log of stage {commit.stage} differs at proposal {commit.number} from"
                        " what its configuration gives: it can't be continued"
                    )
                return False
            del self._replays[commit.stage]
        with self.db as db:
            db.execute("BEGIN")
            if commit.judged is not None:
                row = _program_row(commit.key, commit.fitness, commit.judged)
                # Not OR IGNORE, which ignores NOT NULL too, and SQLite stores NaN as NULL.
                db.execute(
                    "INSERT INTO programs VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO NOTHING",
                    row,
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
        return True

    def tick(self, seconds: float, programs: int) -> None:
        """Note how many programs were committed after how many seconds, all sittings together."""
        self.db.execute("INSERT INTO timeline VALUES (?, ?)", (seconds, programs))

    def seconds(self) -> float:
        """How long the run took in earlier sittings, as far as was noted."""
        (seconds,) = self.db.execute("SELECT max(seconds) FROM timeline").fetchone()
        return seconds or 0.0

    def rescored(self, key: str, seeds: tuple[int, ...]) -> tuple[Score, ...] | None:
        """The scores of a program on other seeds, if they are known."""
        query = "SELECT scores FROM rescored WHERE key = ? AND seeds = ?"
        row = self.db.execute(query, (key, json.dumps(seeds))).fetchone()
        if row is None:
            return None
        scores = scores_from_json(row[0])
        if len(scores) != len(seeds):
            raise StoreError(f"the database is damaged: there are no scores in {row[0]}")
        return scores

    def rescore(self, key: str, seeds: tuple[int, ...], scores: tuple[Score, ...]) -> None:
        """Write such scores."""
        row = (key, json.dumps(seeds), scores_to_json(scores))
        self.db.execute("INSERT OR REPLACE INTO rescored VALUES (?, ?, ?)", row)


def lock(folder: Path) -> IO[str]:
    """Lock a run folder for the one driver that may write to it, until the file is closed.

    Raises:
        StoreError: if it is locked.
    """
    file = (folder / "run.lock").open("w", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise StoreError(f"another process is running the search in {folder}") from None
    return file


_DAMAGED = {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_ERROR}
"""SQLite's error codes for what a database should not hold; others are the disk's."""


def _check(db: sqlite3.Connection, path: Path, config: str) -> None:
    """Make the tables of a new database; refuse another's."""
    (tables,) = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if not tables:
        with db:
            db.executescript(
                f"BEGIN; {SCHEMA} PRAGMA application_id={APPLICATION};"
                f" PRAGMA user_version={FORMAT}; COMMIT;"
            )
            db.execute("INSERT INTO meta VALUES ('config', ?)", (config,))
        return
    check_format(db, path, "writes")
    (verdict,) = db.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise StoreError(f"{path} is damaged: {verdict.splitlines()[-1]}")
    row = db.execute("SELECT value FROM meta WHERE name = 'config'").fetchone()
    if row is None:
        db.execute("INSERT INTO meta VALUES ('config', ?)", (config,))
    elif row[0] != config:
        raise StoreError(f"{path.parent / 'config.toml'} was changed since the run began")


def check_format(db: sqlite3.Connection, path: Path, does: str) -> None:
    """Raises `StoreError` unless it is a run's database in the format that optdsl `does`."""
    (application,) = db.execute("PRAGMA application_id").fetchone()
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION:
        raise StoreError(f"{path} is not a database of optdsl")
    if version != FORMAT:
        raise StoreError(f"{path} has the format {version}, and this optdsl {does} {FORMAT}")


def _program_row(key: str, fitness: float, judged: Judged) -> tuple[object, ...]:
    outcome = judged.outcome
    scores = scores_to_json(outcome.scores)
    return key, judged.text, fitness, scores, outcome.failure, int(judged.borrowed)


def scores_to_json(scores: tuple[Score, ...]) -> str:
    """Scores as JSON, which has no infinity: null is a failed run."""
    pairs = [[value if math.isfinite(value) else None for value in score] for score in scores]
    return json.dumps(pairs)


def scores_from_json(text: str) -> tuple[Score, ...]:
    """The inverse of `scores_to_json`.

    Raises:
        StoreError: if it is no such text.
    """
    try:
        clean = [
            [FAILED if value is None else float(value) for value in pair]
            for pair in json.loads(text)
        ]
        return tuple((validation, test) for validation, test in clean)
    except (ValueError, TypeError):
        raise StoreError(f"the database is damaged: there are no scores in {text}") from None
