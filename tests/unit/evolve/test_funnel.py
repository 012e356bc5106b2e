"""The funnel: who enters, who goes on, and what is told of it."""

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.search import CONFIG, FakeEngine

from optdsl.comparison.compare import Row
from optdsl.comparison.tune import Cell, Setting, Tuned
from optdsl.evolve import funnel as funnel_module
from optdsl.evolve.funnel import BASELINE, WINNER, Entrants, climb, entrants, to_json
from optdsl.evolve.run import Run, create_folder
from optdsl.evolve.store import StoreError
from optdsl.frontend import find_source, load
from optdsl.ir import Program
from optdsl.passes.canonical import canonical_hash
from optdsl.tasks import Task, get_task
from optdsl.tasks.scores import FAILED
from optdsl.tasks.settings import Run as Training
from optdsl.tasks.statistics import difference, interval

SGD = load(find_source("sgd"))
RUNGS = [get_task("quadratic"), get_task("digits_mlp"), get_task("digits_diffusion")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    config = replace(CONFIG, programs=150)
    create_folder(tmp_path / "run", config)
    Run(config, tmp_path / "run", FakeEngine, lambda stage: None).run()
    return tmp_path / "run"


def test_the_best_distinct_programs_enter(folder: Path) -> None:
    found = entrants(folder, 5)
    assert next(iter(found.finds)) == WINNER
    assert len(found.finds) == 5
    hashes = [canonical_hash(one) for one in (found.baseline, *found.finds.values())]
    assert len({*hashes}) == len(hashes)
    best = load(find_source(str(folder / "best.opt")))
    assert canonical_hash(found.finds[WINNER]) == canonical_hash(best)
    assert list(entrants(folder, 1).finds) == [WINNER]


def test_a_search_that_goes_on_has_no_winner_yet(folder: Path) -> None:
    (folder / "best.opt").unlink()
    assert entrants(folder, 3).is_tuned
    with closing(sqlite3.connect(folder / "run.sqlite")) as db, db:
        db.execute("DELETE FROM proposals WHERE stage = 'tune'")
    found = entrants(folder, 3)
    assert not found.is_tuned
    names = list(found.finds)
    assert len(names) == 3
    assert all(name.startswith("evolution-1 ") for name in names)


def test_what_is_no_run_folder(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no run folder"):
        entrants(tmp_path, 3)


Scores = Mapping[str, Mapping[str, Sequence[float]]]
"""By task and program, the validation scores; those on test are lower by one."""


def climbed(monkeypatch: pytest.MonkeyPatch, scores: Scores) -> list[dict[str, Any]]:
    """The rungs of programs with these scores."""

    def compare(programs: Mapping[str, Program], tasks: Sequence[Task], *_: object) -> list[Row]:
        (task,) = tasks
        rows: list[Row] = []
        for name, program in programs.items():
            runs = tuple(Training((one,), one - 1, None) for one in scores[task.name][name])
            best = Cell(Setting(0.1), (0.0,), True)
            tuned = Tuned(program, task, None, (best,), best, (), runs)
            against = difference(tuned.test, rows[0].tuned.test) if rows else None
            rows.append(Row(name, tuned, interval(tuned.test), against))
        return rows

    monkeypatch.setattr(funnel_module, "compare", compare)
    names = list(next(iter(scores.values())))
    entered = Entrants(SGD, {name: SGD for name in names if name != BASELINE})
    return [to_json(rung) for rung in climb(entered, RUNGS, 1)]


def test_those_that_beat_the_baseline_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    rungs = climbed(
        monkeypatch,
        {
            "quadratic": {
                BASELINE: (-3.0, -3.2),
                "worse": (-4.0, -4.2),
                "good": (-2.0, -2.2),
                "equal": (-3.0, -3.2),
                "best": (-1.0, -1.1),
                "diverged": (-1.0, FAILED),
            },
            "digits_mlp": {BASELINE: (-3.0, -3.2), "good": (-4.0, -4.0), "best": (-2.0, -2.2)},
            "digits_diffusion": {BASELINE: (-3.0, -3.2), "best": (-2.9, -3.4)},
        },
    )
    assert [rung["task"] for rung in rungs] == [task.name for task in RUNGS]
    order = [one["name"] for one in rungs[0]["programs"]]
    assert order == ["best", "good", "equal", "worse", "diverged"]
    assert [rung["go_on"] for rung in rungs] == [["best", "good"], ["best"], []]
    best = rungs[0]["programs"][0]
    assert best["validation_gain"] == pytest.approx(2.05)
    assert best["test"] == pytest.approx(-2.05)
    assert best["test_gain"] == pytest.approx(2.05)
    assert best["verdict"] == "better"
    assert rungs[0]["baseline"]["test"] == pytest.approx(-4.1)
    assert "test_gain" not in rungs[0]["baseline"]


def test_a_funnel_ends_where_none_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    rungs = climbed(monkeypatch, {"quadratic": {BASELINE: (-1.0, -1.0), "a": (-2.0, -2.0)}})
    assert [rung["go_on"] for rung in rungs] == [[]]
