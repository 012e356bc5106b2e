"""The run's database: one transaction a commit, lineages, replay, and what is refused."""

import json
import math
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from optdsl.evolve.judge import Outcome
from optdsl.evolve.lineage import Ancestor, gains, lineage
from optdsl.evolve.store import (
    APPLICATION,
    FORMAT,
    Commit,
    Judged,
    Part,
    ProposalId,
    StageRow,
    Store,
    StoreError,
    lock,
    scores_from_json,
    scores_to_json,
)
from optdsl.tasks.scores import FAILED

CONFIG = 'task = "t"\n'


def judged(text: str, *scores: tuple[float, float]) -> Judged:
    return Judged(text, Outcome(scores or ((-1.0, -2.0),)))


COMMIT = Commit("evolution-1", -1, None, "initial", 0, 3, 2, "k0", -1.0, judged("text 0"))


SEARCH = StageRow("evolution-1", "evolution", Part.RESTART)
TUNE = StageRow("tune", "tune", Part.BASELINE)


def rows(folder: Path, query: str) -> list[tuple[object, ...]]:
    db = sqlite3.connect(folder / "run.sqlite")
    found = db.execute(query).fetchall()
    db.close()
    return found


def store(folder: Path, config: str = CONFIG) -> Store:
    return Store(folder, config)


def test_commits_and_lineage(tmp_path: Path) -> None:
    with store(tmp_path) as one:
        one.begin(SEARCH)
        one.commit(COMMIT)
        for number, parent, key in ((0, -1, "k1"), (1, -1, "k0"), (2, 0, "k2"), (3, 2, "k1")):
            first = judged(f"text {key}") if key != "k0" and number != 3 else None
            one.commit(
                replace(COMMIT, number=number, parent=parent, mutation="insert", invalid=number,
                        key=key, fitness=-float(key[1]), judged=first)
            )  # fmt: skip
        one.begin(StageRow("best", "evolution", Part.BEST, ProposalId("evolution-1", 3)))
        one.commit(replace(COMMIT, stage="best", key="k1", judged=None))
        one.commit(replace(COMMIT, stage="best", number=0, parent=-1, key="k2", judged=None))
        first = [
            Ancestor("evolution-1", 3, "insert", -1.0, 1, 3, 2),
            Ancestor("evolution-1", 2, "insert", -2.0, 1, 3, 2),
            Ancestor("evolution-1", 0, "insert", -1.0, 1, 3, 2),
            Ancestor("evolution-1", -1, "initial", -1.0, 1, 3, 2),
        ]
        assert lineage(one.db, ProposalId("evolution-1", 3)) == first
        assert lineage(one.db, ProposalId("best", -1)) == first
        last = Ancestor("best", 0, "initial", -2.0, 1, 3, 2)
        assert lineage(one.db, ProposalId("best", 0)) == [last, *first]
        assert list(one.known()) == [(key, (-1.0,), False) for key in ("k0", "k1", "k2")]
    assert rows(
        tmp_path, "SELECT number, parent, key FROM proposals WHERE stage = 'evolution-1'"
    ) == [
        (-1, None, "k0"),
        (0, -1, "k1"),
        (1, -1, "k0"),
        (2, 0, "k2"),
        (3, 2, "k1"),
    ]
    assert rows(tmp_path, "SELECT key, text, fitness FROM programs") == [
        ("k0", "text 0", -1.0),
        ("k1", "text k1", -1.0),
        ("k2", "text k2", -2.0),
    ]
    assert rows(tmp_path, "SELECT * FROM stages ORDER BY position") == [
        ("evolution-1", 0, "evolution", "restart", None, None),
        ("best", 1, "evolution", "best", "evolution-1", 3),
    ]
    assert rows(tmp_path, "PRAGMA integrity_check") == [("ok",)]
    assert rows(tmp_path, "PRAGMA foreign_key_check") == []
    assert rows(tmp_path, "PRAGMA user_version") == [(FORMAT,)]
    assert rows(tmp_path, "PRAGMA application_id") == [(APPLICATION,)]


def test_gains_are_ancestors_better_than_all_before() -> None:
    """One that got further is better than any luckier one on fewer seeds."""
    found = [(-5.0, 1), (-6.0, 1), (-4.0, 1), (-4.0, 1), (-4.5, 3), (-3.0, 1), (FAILED, 4),
             (-4.2, 3)]  # fmt: skip
    ancestors = [Ancestor("s", i - 1, "m", *one, 3, 2) for i, one in enumerate(found)]
    assert [one.number for one in gains(ancestors)] == [-1, 1, 3, 6]


