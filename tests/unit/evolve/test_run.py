"""A whole run over a fitness that costs nothing: seeds, baselines, what is judged, the folder."""

import math
import sqlite3
from contextlib import closing
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from support.search import CONFIG, FakeEngine, score, tables

from optdsl.diagnostics import Source
from optdsl.evolve.best import Summary, as_written
from optdsl.evolve.config import to_toml
from optdsl.evolve.judge import Job, Outcome
from optdsl.evolve.rescore import CHOICE_SEEDS, REPORT_SEEDS
from optdsl.evolve.run import Run, Stage, create_folder
from optdsl.evolve.store import StoreError
from optdsl.frontend import load
from optdsl.ir import Program, Role, print_program
from optdsl.passes.hashing import structural_hash
from optdsl.passes.live import remove_dead_state
from optdsl.tasks import get_task
from optdsl.tasks.evaluation import BytecodeEvaluator
from optdsl.tasks.scores import FAILED

SEARCH_SEEDS = tuple(range(CONFIG.seeds[-1]))


def run(
    folder: Path,
    engine: FakeEngine | None = None,
    on_commit: Any = lambda stage: None,
    **changes: Any,
) -> Summary:
    """A run in a new folder, or in one where it was stopped."""
    config = replace(CONFIG, **changes)
    if not folder.exists():
        create_folder(folder, config)
    return Run(config, folder, lambda: engine or FakeEngine(), on_commit).run()


def of_seeds(engine: FakeEngine, seeds: tuple[int, ...]) -> dict[str, Program]:
    """The programs that were to be judged on such seeds."""
    found = [job for job in engine.jobs if tuple(chain(*job.rungs)) == seeds]
    return {structural_hash(job.program): job.program for job in found}


def searched(engine: FakeEngine) -> list[Job]:
    """Jobs of the searches."""
    return [job for job in engine.jobs if not job.key.startswith("rescore")]


def test_each_purpose_has_its_seeds(tmp_path: Path) -> None:
    engine = FakeEngine()
    summary = run(tmp_path / "run", engine)
    assert {tuple(chain(*job.rungs)) for job in engine.jobs} == {
        SEARCH_SEEDS,
        CHOICE_SEEDS,
        REPORT_SEEDS,
    }
    assert len(of_seeds(engine, SEARCH_SEEDS)) > 50
    assert len(of_seeds(engine, CHOICE_SEEDS)) <= 20, "ten leaders of each search"
    assert len(of_seeds(engine, REPORT_SEEDS)) <= 3, "the initial program, the tuned one, the best"
    best = [score(summary.best_program, seed)[0] for seed in REPORT_SEEDS]
    assert summary.best.fitness == pytest.approx(math.fsum(best) / len(best))
    assert engine.closed
    assert not engine.waiting


def test_the_best_is_chosen_on_its_own_seeds(tmp_path: Path) -> None:
    engine = FakeEngine()
    summary = run(tmp_path / "run", engine)
    judged = {
        key: math.fsum(score(program, seed)[0] for seed in CHOICE_SEEDS)
        for key, program in of_seeds(engine, CHOICE_SEEDS).items()
    }
    chosen = structural_hash(summary.best_program)
    tuned = structural_hash(summary.tuned_program)
    assert max(judged.values()) == max(judged[chosen], judged[tuned])


def test_programs_are_compared_with_the_initial_one_seed_by_seed(tmp_path: Path) -> None:
    engine = FakeEngine()
    summary = run(tmp_path / "run", engine)
    first, *_ = engine.jobs
    assert first.rungs == (SEARCH_SEEDS,), "the initial program has no hurdles"
    baseline = tuple(score(first.program, seed)[0] for seed in SEARCH_SEEDS)
    assert FAILED not in baseline
    for job in searched(engine):
        assert job.baseline == baseline
        assert job.rungs == ((0,), (1, 2))
    initial, *rest = searched(engine)
    assert initial.floors == (-math.inf,)
    assert all(len(job.floors) == 1 for job in rest)
    assert summary.initial.fitness == pytest.approx(
        math.fsum(score(first.program, seed)[0] for seed in REPORT_SEEDS) / len(REPORT_SEEDS)
    )


def texts(folder: Path) -> dict[str, set[str]]:
    """Each stage's programs."""
    found: dict[str, set[str]] = {}
    with closing(sqlite3.connect(folder / "run.sqlite")) as db:
        query = "SELECT stage, text FROM proposals JOIN programs USING (key)"
        for stage, text in db.execute(query):
            found.setdefault(stage, set()).add(text)
    return found


