"""`optdsl evolve`: a whole run, its folder, and that it can be repeated.

One compiled loop serves all runs but one, which is scored with as many seeds as a real one.
"""

import sqlite3
import tomllib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from optdsl.diagnostics import Source
from optdsl.evolve import run as run_module
from optdsl.evolve.rescore import REPORT_SEEDS
from optdsl.evolve.store import Store
from optdsl.frontend import find_source, load
from optdsl.ir import print_program
from optdsl.passes.hashing import structural_hash
from optdsl.tasks import get_task
from optdsl.tasks.evaluation import BytecodeEvaluator, Scores, evaluate_jitted
from optdsl.tasks.task import Task

KEYS = {
    "programs",
    "evaluations",
    "cache_hits",
    "hit_rate",
    "invalid",
    "redundant_fraction",
    "seconds",
    "initial_fitness",
    "tuned_fitness",
    "best",
}
BEST_KEYS = {"fitness", "test_fitness", "hash", "statements", "file"}
SMALL = ("evolve", "--task", "quadratic", "--programs", 60, "--population", 10, "--json")
TABLES = ("programs", "proposals")


@cache
def _compiled(task: Task, count: int) -> Any:
    return BytecodeEvaluator(task, range(count))._run


def shared_evaluator(task: Task, seeds: tuple[int, ...]) -> Any:
    """An evaluator that shares its compiled loop with all others of as many seeds."""
    evaluator = BytecodeEvaluator(task, seeds)
    evaluator._run = _compiled(task, len(seeds))
    return evaluator


@pytest.fixture
def few_choices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs choose with three seeds, as many as they search with."""
    monkeypatch.setattr(run_module, "BytecodeEvaluator", shared_evaluator)
    monkeypatch.setattr(run_module, "CHOICE_SEEDS", (1000, 1001, 1002))


@pytest.fixture
def few_seeds(monkeypatch: pytest.MonkeyPatch, few_choices: None) -> None:
    """Runs score with three seeds everywhere."""
    monkeypatch.setattr(run_module, "REPORT_SEEDS", (2000, 2001, 2002))


def tables(folder: Path) -> dict[str, list[tuple[Any, ...]]]:
    """All rows and columns of a run's database."""
    with sqlite3.connect(folder / "run.sqlite") as db:
        found = {name: db.execute(f"SELECT * FROM {name}").fetchall() for name in TABLES}
    db.close()
    return found


def check_database(folder: Path, summary: dict[str, Any]) -> None:
    """The database is whole, and says what the summary says."""
    db = sqlite3.connect(folder / "run.sqlite")
    db.row_factory = sqlite3.Row
    assert db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    assert db.execute("PRAGMA foreign_key_check").fetchall() == []
    rows = db.execute("SELECT * FROM proposals WHERE stage = 'evolution'").fetchall()
    assert [row["number"] for row in rows] == list(range(-1, summary["programs"]))
    assert rows[0]["parent"] is None
    assert rows[0]["mutation"] == "initial"
    for row in rows[1:]:
        assert -1 <= row["parent"] < row["number"]
        assert row["mutation"] in ("insert", "delete", "modify")
        assert 0 <= row["live_statements"] <= row["statements"]
    assert sum(row["invalid"] for row in rows) == summary["invalid"]
    keys = {row["key"] for row in rows}
    assert len(keys) == summary["evaluations"] + 1  # the initial program's
    programs = {row["key"]: row for row in db.execute("SELECT * FROM programs")}
    assert keys <= set(programs)
    assert summary["best"]["hash"] in keys
    tuned = list(db.execute("SELECT * FROM proposals WHERE stage = 'tune'"))
    assert {row["key"] for row in tuned} | keys == set(programs)
    assert len({row["key"] for row in tuned}) == summary["evaluations"] + 1
    for key, row in programs.items():
        assert structural_hash(load(Source("<row>", row["text"]))) == key
        assert row["fitness"] == row["fitness"]
    db.close()


def check_summary(summary: dict[str, Any]) -> None:
    assert set(summary) >= KEYS
    assert set(summary["best"]) >= BEST_KEYS
    assert summary["programs"] == summary["evaluations"] + summary["cache_hits"]
    assert summary["hit_rate"] == summary["cache_hits"] / summary["programs"]
    assert 0 <= summary["redundant_fraction"] < 1
    assert summary["seconds"] > 0