def test_what_was_found_of_a_program(tmp_path: Path) -> None:
    scores = ((-1.0, -2.0), (FAILED, FAILED))
    with store(tmp_path) as one:
        one.commit(replace(COMMIT, fitness=FAILED, judged=judged("t", *scores)))
        crashed = Judged("c", Outcome(failure="crashed"), borrowed=True)
        one.commit(replace(COMMIT, number=0, key="k1", fitness=FAILED, judged=crashed))
        assert list(one.known()) == [("k0", (-1.0, FAILED), False), ("k1", (), True)]
    assert rows(tmp_path, "SELECT scores, failure, borrowed FROM programs") == [
        ("[[-1.0, -2.0], [null, null]]", "", 0),
        ("[]", "crashed", 1),
    ]


@pytest.mark.parametrize("scores", [(), ((0.1, -1e-300), (FAILED, 1e300)), ((3.0, 4.0),)])
def test_scores_as_json(scores: tuple[tuple[float, float], ...]) -> None:
    text = scores_to_json(scores)
    json.loads(text, parse_constant=lambda constant: pytest.fail(f"{constant} is no JSON"))
    assert scores_from_json(text) == scores


def test_each_commit_is_on_disk_at_once(tmp_path: Path) -> None:
    with store(tmp_path) as one:
        for number in range(-1, 3):
            one.commit(replace(COMMIT, number=number, judged=COMMIT.judged if number < 0 else None))
            assert rows(tmp_path, "SELECT count(*) FROM proposals") == [(number + 2,)]


def test_only_the_database_and_its_lock_are_left_when_it_is_closed(tmp_path: Path) -> None:
    with store(tmp_path) as one:
        one.commit(COMMIT)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["run.lock", "run.sqlite"]


def test_minus_infinity_is_kept_and_nan_refused(tmp_path: Path) -> None:
    with store(tmp_path) as one:
        one.begin(SEARCH)
        one.commit(replace(COMMIT, fitness=-math.inf))
        assert lineage(one.db, ProposalId("evolution-1", -1))[0].fitness == -math.inf
        with pytest.raises(sqlite3.IntegrityError):
            one.commit(replace(COMMIT, number=0, key="nan", fitness=math.nan))
    assert rows(tmp_path, "SELECT count(*) FROM proposals") == [(1,)]


def test_a_refused_commit_leaves_nothing_and_stops_no_other(tmp_path: Path) -> None:
    with store(tmp_path) as one:
        one.commit(COMMIT)
        with pytest.raises(sqlite3.IntegrityError):
            one.commit(replace(COMMIT, key="other"))
        one.commit(replace(COMMIT, number=0, judged=None))
    assert rows(tmp_path, "SELECT number, key FROM proposals") == [(-1, "k0"), (0, "k0")]
    assert rows(tmp_path, "SELECT key FROM programs") == [("k0",)]


def test_what_was_committed_is_replayed_and_then_goes_on(tmp_path: Path) -> None:
    def one_at(number: int) -> Commit:
        first = judged(f"t{number}")
        return replace(COMMIT, number=number, key=f"k{number}", judged=first)

    with store(tmp_path) as one:
        one.begin(SEARCH)
        assert all(one.commit(one_at(number)) for number in range(-1, 3))
    with store(tmp_path) as one:
        one.begin(SEARCH)
        known = [one.commit(replace(one_at(number), judged=None)) for number in range(-1, 3)]
        assert known == [False] * 4
        assert one.commit(one_at(3))
        one.begin(TUNE)
        assert one.commit(replace(one_at(-1), stage="tune", judged=None))
    assert rows(tmp_path, "SELECT key FROM proposals WHERE stage = 'evolution-1'") == [
        ("k-1",),
        ("k0",),
        ("k1",),
        ("k2",),
        ("k3",),
    ]
    assert rows(tmp_path, "SELECT * FROM stages ORDER BY position") == [
        ("evolution-1", 0, "evolution", "restart", None, None),
        ("tune", 1, "tune", "baseline", None, None),
    ]