@pytest.mark.parametrize("compute", [1, 2])
def test_the_baselines_have_as_many_evaluations(tmp_path: Path, compute: int) -> None:
    run(tmp_path / "run", baselines=("tune", "random"), baseline_compute=compute)
    found = texts(tmp_path / "run")
    assert set(found) == {"evolution-1", "tune", "random"}
    evaluations = len(found["evolution-1"]) - 1
    assert evaluations > 30
    # Each has the initial program beside those that it evaluated.
    for baseline in ("tune", "random"):
        known = found["evolution-1"] | (found["tune"] if baseline == "random" else set())
        assert len(found[baseline] - known) == compute * evaluations
    programs = [load(Source("<row>", text)) for text in found["tune"]]
    assert len({tuple(op.op.name for op in one.operations) for one in programs}) == 1
    assert len({one.constants for one in programs}) == len(programs)


def test_the_random_baseline_is_reported(tmp_path: Path) -> None:
    summary = run(tmp_path / "run", baselines=("tune", "random"))
    assert list(summary.baselines) == ["tune", "random"]
    printed = summary.to_json()["baselines"]
    assert isinstance(printed, dict)
    assert printed["random"]["fitness"] == summary.baselines["random"].fitness
    assert summary.baselines["random"] != summary.tuned


class TooMany(Exception):
    """A search that does not end."""


@pytest.mark.parametrize(
    "body",
    ["return lr * g", "return lr * g + 0.0 * w", "unused = g * 0.5\n    return lr * g"],
    ids=["no constant", "zeros", "dead constants"],
)
def test_where_nothing_can_be_tuned_the_baseline_is_the_initial_program(
    tmp_path: Path, body: str
) -> None:
    """At once, and not after a million proposals none of which is new."""
    tuned = 0

    def counting(stage: Stage) -> None:
        nonlocal tuned
        tuned += stage.name == "tune"
        if tuned > 5_000:
            raise TooMany

    program = f"def train(w, g, lr):\n    {body}\n"
    summary = run(tmp_path / "run", on_commit=counting, program=program)
    assert summary.tuned == summary.initial


def test_what_is_executed_is_live_and_of_bound_hyperparameters(tmp_path: Path) -> None:
    engine = FakeEngine()
    run(tmp_path / "run", engine)
    for job in engine.jobs:
        assert job.program == remove_dead_state(job.program)
        assert not job.program.with_role(Role.HYPERPARAMETER)


def test_protected_programs_are_executed_protected(tmp_path: Path) -> None:
    plain, protected = FakeEngine(), FakeEngine()
    run(tmp_path / "plain", plain)
    run(tmp_path / "protected", protected, protected=True)
    assert print_program(plain.jobs[0].program).count("abs(") == 1
    assert print_program(protected.jobs[0].program).count("abs(") == 2


def found_by(folder: Path, **changes: Any) -> dict[str, Any]:
    entries = run(folder, **changes).to_json()
    del entries["seconds"]
    best = entries.pop("best")
    assert isinstance(best, dict)
    assert best.pop("file") == str(folder / "best.opt")
    return entries | best


def test_the_same_run_again(tmp_path: Path) -> None:
    one, two = found_by(tmp_path / "one"), found_by(tmp_path / "two")
    assert one == two
    assert tables(tmp_path / "one") == tables(tmp_path / "two")
    assert found_by(tmp_path / "other", seed=5) != one
    assert (tmp_path / "one/best.opt").read_bytes() == (tmp_path / "two/best.opt").read_bytes()


def test_restarts(tmp_path: Path) -> None:
    """Three searches from the initial program, which differ, and one from the best of them."""
    summary = run(tmp_path / "run", restarts=3, programs=202)
    found = tables(tmp_path / "run")
    names = ["evolution-1", "evolution-2", "evolution-3", "evolution-best", "tune"]
    stages = sorted(found["stages"], key=lambda row: row[1])
    assert [row[0] for row in stages] == names
    proposals = {name: [row for row in found["proposals"] if row[0] == name] for name in names}
    assert [len(proposals[name]) - 1 for name in names[:4]] == [51, 51, 50, 50]
    assert summary.progress.programs == 202
    first = [rows[0] for rows in proposals.values()]
    assert [row[1] for row in first] == [-1] * 5
    initial = first[0][7]
    assert [row[7] == initial for row in first] == [True, True, True, False, True]
    keys = [[row[7] for row in proposals[name]] for name in names[:3]]
    assert keys[0] != keys[1] != keys[2] != keys[0]
    assert first[3][7] in set(chain(*keys))
    new = [len({row[7] for row in rows}) for rows in proposals.values()]
    assert new[4] - 1 == summary.progress.evaluations