def check_best(cli: Any, folder: Path, summary: dict[str, Any], rate: float) -> None:
    """`best.opt` is what the summary says."""
    best = Path(summary["best"]["file"])
    assert best == folder / "best.opt"
    assert cli("check", best).code == 0
    assert cli("fmt", "--check", best).code == 0
    sheet = cli("inspect", best, "--json").json
    assert sheet["hash"]["structural"] == summary["best"]["hash"]
    assert sheet["statements"] == sheet["live_statements"] == summary["best"]["statements"]
    assert sheet["dead_lines"] == []
    program, task = load(find_source(str(best))), get_task("quadratic")
    again = shared_evaluator(task, run_module.REPORT_SEEDS).evaluate(program, rate)
    assert again.fitness == pytest.approx(summary["best"]["fitness"], rel=1e-6)
    assert again.test_fitness == pytest.approx(summary["best"]["test_fitness"], rel=1e-6)


@pytest.mark.usefixtures("few_choices")
def test_a_run_with_all_its_report_seeds(cli, tmp_path: Path) -> None:
    out = tmp_path / "runs" / "deep" / "run"
    result = cli(*SMALL, "--out", out)
    assert result.code == 0
    summary = result.json
    check_summary(summary)
    assert summary["programs"] == 60
    check_database(out, summary)
    assert len(REPORT_SEEDS) == 16
    check_best(cli, out, summary, rate=1.0)
    # Another lowering, so not to the bit; see tests/unit/backends/test_bytecode.py.
    program = load(find_source(str(out / "best.opt")))
    again = evaluate_jitted(get_task("quadratic"), program, REPORT_SEEDS, 1.0)
    assert again.fitness == pytest.approx(summary["best"]["fitness"], rel=1e-3)
    assert again.test_fitness == pytest.approx(summary["best"]["test_fitness"], rel=1e-3)
    assert sorted(path.name for path in out.iterdir()) == ["best.opt", "config.toml", "run.sqlite"]
    for part in ("searching for quadratic", "as started", "verdict: ", "written to"):
        assert part in result.err


@pytest.mark.usefixtures("few_seeds")
def test_the_same_run_twice_and_another_seed(cli, tmp_path: Path) -> None:
    runs = {}
    for name, seed in (("one", 7), ("two", 7), ("other", 8)):
        runs[name] = cli(*SMALL, "--seed", seed, "--out", tmp_path / name).json
        check_summary(runs[name])
        check_database(tmp_path / name, runs[name])
        check_best(cli, tmp_path / name, runs[name], rate=1.0)
    assert tables(tmp_path / "one") == tables(tmp_path / "two")
    assert tables(tmp_path / "one") != tables(tmp_path / "other")
    for run in runs.values():
        del run["seconds"], run["best"]["file"]
    assert runs["one"] == runs["two"] != runs["other"]
    texts = [(tmp_path / name / "best.opt").read_text() for name in ("one", "two")]
    assert texts[0] == texts[1]


@pytest.mark.usefixtures("few_seeds")
def test_the_configuration_repeats_the_run(cli, tmp_path: Path) -> None:
    """And holds whatever a program's docstring does."""
    program = tmp_path / "start.opt"
    program.write_text(
        '"""A \\ "quoted" start,\nin two lines: β."""\n\n'
        "def train(w, g, m, lr, β1=0.9, wd=1e-3):\n    m = interp(g, m, β1)\n"
        "    return lr * (m + wd * w), m\n"
    )
    first = cli(*SMALL, program, "--lr", 0.012345678, "--seed", 3, "--tournament", 3,
                "--functions", "extended", "--out", tmp_path / "one")  # fmt: skip
    assert first.code == 0
    config = tomllib.loads((tmp_path / "one" / "config.toml").read_text(encoding="utf-8"))
    again = tmp_path / "again.opt"
    again.write_text(config["program"], encoding="utf-8")
    options = [f"--{key}={config[key]}" for key in ("task", "programs", "population", "tournament",
                                                    "seed", "strategy", "functions")]  # fmt: skip
    second = cli("evolve", again, *options, f"--lr={config['learning_rate']!r}", "--json",
                 "--out", tmp_path / "two")  # fmt: skip
    assert second.code == 0
    assert config["protected"] is False
    assert config["version"]
    assert tables(tmp_path / "one") == tables(tmp_path / "two")
    assert (tmp_path / "two" / "config.toml").read_text() == (
        tmp_path / "one" / "config.toml"
    ).read_text()
    # Hyperparameters became constants, which the search may change.
    assert "wd" not in (tmp_path / "one" / "best.opt").read_text().partition("def train")[2][:40]
    check_best(cli, tmp_path / "one", first.json, rate=0.012345678)


