"""The run's database: one transaction a commit, and lineages."""

import math
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from optdsl.evolve.store import FORMAT, Ancestor, Commit, Store

COMMIT = Commit("evolution", -1, None, "initial", 0, 3, 2, "k0", -1.0, "text 0")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.sqlite"


def rows(path: Path, query: str) -> list[tuple[object, ...]]:
    db = sqlite3.connect(path)
    found = db.execute(query).fetchall()
    db.close()
    return found


def test_commits_and_lineage(path: Path) -> None:
    with Store(path) as store:
        store.commit(COMMIT)
        for number, parent, key in ((0, -1, "k1"), (1, -1, "k0"), (2, 0, "k2"), (3, 2, "k1")):
            text = f"text {key}" if key not in ("k0",) and number != 3 else None
            store.commit(
                replace(COMMIT, number=number, parent=parent, mutation="insert", invalid=number,
                        key=key, fitness=-float(key[1]), text=text)
            )  # fmt: skip
        store.commit(replace(COMMIT, stage="tune"))
        assert store.lineage("evolution", 3) == [
            Ancestor(3, "insert", -1.0, "k1"),
            Ancestor(2, "insert", -2.0, "k2"),
            Ancestor(0, "insert", -1.0, "k1"),
            Ancestor(-1, "initial", -1.0, "k0"),
        ]
        assert store.lineage("tune", -1) == [Ancestor(-1, "initial", -1.0, "k0")]
    assert rows(path, "SELECT number, parent, key FROM proposals WHERE stage = 'evolution'") == [
        (-1, None, "k0"),
        (0, -1, "k1"),
        (1, -1, "k0"),
        (2, 0, "k2"),
        (3, 2, "k1"),
    ]
    assert rows(path, "SELECT key, text, fitness FROM programs") == [
        ("k0", "text 0", -1.0),
        ("k1", "text k1", -1.0),
        ("k2", "text k2", -2.0),
    ]
    assert rows(path, "PRAGMA integrity_check") == [("ok",)]
    assert rows(path, "PRAGMA foreign_key_check") == []
    assert rows(path, "PRAGMA user_version") == [(FORMAT,)]


def test_each_commit_is_on_disk_at_once(path: Path) -> None:
    with Store(path) as store:
        for number in range(-1, 3):
            store.commit(replace(COMMIT, number=number, text="t" if number < 0 else None))
            assert rows(path, "SELECT count(*) FROM proposals") == [(number + 2,)]


def test_only_the_database_is_left_when_it_is_closed(path: Path) -> None:
    with Store(path) as store:
        store.commit(COMMIT)
    assert [entry.name for entry in path.parent.iterdir()] == ["run.sqlite"]


def test_minus_infinity_is_kept_and_nan_refused(path: Path) -> None:
    with Store(path) as store:
        store.commit(replace(COMMIT, fitness=-math.inf))
        assert store.lineage("evolution", -1)[0].fitness == -math.inf
        with pytest.raises(sqlite3.IntegrityError):
            store.commit(replace(COMMIT, number=0, key="nan", fitness=math.nan))
    assert rows(path, "SELECT count(*) FROM proposals") == [(1,)]


def test_a_refused_commit_leaves_nothing_and_stops_no_other(path: Path) -> None:
    with Store(path) as store:
        store.commit(COMMIT)
        with pytest.raises(sqlite3.IntegrityError):
            store.commit(replace(COMMIT, key="other"))
        store.commit(replace(COMMIT, number=0, text=None))
    assert rows(path, "SELECT number, key FROM proposals") == [(-1, "k0"), (0, "k0")]
    assert rows(path, "SELECT key FROM programs") == [("k0",)]


def test_a_number_is_committed_once(path: Path) -> None:
    with Store(path) as store:
        store.commit(COMMIT)
        with pytest.raises(sqlite3.IntegrityError):
            store.commit(replace(COMMIT, key="other"))
    assert rows(path, "SELECT key FROM programs") == [("k0",)]


def test_an_existing_database_is_refused_and_left_alone(path: Path) -> None:
    path.write_bytes(b"precious")
    with pytest.raises(FileExistsError):
        Store(path)
    assert path.read_bytes() == b"precious"