def test_searches_may_start_from_the_tuned_program(tmp_path: Path) -> None:
    summary = run(tmp_path / "run", restarts=2, programs=160, tune_first=40)
    found = tables(tmp_path / "run")
    stages = {row[0]: row for row in sorted(found["stages"], key=lambda row: row[1])}
    assert list(stages) == ["tuning", "evolution-1", "evolution-2", "evolution-best", "tune"]
    assert summary.progress.programs == 160
    keys = {(row[0], row[1]): row[7] for row in found["proposals"]}
    tuned = stages["evolution-1"][4:]
    assert tuned == stages["evolution-2"][4:]
    assert tuned[0] == "tuning"
    assert stages["evolution-best"][4] in {"tuning", "evolution-1", "evolution-2"}
    for name in ("evolution-1", "evolution-2", "evolution-best"):
        assert keys[name, -1] == keys[stages[name][4:]]
    assert stages["tuning"][4:] == stages["tune"][4:] == (None, None)
    assert keys["tuning", -1] == keys["tune", -1] != keys["evolution-1", -1]
    assert "#   tuning -1, initial: " in summary.best_file.read_text(encoding="utf-8")


def test_nothing_to_tune_first(tmp_path: Path) -> None:
    program = "def train(w, g, lr):\n    return lr * g\n"
    summary = run(tmp_path / "run", tune_first=40, program=program)
    assert summary.progress.programs == CONFIG.programs
    assert [row[0] for row in tables(tmp_path / "run")["stages"]] == ["evolution-1", "tune"]


@pytest.mark.parametrize("programs", [1, 2, 3])
def test_fewer_programs_than_searches(tmp_path: Path, programs: int) -> None:
    summary = run(tmp_path / "run", restarts=3, programs=programs)
    assert summary.progress.programs == programs


