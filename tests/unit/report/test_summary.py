"""What is read from a run folder."""

import math
import sqlite3
from pathlib import Path

import pytest
from support.run_folder import FOUND, INITIAL, RunFolder

from optdsl.evolve.store import StoreError
from optdsl.report.programs import listing
from optdsl.report.summary import Summary, summarize


@pytest.fixture
def run(tmp_path: Path):
    with RunFolder(tmp_path / "run") as folder:
        yield folder


def test_counts_and_failures(run: RunFolder) -> None:
    run.begin("evolution-1")
    run.program("a", -0.5)
    run.program("b", -math.inf)
    run.program("c", -math.inf, failure="it took too long")
    run.program("d", -0.4, borrowed=True)
    for number, key in enumerate(["a", "a", "b", "c", "d", "initial"]):
        run.propose("evolution-1", number, -1, key, invalid=2, statements=(4, 3))
    run.begin("evolution-2")
    run.propose("evolution-2", 0, -1, "a", statements=(4, 1))
    found = summarize(run.folder)
    one, two = found.stages
    assert (one.programs, one.evaluations, one.hit_rate) == (6, 3, 0.5)
    assert (one.invalid, one.redundant_fraction, one.best) == (12, 0.25, -0.4)
    assert (two.programs, two.evaluations, two.redundant_fraction) == (1, 0, 0.75)
    assert found.total is not None
    assert (found.total.programs, found.total.evaluations, found.total.best) == (7, 3, -0.4)
    assert found.failures == (("diverged", 1), ("it took too long", 1))


def test_the_best_programs_are_distinct_and_each_where_it_was_first_proposed(
    run: RunFolder,
) -> None:
    run.begin("evolution-1")
    run.program("a", -0.5)
    run.program("b", -0.3)
    for number, key in enumerate("abba"):
        run.propose("evolution-1", number, -1, key, mutation=f"m{number}")
    run.begin("tune", "tune")
    run.propose("tune", 0, -1, "b")
    best = summarize(run.folder).best
    assert [(one.key, one.stage, one.number, one.mutation) for one in best] == [
        ("b", "evolution-1", 1, "m1"),
        ("a", "evolution-1", 0, "m0"),
        ("initial", "evolution-1", -1, "initial"),
    ]


def test_a_lineage_goes_on_where_the_search_from_the_best_began(run: RunFolder) -> None:
    for key, fitness in (("a", -0.9), ("b", -0.95), ("c", -0.5), ("d", -0.2)):
        run.program(key, fitness)
    run.begin("evolution-1")
    run.propose("evolution-1", 0, -1, "a")
    run.propose("evolution-1", 1, -1, "initial")
    run.begin("evolution-2")
    run.propose("evolution-2", 0, -1, "a")
    run.propose("evolution-2", 1, 0, "b", mutation="delete")
    run.propose("evolution-2", 2, 1, "c", mutation="modify")
    run.begin("evolution-best", initial="c", origin=("evolution-2", 2))
    run.propose("evolution-best", 0, -1, "d")
    run.begin("tune", "tune")
    winner = summarize(run.folder).winner
    assert winner is not None
    assert winner.lineage.mutations == 4
    steps = [(s.stage, s.number, s.mutation, round(s.gain, 9)) for s in winner.lineage.steps]
    assert steps == [
        ("evolution-2", -1, "initial", 0),
        ("evolution-2", 0, "insert", 0.1),
        ("evolution-2", 2, "modify", 0.4),
        ("evolution-best", 0, "insert", 0.3),
    ]


def test_the_winner_is_the_program_of_best_opt_even_if_another_was_luckier(
    whole_run: Path, whole: Summary, run: RunFolder
) -> None:
    assert whole.winner is not None
    assert whole.total is not None
    assert whole.winner.found.stage == "evolution-best"
    run.program("lucky", -0.1, FOUND.format(constant=0.5))
    run.program("chosen", -0.2, FOUND.format(constant=0.7))
    run.begin("evolution-1")
    run.propose("evolution-1", 0, -1, "lucky")
    run.propose("evolution-1", 1, -1, "chosen")
    found = summarize(run.folder)
    assert found.winner is not None
    assert found.winner.found.key == "lucky"
    (run.folder / "best.opt").write_text(
        "# Chosen on fresh seeds.\ndef train(w, g, v, lr):\n    v = interp(g, v, 0.7)\n"
        "    x = sign(v)\n    return lr * x, v\n"
    )
    found = summarize(run.folder)
    assert found.winner is not None
    assert found.winner.found.key == "chosen"