@pytest.mark.usefixtures("few_seeds")
def test_the_command_in_best_opt_trains_with_the_runs_learning_rate(cli, tmp_path: Path) -> None:
    rate = 0.0123456789
    cli(*SMALL, "lion", "--lr", rate, "--out", tmp_path / "run")
    text = (tmp_path / "run" / "best.opt").read_text()
    (line,) = [line for line in text.splitlines() if "optdsl train" in line]
    assert float(line.rpartition("--lr ")[2]) == rate


@pytest.mark.usefixtures("few_seeds")
@pytest.mark.parametrize("strategy", ["tune", "random"])
def test_strategies(cli, tmp_path: Path, strategy: str) -> None:
    result = cli(*SMALL, "--strategy", strategy, "--out", tmp_path / "run")
    assert result.code == 0
    summary = result.json
    check_summary(summary)
    check_best(cli, tmp_path / "run", summary, rate=1.0)
    found = tables(tmp_path / "run")
    stages = [row[0] for row in found["proposals"]]
    assert stages.count(strategy) == 61
    mutations = {row[3] for row in found["proposals"] if row[0] == strategy}
    assert mutations == {"initial", strategy}
    if strategy == "tune":
        assert set(stages) == {"tune"}
        assert summary["tuned_fitness"] == summary["best"]["fitness"]
        assert {row[5] for row in found["proposals"]} == {10}, "constants only: as many statements"
        assert summary["redundant_fraction"] == 0


@pytest.mark.usefixtures("few_seeds")
def test_protected(cli, tmp_path: Path) -> None:
    result = cli(*SMALL, "--protected", "--seed", 3, "--out", tmp_path / "run")
    assert result.code == 0
    check_summary(result.json)
    config = tomllib.loads((tmp_path / "run" / "config.toml").read_text())
    assert config["protected"] is True
    check_best(cli, tmp_path / "run", result.json, rate=1.0)