class Stops(FakeEngine):
    """Is interrupted when so many outcomes were given."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.after = after

    def result(self, key: str) -> Outcome:
        self.after -= 1
        if self.after < 0:
            raise KeyboardInterrupt
        return super().result(key)


@pytest.mark.parametrize("restarts", [1, 2])
def test_a_run_that_was_stopped_goes_on(tmp_path: Path, restarts: int) -> None:
    """Anywhere, again and again, and nothing that was committed is judged a second time."""
    whole = FakeEngine()
    expected = run(tmp_path / "whole", whole, restarts=restarts).to_json()
    folder, judged = tmp_path / "run", list[str]()
    for after in (0, 1, 2, 17, 40, 3, 61, 0, 20, 1_000):
        engine = Stops(after)
        try:
            found = run(folder, engine, restarts=restarts).to_json()
        except KeyboardInterrupt:
            assert engine.closed
            assert sorted(p.name for p in folder.iterdir()) == [
                "config.toml",
                "run.lock",
                "run.sqlite",
            ]
        judged += [job.key for job in engine.jobs if job.key not in engine.waiting]
    assert sorted(judged) == sorted(job.key for job in whole.jobs)
    assert tables(folder) == tables(tmp_path / "whole")
    for entries in (expected, found):
        del entries["seconds"]
        entries["best"].pop("file")  # type: ignore[attr-defined]
    assert found == expected
    assert (folder / "best.opt").read_text() == (tmp_path / "whole" / "best.opt").read_text()


def test_a_finished_run_judges_nothing_again(tmp_path: Path) -> None:
    first = run(tmp_path / "run")
    engine = FakeEngine()
    again = run(tmp_path / "run", engine)
    assert engine.jobs == []
    assert again.best == first.best
    assert again.progress == first.progress
    assert again.seconds >= first.seconds


def test_a_run_of_another_configuration_is_not_continued(tmp_path: Path) -> None:
    run(tmp_path / "run")
    engine = FakeEngine()
    with pytest.raises(StoreError, match=r"config\.toml was changed"):
        run(tmp_path / "run", engine, seed=5)
    assert engine.jobs == []


def test_the_folder(tmp_path: Path) -> None:
    held = tmp_path / "held"
    held.mkdir()
    (held / "x").touch()
    with pytest.raises(FileExistsError, match="not empty"):
        create_folder(held, CONFIG)
    assert [path.name for path in held.iterdir()] == ["x"]
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        create_folder(tmp_path / "file", CONFIG)
    folder = tmp_path / "a" / "b"
    create_folder(folder, CONFIG)
    assert [path.name for path in folder.iterdir()] == ["config.toml"]
    assert (folder / "config.toml").read_text(encoding="utf-8") == to_toml(CONFIG)


def test_best_opt_tells_where_it_comes_from(tmp_path: Path) -> None:
    summary = run(tmp_path / "run")
    text = summary.best_file.read_text(encoding="utf-8")
    assert load(Source("best.opt", text)).operations == summary.best_program.operations
    comments = [line for line in text.splitlines() if line.startswith("#")]
    assert comments[0] == "# The best of 120 programs that optdsl 1.2.3 made for the task a task."
    assert f"validation {summary.best.fitness:.4f}" in text
    assert f"with its constants tuned: {summary.tuned.fitness:.4f}" in text
    (head,) = [i for i, line in enumerate(comments) if "Lineage" in line]
    gains = comments[head + 1 :]
    assert gains[0].startswith("#   evolution-1 -1, initial: ")
    fitnesses = [float(line.rpartition(": ")[2]) for line in gains]
    assert fitnesses == sorted(fitnesses)


def test_a_run_by_tuning_alone_is_its_own_baseline(tmp_path: Path) -> None:
    summary = run(tmp_path / "run", strategy="tune")
    assert summary.tuned == summary.best
    assert summary.tuned_program == summary.best_program


def test_commits_are_reported(tmp_path: Path) -> None:
    seen: list[tuple[Stage, int]] = []
    summary = run(
        tmp_path / "run", on_commit=lambda stage: seen.append((stage, stage.counts().programs))
    )
    names = [stage.name for stage, _ in seen]
    assert names.count("evolution-1") == 121
    assert set(names) == {"evolution-1", "tune"}
    evolution = [(stage, programs) for stage, programs in seen if stage.name == "evolution-1"]
    assert {(stage.programs, stage.evaluations) for stage, _ in evolution} == {(120, None)}
    assert evolution[-1][1] == summary.progress.programs == 120
    tuned = {(s.programs, s.evaluations) for s, _ in seen if s.name == "tune"}
    assert tuned == {(None, summary.progress.evaluations)}


def test_where_everything_fails(tmp_path: Path) -> None:
    summary = run(tmp_path / "run", FakeEngine(lambda program, seed: (FAILED, FAILED)))
    assert summary.best.fitness == summary.tuned.fitness == -math.inf
    text = summary.best_file.read_text()
    assert load(Source("best.opt", text)).operations == summary.best_program.operations


def test_a_program_that_crashes_its_worker_is_a_failed_one(tmp_path: Path) -> None:
    class Crashing(FakeEngine):
        def result(self, key: str) -> Outcome:
            found = super().result(key)
            crashes = not key.startswith("rescore") and key[0] in "0123"
            return Outcome(failure="crashed") if crashes else found

    run(tmp_path / "run", Crashing())
    rows = tables(tmp_path / "run")["programs"]
    crashed = [row for row in rows if row[4]]
    assert crashed
    assert len(crashed) < len(rows)
    for key, _, fitness, scores, failure, _ in crashed:
        assert (key[0] in "0123", fitness, scores, failure) == (True, FAILED, "[]", "crashed")


def test_no_partial_file_is_left_by_an_interrupt(tmp_path: Path) -> None:
    class StopsAtTheReport(FakeEngine):
        def result(self, key: str) -> Outcome:
            if self.waiting[key].rungs == (REPORT_SEEDS,):
                raise KeyboardInterrupt
            return super().result(key)

    engine = StopsAtTheReport()
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "run", engine)
    assert engine.closed
    names = sorted(path.name for path in (tmp_path / "run").iterdir())
    assert names == ["config.toml", "run.lock", "run.sqlite"]


def test_the_folder_is_refused_before_the_workers_start(tmp_path: Path) -> None:
    def start() -> FakeEngine:
        raise AssertionError("workers start")

    folder = tmp_path / "run"
    create_folder(folder, CONFIG)
    (folder / "run.sqlite").write_bytes(b"precious")
    with pytest.raises(StoreError, match="damaged"):
        Run(CONFIG, folder, start, lambda stage: None).run()


def test_a_baseline_that_has_nothing_new_to_propose_ends(tmp_path: Path) -> None:
    """A program without statements has one random program: itself."""
    nothing = "def train(g):\n    return g\n"
    summary = run(tmp_path / "run", program=nothing, baselines=("tune", "random"))
    assert summary.baselines["random"] == summary.initial


def test_what_is_written_trains_to_the_same_bits() -> None:
    """Dead statements, constants of constants, and what is computed twice go; nothing else."""
    text = """
def train(w, g, m, lr):
    a = 0.1 + 0.2
    x = g * a
    y = g * a
    z = x + y
    d = w * w
    m = interpolate(z, m, 0.9)
    u = sqrt(square(m))
    u = u * lr
    return u, m
"""
    program = load(Source("<test>", text))
    written = as_written(program)
    assert len(written.operations) == 6
    evaluator = BytecodeEvaluator(get_task("quadratic"), (0, 1))
    assert evaluator.evaluate(written, 0.01) == evaluator.evaluate(program, 0.01)