def test_scores_on_fresh_seeds(whole: Summary) -> None:
    assert [(one.program, round(one.report.fitness, 2)) for one in whole.fresh] == [
        ("the initial program", -1.1),
        ("tune", -0.35),
        ("random", -0.6),
        ("the winner", -0.2),
    ]
    assert all(one.report.fitness_error > 0 for one in whole.fresh)


def test_dead_statements_are_marked() -> None:
    lines = listing(FOUND.format(constant=0.5))
    assert [line.text.strip() for line in lines if line.dead] == ["t = square(w)"]
    assert "\n".join(line.text for line in lines) + "\n" == FOUND.format(constant=0.5)
    assert not any(line.dead for line in listing("def train(w):\n    return unheard_of(w)\n"))


def test_a_run_that_has_just_begun(run: RunFolder) -> None:
    found = summarize(run.folder)
    assert (found.total, found.winner, found.best, found.stages) == (None, None, (), ())
    run.begin("evolution-1")
    found = summarize(run.folder)
    assert found.total is not None
    assert (found.total.programs, found.total.hit_rate) == (0, 0.0)
    assert found.winner is not None
    assert found.winner.found.text == INITIAL
    assert not found.run.finished


def test_it_is_read_as_it_was_while_the_search_writes(run: RunFolder) -> None:
    run.begin("evolution-1")
    run.program("a", -0.5)
    run.db.execute("BEGIN IMMEDIATE")
    run.propose("evolution-1", 0, -1, "a")
    found = summarize(run.folder)
    run.db.execute("COMMIT")
    assert [stage.programs for stage in found.stages] == [0]
    assert [stage.programs for stage in summarize(run.folder).stages] == [1]


def test_an_initial_program_that_diverged_has_no_winner(run: RunFolder) -> None:
    run.db.execute("UPDATE programs SET fitness = -9e999")
    run.begin("evolution-1")
    found = summarize(run.folder)
    assert found.winner is None
    assert found.total is not None
    assert found.total.best == -math.inf


def test_no_run_folder(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(StoreError, match=r"is no run folder: it has no run\.sqlite"):
            summarize(folder)


def test_no_or_a_broken_configuration(run: RunFolder) -> None:
    (run.folder / "config.toml").write_text("version = [")
    with pytest.raises(StoreError, match="is no configuration of a run"):
        summarize(run.folder)
    (run.folder / "config.toml").unlink()
    with pytest.raises(StoreError, match=r"has no config\.toml"):
        summarize(run.folder)


def test_a_foreign_database_one_of_another_format_and_none(run: RunFolder) -> None:
    path = run.folder / "run.sqlite"
    run.db.execute("PRAGMA user_version=1")
    with pytest.raises(StoreError, match="has the format 1, and this optdsl reads 5"):
        summarize(run.folder)
    run.db.execute("PRAGMA application_id=7")
    with pytest.raises(StoreError, match="is not a database of optdsl"):
        summarize(run.folder)
    run.db.close()
    path.write_bytes(b"not a database at all" * 1000)
    with pytest.raises(StoreError, match="is damaged or no database"):
        summarize(run.folder)


def test_a_database_cut_short(whole_run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cut"
    folder.mkdir()
    content = (whole_run / "run.sqlite").read_bytes()
    (folder / "run.sqlite").write_bytes(content[: len(content) // 3])
    (folder / "config.toml").write_bytes((whole_run / "config.toml").read_bytes())
    with pytest.raises(StoreError, match="is damaged or no database"):
        summarize(folder)


def test_a_parent_that_comes_after_its_child_ends_in_an_error(run: RunFolder) -> None:
    run.begin("evolution-1")
    run.program("a", -0.5)
    run.propose("evolution-1", 0, 0, "a")
    with pytest.raises(StoreError, match="proposal 0 of evolution-1 has no parent"):
        summarize(run.folder)


def test_nothing_is_written(whole_run: Path) -> None:
    before = (whole_run / "run.sqlite").read_bytes()
    summarize(whole_run)
    assert (whole_run / "run.sqlite").read_bytes() == before
    db = sqlite3.connect(whole_run / "run.sqlite")
    assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    db.close()