def test_a_log_of_another_search_is_not_continued(tmp_path: Path) -> None:
    with store(tmp_path) as one:
        one.begin(SEARCH)
        one.commit(COMMIT)
        one.commit(replace(COMMIT, number=0, judged=None))
    with store(tmp_path) as one:
        one.begin(SEARCH)
        one.commit(COMMIT)
        with pytest.raises(StoreError, match="evolution-1 differs at proposal 0"):
            one.commit(replace(COMMIT, number=0, key="other"))
    assert rows(tmp_path, "SELECT number, key FROM proposals") == [(-1, "k0"), (0, "k0")]


def test_rescored(tmp_path: Path) -> None:
    scores = ((-1.0, -2.0), (FAILED, FAILED))
    with store(tmp_path) as one:
        assert one.rescored("k", (1, 2)) is None
        one.rescore("k", (1, 2), scores)
    with store(tmp_path) as one:
        assert one.rescored("k", (1, 2)) == scores
        assert one.rescored("k", (1, 3)) is None
        assert one.rescored("other", (1, 2)) is None


def test_the_time_of_all_sittings(tmp_path: Path) -> None:
    with store(tmp_path) as one:
        assert one.seconds() == 0.0
        one.tick(1.5, 10)
        one.tick(2.5, 20)
    with store(tmp_path) as one:
        assert one.seconds() == 2.5
    assert rows(tmp_path, "SELECT * FROM timeline") == [(1.5, 10), (2.5, 20)]


def test_one_driver_at_a_time(tmp_path: Path) -> None:
    with store(tmp_path), pytest.raises(StoreError, match="another process"):
        store(tmp_path)
    lock(tmp_path).close()
    with store(tmp_path):
        pass


def test_a_folder_that_was_refused_is_not_locked(tmp_path: Path) -> None:
    with store(tmp_path):
        pass
    with pytest.raises(StoreError, match="changed"):
        store(tmp_path, "other")
    with store(tmp_path):
        pass


def foreign(path: Path) -> None:
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE precious (x)")
    db.commit()
    db.close()


def of_another_format(path: Path) -> None:
    with store(path.parent):
        pass
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 99")
    db.close()


def truncated(path: Path) -> None:
    with store(path.parent) as one:
        one.commit(COMMIT)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def scribbled(path: Path) -> None:
    with store(path.parent) as one:
        one.commit(COMMIT)
    data = bytearray(path.read_bytes())
    for at in range(4096, len(data), 7):
        data[at] ^= 0x5A
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.write_bytes(b"precious"), "is damaged or no database"),
        (lambda path: path.write_bytes(b"precious" * 1000), "is damaged or no database"),
        (foreign, "is not a database of optdsl"),
        (of_another_format, "has the format 99, and this optdsl writes"),
        (truncated, "is damaged"),
        (scribbled, "is damaged"),
    ],
    ids=["short", "long", "foreign", "format", "truncated", "scribbled"],
)
def test_what_is_no_database_of_a_run_is_refused_and_left_alone(
    tmp_path: Path, make: Callable[[Path], object], message: str
) -> None:
    path = tmp_path / "run.sqlite"
    make(path)
    before = path.read_bytes()
    with pytest.raises(StoreError, match=message):
        store(tmp_path)
    assert path.read_bytes() == before
    assert not {entry.name for entry in tmp_path.iterdir()} - {"run.sqlite", "run.lock"}


@pytest.mark.parametrize("text", ["", "[", "{}", "[[1]]", '[["a", 2]]', "[1]", "null"])
def test_scores_that_no_run_wrote(tmp_path: Path, text: str) -> None:
    with store(tmp_path) as one:
        one.rescore("k", (1,), ())
    db = sqlite3.connect(tmp_path / "run.sqlite")
    db.execute("UPDATE rescored SET scores = ?", (text,))
    db.commit()
    db.close()
    with store(tmp_path) as one, pytest.raises(StoreError, match="damaged"):
        one.rescored("k", (1,))


@pytest.mark.parametrize("tables", [False, True])
def test_a_database_whose_making_was_interrupted(tmp_path: Path, tables: bool) -> None:
    """Killed before the tables were there, or before it knew its run."""
    path = tmp_path / "run.sqlite"
    path.touch()
    if tables:
        with store(tmp_path):
            pass
        db = sqlite3.connect(path)
        db.execute("DELETE FROM meta")
        db.commit()
        db.close()
    with store(tmp_path) as one:
        one.commit(COMMIT)
    with pytest.raises(StoreError, match="changed"):
        store(tmp_path, "other")
