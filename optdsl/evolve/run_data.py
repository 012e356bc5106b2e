"""A run folder as it is now, read and never written: the search may go on meanwhile."""

import os
import sqlite3
import tomllib
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from heapq import merge
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from optdsl.evolve.meta import Point, points
from optdsl.evolve.store import Part, StoreError, check_format

COMMIT = np.dtype(
    [
        ("number", np.int64),
        ("fitness", np.float64),
        ("seeds", np.int64),  # how many that is an estimate from
        ("statements", np.int64),
        ("live", np.int64),
        ("invalid", np.int64),
        ("evaluated", np.bool_),  # the run's first proposal with its key, judged by this run
        ("first", np.bool_),  # the stage's first proposal with its key
    ]
)

COMMITS = """
SELECT number, fitness, json_array_length(scores), statements, live_statements, invalid,
  borrowed, key
FROM proposals JOIN programs USING (key) WHERE stage = ? ORDER BY number
"""


@dataclass(frozen=True)
class Stage:
    """One search of the run."""

    name: str
    strategy: str
    part: Part
    commits: NDArray[np.void]
    """Of dtype COMMIT, in their order; the initial program is the first."""

    @property
    def proposals(self) -> NDArray[np.void]:
        """All commits but the initial program's."""
        return self.commits[1:]


@dataclass(frozen=True)
class RunData:
    """What all figures are made from."""

    folder: Path
    config: dict[str, Any]
    """What `config.toml` says, not checked."""
    best: str | None
    """The text of `best.opt`, which is written when the run ends."""
    seconds: float
    """How long it took so far, as far as was noted."""
    stages: tuple[Stage, ...]
    """Those with a commit, in the order in which they run."""
    meta: tuple[Point, ...] = ()
    """The searches' leaders on the meta task, if there is one."""

    @property
    def finished(self) -> bool:
        """Whether the run came to its end."""
        return self.best is not None

    @property
    def searches(self) -> tuple[Stage, ...]:
        """All stages but the baselines."""
        return tuple(stage for stage in self.stages if stage.part is not Part.BASELINE)

    @property
    def baselines(self) -> tuple[Stage, ...]:
        """The other stages."""
        return tuple(stage for stage in self.stages if stage.part is Part.BASELINE)

    @property
    def restarts(self) -> tuple[Stage, ...]:
        """The searches from the initial program."""
        return tuple(stage for stage in self.stages if stage.part is Part.RESTART)

    @property
    def searched(self) -> NDArray[np.void]:
        """The searches' commits in the order in which they came, but for later initial programs."""
        turns = [
            np.concatenate([stage.proposals for stage in stages])
            for _, stages in groupby(
                self.searches, key=lambda stage: _turns(stage.name, stage.part)
            )
        ]
        in_order = [part[np.argsort(part["number"], kind="stable")] for part in turns]
        return np.concatenate([self.searches[0].commits[:1], *in_order])


@contextmanager
def open_database(folder: Path) -> Generator[sqlite3.Connection]:
    """The folder's database as it is now, for reading; what is written meanwhile isn't seen.

    Raises:
        StoreError: if there is none, or it can't be used; then, or while it is read.
    """
    path = folder / "run.sqlite"
    _require_file(folder, path)
    db = None
    try:
        db = sqlite3.connect(_uri(path), uri=True, isolation_level=None)
        check_format(db, path, "reads")
        db.execute("BEGIN")
        yield db
    except sqlite3.DatabaseError as error:
        raise StoreError(f"{path} is damaged or no database: {error}") from error
    finally:
        if db is not None:
            db.close()


def read_run(folder: Path, db: sqlite3.Connection) -> RunData:
    """All commits and what the folder's small files say.

    Raises:
        StoreError: if a file can't be used.
    """
    (seconds,) = db.execute("SELECT max(seconds) FROM timeline").fetchone()
    stages, meta = _stages(db), tuple(points(db))
    return RunData(folder, _config(folder), _best(folder), seconds or 0.0, stages, meta)


def _uri(path: Path) -> str:
    # SQLite needs `-shm` beside a database in WAL mode. Where it can't be made, nobody writes.
    log = path.with_name(path.name + "-wal")
    immutable = not log.exists() and not os.access(path.parent, os.W_OK)
    return f"{path.resolve().as_uri()}?mode=ro" + ("&immutable=1" if immutable else "")


def _require_file(folder: Path, path: Path) -> None:
    try:
        path.open("rb").close()
    except (FileNotFoundError, NotADirectoryError):
        raise StoreError(f"{folder} is no run folder: it has no {path.name}") from None
    except OSError as error:
        raise StoreError(f"can't read {path}: {error.strerror or error}") from None


def _config(folder: Path) -> dict[str, Any]:
    path = folder / "config.toml"
    _require_file(folder, path)
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise StoreError(f"{path} is no configuration of a run: {error}") from None


def _best(folder: Path) -> str | None:
    path = folder / "best.opt"
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"can't read {path}: {error}") from None


def _turns(name: str, part: Part) -> str:
    """Equal for searches that take turns."""
    return part if part is Part.RESTART else name


def _stages(db: sqlite3.Connection) -> tuple[Stage, ...]:
    query = "SELECT stage, strategy, part FROM stages ORDER BY position"
    rows = [(name, strategy, Part(part)) for name, strategy, part in db.execute(query)]
    seen: set[str] = set()
    stages: list[Stage] = []
    for _, group in groupby(rows, key=lambda row: _turns(row[0], row[2])):
        together = list(group)
        commits = _commits(db, [name for name, _, _ in together], seen)
        stages += [Stage(*row, of_one) for row, of_one in zip(together, commits, strict=True)]
    return tuple(stage for stage in stages if len(stage.commits))


def _commits(
    db: sqlite3.Connection, stages: Sequence[str], seen: set[str]
) -> list[NDArray[np.void]]:
    """Rows of COMMIT, of each of the stages that took turns; `seen` holds the keys of the stages
    before them, and then theirs too."""
    parts = [[(i, *row) for row in db.execute(COMMITS, (stage,))] for i, stage in enumerate(stages)]
    rows: list[list[tuple[object, ...]]] = [[] for _ in stages]
    own: list[set[str]] = [set() for _ in stages]
    for i, number, *columns, borrowed, key in merge(*parts, key=lambda row: row[1]):
        first = key not in own[i]
        evaluated = number >= 0 and first and key not in seen and not borrowed
        own[i].add(key)
        seen.add(key)
        rows[i].append((number, *columns, evaluated, first))
    return [np.array(one, COMMIT) for one in rows]