@pytest.mark.usefixtures("few_seeds")
def test_functions_of_the_extended_set(
    cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the register machine can't run goes to the jitted lowering."""
    jitted: list[str] = []

    def fake(task: Task, program: Any, seeds: tuple[int, ...], rate: float) -> Scores:
        jitted.append(print_program(program))
        return Scores((-100.0,) * len(seeds), (-100.0,) * len(seeds))

    monkeypatch.setattr(run_module, "evaluate_jitted", fake)
    result = cli(*SMALL, "--functions", "extended", "--strategy", "random", "--out", tmp_path / "r")
    assert result.code == 0
    check_summary(result.json)
    texts = "".join(row[1] for row in tables(tmp_path / "r")["programs"])
    assert any(f"{name}(" in texts for name in ("mean", "sum", "floor", "where"))
    assert jitted
    matrix = ("row_mean", "column_mean", "transpose", "matmul")
    assert all(any(f"{name}(" in text for name in matrix) for text in jitted)


@pytest.mark.usefixtures("few_seeds")
def test_a_program_with_hyperparameters_starts_from_their_defaults(cli, tmp_path: Path) -> None:
    result = cli(*SMALL, "adam", "--programs", 5, "--out", tmp_path / "run")
    assert result.code == 0
    config = tomllib.loads((tmp_path / "run" / "config.toml").read_text())
    assert config["learning_rate"] == get_task("quadratic").learning_rate
    start = evaluate_jitted(
        get_task("quadratic"), load(find_source("adam")), (2000, 2001, 2002), 0.1
    )
    assert result.json["initial_fitness"] == pytest.approx(start.fitness, rel=1e-4)


@pytest.mark.usefixtures("few_seeds")
def test_a_program_without_constants_has_nothing_to_tune(
    cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tuned baseline ends at once; it must not make proposals without end."""
    commit, tuned = Store.commit, 0

    def counted(self: Store, one: Any) -> None:
        nonlocal tuned
        tuned += one.stage == "tune"
        assert tuned < 1000, "tuning goes on and on"
        commit(self, one)

    monkeypatch.setattr(Store, "commit", counted)
    result = cli(*SMALL, "sgd", "--out", tmp_path / "run")
    assert result.code == 0
    assert result.json["tuned_fitness"] == result.json["initial_fitness"]


def test_a_program_with_errors(cli, write, tmp_path: Path) -> None:
    out = tmp_path / "run"
    broken = write("broken.opt", "def train(g):\n    return h\n")
    result = cli(*SMALL, broken, "--out", out)
    assert (result.code, result.out) == (1, "")
    assert "E101" in result.err
    result = cli(*SMALL, tmp_path / "missing.opt", "--out", out)
    assert (result.code, result.out) == (2, "")
    assert not out.exists()


@pytest.mark.parametrize(
    "wrong",
    [
        ("--task", "quadratik"),
        ("--programs", 0),
        ("--population", 0),
        ("--tournament", 0),
        ("--seed", -1),
        ("--strategy", "luck"),
        ("--functions", "none"),
        ("--lr", 0),
        ("--lr", "-1"),
        ("--lr", "nan"),
        ("--lr", "inf"),
    ],
    ids=lambda args: " ".join(map(str, args)),
)
def test_wrong_options_are_usage_errors_and_leave_no_folder(
    cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: tuple[object, ...]
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("the search begins")

    monkeypatch.setattr(run_module.Run, "run", never)
    result = cli(*SMALL, *wrong, "--out", tmp_path / "run")
    assert (result.code, result.out) == (2, "")
    assert result.err
    assert not (tmp_path / "run").exists()


def test_a_folder_that_holds_anything_is_refused_and_left_alone(cli, tmp_path: Path) -> None:
    held = tmp_path / "run"
    held.mkdir()
    (held / "best.opt").write_text("precious")
    file = tmp_path / "file"
    file.write_text("precious")
    under = file / "run"
    for out in (held, file, under):
        result = cli(*SMALL, "--out", out)
        assert (result.code, result.out) == (2, "")
        assert str(out) in result.err
        assert len(result.err.splitlines()) == 1
    assert [path.name for path in held.iterdir()] == ["best.opt"]
    assert (held / "best.opt").read_text() == file.read_text() == "precious"


@pytest.mark.usefixtures("few_seeds")
def test_an_empty_folder_is_used_and_without_one_runs_are_numbered(
    cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    short = ("evolve", "--task", "quadratic", "--programs", 2, "--population", 2, "--json")
    Path("empty").mkdir()
    assert cli(*short, "--out", "empty").json["best"]["file"] == "empty/best.opt"
    for number in (1, 2):
        assert cli(*short).json["best"]["file"] == f"runs/quadratic-{number}/best.opt"


@pytest.fixture
def interrupted(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Ctrl-C in the middle of an evaluation."""
    evaluate = BytecodeEvaluator.evaluate

    def after(evaluations: int) -> None:
        calls = 0

        def evaluating(self: BytecodeEvaluator, *args: Any) -> Scores:
            nonlocal calls
            calls += 1
            if calls > evaluations:
                raise KeyboardInterrupt
            return evaluate(self, *args)

        monkeypatch.setattr(BytecodeEvaluator, "evaluate", evaluating)

    return after


@pytest.mark.usefixtures("few_seeds")
@pytest.mark.parametrize("evaluations", [0, 20])
def test_an_interrupt_loses_nothing_that_was_committed(
    cli, tmp_path: Path, interrupted: Callable[[int], None], evaluations: int
) -> None:
    out = tmp_path / "run"
    interrupted(evaluations)
    result = cli(*SMALL, "--out", out)
    assert (result.code, result.out) == (130, "")
    assert f"what was committed is in {out / 'run.sqlite'}" in result.err
    assert result.err.splitlines()[-1] == "optdsl: interrupted"
    assert sorted(path.name for path in out.iterdir()) == ["config.toml", "run.sqlite"]
    found = tables(out)
    assert len(found["programs"]) == evaluations
    numbers = [row[1] for row in found["proposals"]]
    assert numbers == list(range(-1, len(numbers) - 1))
    db = sqlite3.connect(out / "run.sqlite")
    assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    db.close()
    # What was committed is the beginning of the whole run.
    whole = tmp_path / "whole"
    interrupted(1_000_000)
    cli(*SMALL, "--out", whole)
    rows = [row for row in tables(whole)["proposals"] if row[0] == "evolution"]
    assert rows[: len(numbers)] == found["proposals"]


@pytest.mark.usefixtures("few_seeds")
def test_people_read_stderr(cli, tmp_path: Path) -> None:
    without_json = SMALL[:-1]
    result = cli(*without_json, "--programs", 5, "--out", tmp_path / "run")
    assert (result.code, result.out) == (0, "")
    assert "best of evolution" in result.err
