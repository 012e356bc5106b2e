"""The meta task: what is looked at and when, what a fall is, and that it changes no result."""

import math
import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.search import CONFIG, FakeEngine, score, tables

from optdsl.evolve.best import Summary
from optdsl.evolve.engines import EngineError
from optdsl.evolve.judge import Job, JudgeSpec, Outcome, Score
from optdsl.evolve.meta import FALL_LEVEL, META_SEEDS, Fall, Point, fall, falls
from optdsl.evolve.run import Run, create_folder
from optdsl.evolve.store import StoreError
from optdsl.ir import Program
from optdsl.tasks.scores import FAILED
from optdsl.tasks.table import TaskSource

SPEC = JudgeSpec(TaskSource("larger"), 0.5, "bytecode")
META = replace(CONFIG, meta_task="larger", meta_task_digest="1" * 32, meta_every=20)


def point(programs: int, fitness: float, *meta: float, stage: str = "evolution-1") -> Point:
    return Point(stage, programs, fitness, meta)


FIRST = (-2.0, -2.1, -2.2, -2.0, -2.1, -2.2, -2.0, -2.1)
NOISE = (0.01, -0.01, 0.02, 0.0, -0.02, 0.01, 0.0, -0.01)
UP = tuple(a + 0.5 + b for a, b in zip(FIRST, NOISE, strict=True))
SLIGHTLY = tuple(a - 0.002 + b for a, b in zip(FIRST, NOISE, strict=True))


def test_a_fall_is_worse_on_the_meta_task_and_better_in_the_search() -> None:
    low, high = point(0, -1.0, *FIRST), point(20, -0.9, *UP)
    later = point(60, -0.8, *FIRST)
    assert fall([low, high, later]) == Fall(high, later)
    assert fall([low, high]) is None, "both rise"
    assert fall([high, replace(later, fitness=-0.95)]) is None, "both fall"
    assert fall([high, replace(later, fitness=-0.9)]) is None, "the search stands still"
    assert fall([low, replace(high, validation=SLIGHTLY)]) is None, "not told apart"
    assert fall([low]) is fall([]) is None


def test_the_fall_is_from_the_best() -> None:
    best = tuple(a + 0.2 for a in UP)
    points = [point(0, -1.0, *UP), point(20, -0.9, *best), point(40, -0.8, *UP)]
    points.append(point(60, -0.7, *FIRST))
    found = fall(points)
    assert found is not None
    assert (found.before.programs, found.after.programs) == (20, 60)


def test_what_diverges_on_the_meta_task_has_fallen() -> None:
    failed = (*FIRST[:7], FAILED)
    low, later = point(0, -1.0, *FIRST), point(20, -0.9, *failed)
    assert fall([low, later]) == Fall(low, later)
    assert later.meta_fitness == -math.inf
    assert fall([replace(low, validation=failed), later]) is None
    assert fall([replace(low, validation=failed), replace(later, validation=FIRST)]) is None


def test_many_equal_leaders_rarely_look_like_a_fall() -> None:
    """Two hundred pairs of programs that differ by chance alone."""
    rng, found = random.Random(0), 0
    for _ in range(40):
        points = [
            point(i, -1.0 + i / 100, *(rng.gauss(-2.0, 0.1) for _ in META_SEEDS)) for i in range(21)
        ]
        found += bool(falls(points))
    assert found <= 4
    assert 0.9997 < FALL_LEVEL < 0.9998


def test_one_fall_for_each_search() -> None:
    def search(stage: str, *points: tuple[float, ...]) -> list[Point]:
        return [point(20 * i, -1 + i / 10, *one, stage=stage) for i, one in enumerate(points)]

    one = search("tuning", FIRST, UP)
    two = search("evolution-1", UP, FIRST, FIRST)
    three = search("evolution-2", UP, UP, FIRST)
    found = falls([*one, *two, *three])
    assert [(one.after.stage, one.before.programs, one.after.programs) for one in found] == [
        ("evolution-1", 0, 20),
        ("evolution-2", 0, 40),
    ]
    assert falls([]) == []
    entry = found[0].to_json()
    assert set(entry) == {"stage", "programs", "fitness", "meta_fitness", "meta_standard_error",
                          "before"}  # fmt: skip


def scored(meta: Callable[[float], float]) -> Callable[[Program, int], Score]:
    """Meta scores that follow from a program's mean fitness in the search."""

    def of(program: Program, seed: int) -> Score:
        if seed not in META_SEEDS:
            return score(program, seed)
        mean = math.fsum(score(program, one)[0] for one in range(CONFIG.seeds[-1])) / 3
        noise = score(program, seed)[0] if score(program, seed)[0] != FAILED else 0.0
        found = meta(mean) + noise / 1000
        return found, found

    return of


FOLLOWS, OVERFITS = scored(lambda mean: mean), scored(lambda mean: -mean)


def run(
    folder: Path,
    engine: FakeEngine | None = None,
    told: list[Fall] | None = None,
    **changes: Any,
) -> Summary:
    config = replace(META, **changes)
    if not folder.exists():
        create_folder(folder, config)
    told = [] if told is None else told
    start = engine or FakeEngine(FOLLOWS)
    return Run(config, folder, lambda: start, lambda stage: None, None, SPEC, told.append).run()


def of_leaders(engine: FakeEngine) -> list[Job]:
    return [job for job in engine.jobs if job.spec is not None]


def test_leaders_are_judged_by_the_meta_task_on_its_seeds(tmp_path: Path) -> None:
    engine = FakeEngine(FOLLOWS)
    told: list[Fall] = []
    summary = run(tmp_path / "run", engine, told)
    jobs = of_leaders(engine)
    assert [job.rungs for job in jobs] == [(META_SEEDS,)] * len(summary.meta)
    assert {job.spec for job in jobs} == {SPEC}
    assert len({job.key for job in jobs}) == len(jobs) > 1
    assert len(engine.jobs) > 10 * len(jobs)
    programs = [one.programs for one in summary.meta]
    assert programs == sorted({*programs})
    assert programs[0] == 0
    assert all(made % 20 == 0 for made in programs)
    fitness = [one.fitness for one in summary.meta]
    found = {row[0]: row[2] for row in tables(tmp_path / "run")["programs"]}
    assert fitness == [found[row[2]] for row in tables(tmp_path / "run")["meta_scores"]]
    assert told == []
    printed = summary.to_json()
    assert printed["meta_task"] == "larger"
    assert printed["meta_warnings"] == []
    assert isinstance(printed["meta"], list)
    assert printed["meta"][0] == {
        "stage": "evolution-1",
        "programs": 0,
        "fitness": fitness[0],
        "meta_fitness": summary.meta[0].meta_fitness,
        "meta_standard_error": summary.meta[0].meta_error,
    }


def test_to_look_changes_nothing_else(tmp_path: Path) -> None:
    create_folder(tmp_path / "plain", CONFIG)
    plain = Run(CONFIG, tmp_path / "plain", FakeEngine, lambda stage: None).run()
    watched = run(tmp_path / "watched", FakeEngine(OVERFITS))
    one, two = tables(tmp_path / "plain"), tables(tmp_path / "watched")
    assert one.pop("meta_scores") == []
    assert two.pop("meta_scores")
    assert one.pop("meta") != two.pop("meta")
    assert one == two
    assert plain.best == watched.best
    assert plain.to_json()["meta"] == []


def test_searches_are_watched_and_baselines_are_not(tmp_path: Path) -> None:
    summary = run(
        tmp_path / "run", restarts=2, programs=160, tune_first=40, baselines=("tune", "random")
    )
    stages = list(dict.fromkeys(one.stage for one in summary.meta))
    assert stages == ["tuning", "evolution-1", "evolution-2", "evolution-best"]
    keys = {row[:2]: row[2] for row in tables(tmp_path / "run")["meta_scores"]}
    assert keys["evolution-1", 0] == keys["evolution-2", 0], "judged once, and seen by both"


def test_a_fall_is_told_once_and_may_end_the_search(tmp_path: Path) -> None:
    told: list[Fall] = []
    goes_on = run(tmp_path / "on", FakeEngine(OVERFITS), told)
    assert len(told) == 1
    assert goes_on.to_json()["meta_warnings"] == [told[0].to_json()]
    assert goes_on.progress.programs == META.programs
    stopped: list[Fall] = []
    ended = run(tmp_path / "ended", FakeEngine(OVERFITS), stopped, meta_stop=True)
    assert stopped == told
    look = next(made for made in range(20, 120, 20) if made > told[0].after.programs)
    assert ended.progress.programs == look + META.lag - 1 < META.programs
    assert ended.meta == goes_on.meta[: len(ended.meta)]
    assert ended.meta[-1] == told[0].after
    rows = tables(tmp_path / "on")["proposals"], tables(tmp_path / "ended")["proposals"]
    whole, part = ([row for row in one if row[0] == "evolution-1"] for one in rows)
    assert part == whole[: len(part)]


def test_the_last_leader_is_looked_at(tmp_path: Path) -> None:
    summary = run(tmp_path / "run", meta_every=1_000)
    assert [one.programs for one in summary.meta] == [0, META.programs]
    assert summary.meta[-1].fitness == summary.progress.best


class Stops(FakeEngine):
    """Is interrupted when so many outcomes were given."""

    def __init__(self, after: int) -> None:
        super().__init__(OVERFITS)
        self.after = after

    def result(self, key: str) -> Outcome:
        self.after -= 1
        if self.after < 0:
            raise KeyboardInterrupt
        return super().result(key)


@pytest.mark.parametrize("stop", [False, True])
def test_a_run_that_was_stopped_goes_on(tmp_path: Path, stop: bool) -> None:
    """No leader is judged again, and the same falls are seen at the same places."""
    whole, told = FakeEngine(OVERFITS), list[Fall]()
    expected = run(tmp_path / "whole", whole, told, meta_stop=stop)
    folder, judged = tmp_path / "run", list[str]()
    for after in (1, 2, 3, 9, 17, 25, 3, 61, 20, 1_000):
        engine, again = Stops(after), list[Fall]()
        try:
            found = run(folder, engine, again, meta_stop=stop)
        except KeyboardInterrupt:
            assert again in ([], told)
        judged += [job.key for job in engine.jobs if job.key not in engine.waiting]
    assert sorted(judged) == sorted(job.key for job in whole.jobs)
    assert again == told
    assert tables(folder) == tables(tmp_path / "whole")
    assert found.meta == expected.meta


def test_another_meta_task_is_another_run(tmp_path: Path) -> None:
    run(tmp_path / "run")
    with pytest.raises(StoreError, match=r"config\.toml was changed"):
        run(tmp_path / "run", meta_task_digest="2" * 32)


def test_a_meta_task_that_can_not_be_trained(tmp_path: Path) -> None:
    class Broken(FakeEngine):
        def result(self, key: str) -> Outcome:
            found = super().result(key)
            return Outcome(failure="ValueError: no batch") if key.startswith("meta") else found

    with pytest.raises(EngineError, match="the meta task can't be trained: ValueError: no batch"):
        run(tmp_path / "run", Broken())


def test_damaged_scores(tmp_path: Path) -> None:
    run(tmp_path / "run")
    with closing(sqlite3.connect(tmp_path / "run" / "run.sqlite", isolation_level=None)) as db:
        db.execute("UPDATE meta_scores SET scores = '[[1, 2]]'")
    with pytest.raises(StoreError, match="there are no scores in"):
        run(tmp_path / "run")
