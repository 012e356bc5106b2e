"""`optdsl evolve`: a whole run, its folder, and that it can be repeated and continued.

All runs are judged inside of this process, which compiles one loop for all of them.
"""

import json
import random
import shutil
import sqlite3
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.search import tables

from optdsl.backends.bytecode import INSTRUCTIONS
from optdsl.cli import main
from optdsl.diagnostics import Source
from optdsl.evolve import judge as judge_module
from optdsl.evolve import run as run_module
from optdsl.evolve.best import as_written
from optdsl.evolve.config import RECIPES, read_config
from optdsl.evolve.engines import serial
from optdsl.evolve.judge import EVALUATORS, Job, JudgeSpec, Outcome, Prepare, Run, prepare_for
from optdsl.evolve.rescore import REPORT_SEEDS
from optdsl.evolve.store import Store, lock
from optdsl.frontend import find_source, load
from optdsl.ir import Program, Role, print_program
from optdsl.ops import OPS
from optdsl.passes.hashing import structural_hash
from optdsl.passes.live import reads_numbers, remove_dead_state
from optdsl.tasks import TaskSource, get_task
from optdsl.tasks.evaluation import evaluate_jitted
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
SMALL = ("evolve", "--task", "quadratic", "--programs", 60, "--population", 10, "--workers", 0,
         "--tune-first", 0, "--json")  # fmt: skip


def check_database(folder: Path, summary: dict[str, Any]) -> None:
    """The database is whole, and says what the summary says."""
    db = sqlite3.connect(folder / "run.sqlite")
    db.row_factory = sqlite3.Row
    assert db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    assert db.execute("PRAGMA foreign_key_check").fetchall() == []
    rows = db.execute("SELECT * FROM proposals WHERE stage = 'evolution-1'").fetchall()
    assert [row["number"] for row in rows] == list(range(-1, summary["programs"]))
    assert rows[0]["parent"] is None
    assert rows[0]["mutation"] == "initial"
    for row in rows[1:]:
        assert -1 <= row["parent"] < row["number"]
        assert row["mutation"] in ("insert", "delete", "modify", "tune")
        assert 0 <= row["live_statements"] <= row["statements"]
    assert sum(row["invalid"] for row in rows) == summary["invalid"]
    keys = {row["key"] for row in rows}
    assert len(keys) == summary["evaluations"] + 1  # the initial program's
    programs = {row["key"]: row for row in db.execute("SELECT * FROM programs")}
    assert keys <= set(programs)
    found = [
        as_written(remove_dead_state(load(Source("<row>", programs[k]["text"])))) for k in keys
    ]
    assert summary["best"]["hash"] in map(structural_hash, found)
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
    prepare = prepare_for(JudgeSpec(TaskSource("quadratic"), rate, "bytecode"))
    validation, test = zip(*prepare(load(find_source(str(best))))(REPORT_SEEDS), strict=True)
    assert sum(validation) / 16 == pytest.approx(summary["best"]["fitness"], rel=1e-6)
    assert sum(test) / 16 == pytest.approx(summary["best"]["test_fitness"], rel=1e-6)


def test_a_run_and_its_folder(cli, tmp_path: Path) -> None:
    out = tmp_path / "runs" / "deep" / "run"
    result = cli(*SMALL, "--out", out)
    assert result.code == 0
    summary = result.json
    check_summary(summary)
    assert summary["programs"] == 60
    check_database(out, summary)
    check_best(cli, out, summary, rate=1.0)
    # Another lowering, so not to the bit; see tests/unit/backends/test_bytecode.py.
    program = load(find_source(str(out / "best.opt")))
    again = evaluate_jitted(get_task("quadratic"), program, REPORT_SEEDS, 1.0)
    assert again.fitness == pytest.approx(summary["best"]["fitness"], rel=1e-3)
    assert again.test_fitness == pytest.approx(summary["best"]["test_fitness"], rel=1e-3)
    assert sorted(path.name for path in out.iterdir()) == [
        "best.opt",
        "config.toml",
        "run.lock",
        "run.sqlite",
    ]
    for part in (
        "searching for quadratic",
        "as started",
        "started from: AdamW: Program 3",
        "verdict: ",
        "written to",
    ):
        assert part in result.err


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
                                                    "seed", "strategy", "functions", "evaluator",
                                                    "lag")]  # fmt: skip
    options += [
        f"--tune-first={config['tune_first']}",
        f"--seeds={','.join(map(str, config['seeds']))}",
        f"--hurdle={','.join(str(100 * hurdle) for hurdle in config['hurdles'])}",
    ]
    options += [f"--cache-level={config['cache_level']}", f"--lr={config['learning_rate']!r}"]
    second = cli("evolve", again, *options, "--json", "--workers", 0, "--out", tmp_path / "two")
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


def test_the_command_in_best_opt_trains_with_the_runs_learning_rate(cli, tmp_path: Path) -> None:
    rate = 0.0123456789
    cli(*SMALL, "lion", "--lr", rate, "--out", tmp_path / "run")
    text = (tmp_path / "run" / "best.opt").read_text()
    (line,) = [line for line in text.splitlines() if "optdsl train" in line]
    assert float(line.rpartition("--lr ")[2]) == rate


@pytest.mark.parametrize("strategy", ["tune", "random"])
def test_strategies(cli, tmp_path: Path, strategy: str) -> None:
    result = cli(*SMALL, "--strategy", strategy, "--out", tmp_path / "run")
    assert result.code == 0
    summary = result.json
    check_summary(summary)
    check_best(cli, tmp_path / "run", summary, rate=1.0)
    found = tables(tmp_path / "run")
    stages = [row[0] for row in found["proposals"]]
    assert stages.count(f"{strategy}-1") == 61
    mutations = {row[3] for row in found["proposals"] if row[0] == f"{strategy}-1"}
    assert mutations == {"initial", strategy}
    if strategy == "tune":
        assert set(stages) == {"tune-1"}
        assert summary["tuned_fitness"] == summary["best"]["fitness"]
        assert {row[5] for row in found["proposals"]} == {10}, "constants only: as many statements"
        assert summary["redundant_fraction"] == 0


def test_protected(cli, tmp_path: Path) -> None:
    result = cli(*SMALL, "--protected", "--seed", 3, "--out", tmp_path / "run")
    assert result.code == 0
    check_summary(result.json)
    config = tomllib.loads((tmp_path / "run" / "config.toml").read_text())
    assert config["protected"] is True
    check_best(cli, tmp_path / "run", result.json, rate=1.0)


def test_programs_keep_the_learning_rate(cli, write, tmp_path: Path) -> None:
    result = cli(*SMALL, "--keep-lr", "--seed", 3, "--out", tmp_path / "run")
    assert result.code == 0
    assert read_config(tmp_path / "run").keep_lr
    with sqlite3.connect(tmp_path / "run" / "run.sqlite") as db:
        texts = [text for (text,) in db.execute("SELECT text FROM programs")]
    assert len(texts) > 10
    programs = [load(Source("<run>", text)) for text in texts]
    assert all(reads_numbers(one, Role.LEARNING_RATE) for one in programs)
    file = write("plain.opt", "def train(g):\n    return 0.1 * g\n")
    result = cli("evolve", file, "--keep-lr", "--out", tmp_path / "other")
    assert (result.code, "depends on `lr`" in result.err) == (2, True)
    assert not (tmp_path / "other").exists()


def test_functions_of_the_extended_set(
    cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the register machine can't run goes to the jitted lowering."""
    jitted: list[str] = []

    def fake(task: Task, learning_rate: float) -> Prepare:
        def prepare(program: Program) -> Run:
            jitted.append(print_program(program))
            return lambda seeds: [(-100.0, -100.0)] * len(seeds)

        return prepare

    monkeypatch.setattr(judge_module, "jit_evaluator", fake)
    result = cli(*SMALL, "--functions", "extended", "--strategy", "random", "--out", tmp_path / "r")
    assert result.code == 0
    check_summary(result.json)
    texts = "".join(row[1] for row in tables(tmp_path / "r")["programs"])
    assert any(f"{name}(" in texts for name in ("mean", "sum", "floor", "where"))
    assert jitted
    matrix = [op.name for op in OPS if op.args and op not in INSTRUCTIONS]
    assert all(any(f"{name}(" in text for name in matrix) for text in jitted)


def test_a_program_with_hyperparameters_starts_from_their_defaults(cli, tmp_path: Path) -> None:
    result = cli(*SMALL, "adam", "--programs", 5, "--out", tmp_path / "run")
    assert result.code == 0
    config = tomllib.loads((tmp_path / "run" / "config.toml").read_text())
    assert config["learning_rate"] == get_task("quadratic").learning_rate
    start = evaluate_jitted(get_task("quadratic"), load(find_source("adam")), REPORT_SEEDS, 0.1)
    assert result.json["initial_fitness"] == pytest.approx(start.fitness, rel=1e-4)


def test_a_program_without_constants_has_nothing_to_tune(
    cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tuned baseline ends at once; it must not make proposals without end."""
    commit, tuned = Store.commit, 0

    def counted(self: Store, one: Any) -> bool:
        nonlocal tuned
        tuned += one.stage == "tune"
        assert tuned < 1000, "tuning goes on and on"
        return commit(self, one)

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
        ("--workers", -1),
        ("--engine", "cloud"),
        ("--deadline", 0),
        ("--deadline", "nan"),
        ("--restarts", 0),
        ("--lag", 0),
        ("--recipe", "cake"),
        ("--evaluator", "abacus"),
        ("--cache-level", "loose"),
        ("--baseline-compute", 0),
        ("--seeds", "many"),
        ("--seeds", ""),
        ("--seeds", "1.5"),
        ("--seeds", "0"),
        ("--seeds", "3,1", "--hurdle", "50"),
        ("--seeds", "1,3"),
        ("--seeds", "3", "--hurdle", "50"),
        ("--seeds", "1,3", "--hurdle", "100"),
        ("--seeds", "1,3", "--hurdle", "nan"),
        ("--seeds", "1,2000", "--hurdle", "50"),
        ("--hurdle", "50"),
        ("--hurdle", "most"),
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
        result = cli(*SMALL, "--evaluator", "bytecode", "--out", out)
        assert (result.code, result.out) == (2, "")
        assert str(out) in result.err
        assert result.err.startswith("optdsl: ")
        assert len(result.err.splitlines()) == 1
    assert [path.name for path in held.iterdir()] == ["best.opt"]
    assert (held / "best.opt").read_text() == file.read_text() == "precious"


def test_an_empty_folder_is_used_and_without_one_runs_are_numbered(
    cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    short = (*SMALL, "--programs", 2, "--population", 2)
    Path("empty").mkdir()
    assert cli(*short, "--out", "empty").json["best"]["file"] == "empty/best.opt"
    for number in (1, 2):
        assert cli(*short).json["best"]["file"] == f"runs/quadratic-{number}/best.opt"


@pytest.fixture
def interrupted(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Ctrl-C in the middle of a job."""
    judge = serial.judge

    def after(jobs: int) -> None:
        calls = 0

        def judging(spec: JudgeSpec, job: Job) -> Outcome:
            nonlocal calls
            calls += 1
            if calls > jobs:
                raise KeyboardInterrupt
            return judge(spec, job)

        monkeypatch.setattr(serial, "judge", judging)

    return after


@pytest.mark.parametrize("jobs", [0, 1, 20])
def test_an_interrupt_loses_nothing_that_was_committed(
    cli, tmp_path: Path, interrupted: Callable[[int], None], jobs: int
) -> None:
    out = tmp_path / "run"
    interrupted(jobs)
    result = cli(*SMALL, "--out", out)
    assert (result.code, result.out) == (130, "")
    assert f"what was committed is in {out / 'run.sqlite'}" in result.err
    assert f"go on with: optdsl evolve --resume {out}\n" in result.err
    assert result.err.splitlines()[-1] == "optdsl: interrupted"
    assert sorted(path.name for path in out.iterdir()) == ["config.toml", "run.lock", "run.sqlite"]
    found = tables(out)
    assert len(found["programs"]) == max(jobs - 1, 0), "the first job is the baseline"
    numbers = [row[1] for row in found["proposals"]]
    assert numbers == list(range(-1, len(numbers) - 1))
    db = sqlite3.connect(out / "run.sqlite")
    assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    db.close()
    # What was committed is the beginning of the whole run.
    whole = tmp_path / "whole"
    interrupted(1_000_000)
    expected = cli(*SMALL, "--out", whole)
    rows = [row for row in tables(whole)["proposals"] if row[0] == "evolution-1"]
    assert rows[: len(numbers)] == found["proposals"]
    # And goes on to the same end.
    resumed = cli("evolve", "--resume", out, "--workers", 0, "--json")
    assert resumed.code == 0
    assert f"going on for quadratic in {out}" in resumed.err
    assert tables(out) == tables(whole)
    one, two = expected.json, resumed.json
    for summary in (one, two):
        del summary["seconds"], summary["best"]["file"]
    assert one == two


def test_people_read_stderr(cli, tmp_path: Path) -> None:
    without_json = SMALL[:-1]
    result = cli(*without_json, "--programs", 5, "--out", tmp_path / "run")
    assert (result.code, result.out) == (0, "")
    assert "best of evolution" in result.err


SHORT = (*SMALL, "--programs", 20)


@pytest.mark.parametrize("recipe", RECIPES)
def test_recipes(cli, tmp_path: Path, recipe: str) -> None:
    """An option wins over its recipe."""
    result = cli("evolve", "--task", "quadratic", "--workers", 0, "--json", "--programs", 5,
                 "--recipe", recipe, "--tournament", 7, "--out", tmp_path / "run")  # fmt: skip
    assert result.code == 0
    config, expected = read_config(tmp_path / "run"), RECIPES[recipe]
    assert (config.population, config.tournament) == (expected.population, 7)
    assert (config.seeds, config.hurdles) == (expected.seeds, expected.hurdles)
    assert config.mutations == expected.mutations
    assert (result.json["seeds"], result.json["hurdles"]) == (
        list(expected.seeds),
        list(expected.hurdles),
    )


def test_seeds_and_hurdles(cli, tmp_path: Path) -> None:
    """A program is trained on the seeds of a rung only if it clears the hurdle before it."""
    assert cli(*SMALL, "--seeds", "2,3,5", "--hurdle", "40,90", "--out", tmp_path / "run").code == 0
    config = read_config(tmp_path / "run")
    assert (config.seeds, config.hurdles) == ((2, 3, 5), (0.4, 0.9))
    rows = tables(tmp_path / "run")["programs"]
    counts = [len(json.loads(row[3])) for row in rows if "null" not in row[3]]
    assert {2, 5} <= set(counts) <= {2, 3, 5}
    assert cli(*SHORT, "--seeds", 4, "--out", tmp_path / "plain").code == 0
    config = read_config(tmp_path / "plain")
    assert (config.seeds, config.hurdles) == ((4,), ())


def test_the_evaluator_is_chosen_and_kept(cli, tmp_path: Path) -> None:
    result = cli(*SHORT, "--out", tmp_path / "run")
    assert result.json["evaluator"] == read_config(tmp_path / "run").evaluator == "bytecode"
    assert result.err.startswith("bytecode evaluator: ")
    assert "bytecode evaluator, 0 workers" in result.err
    given = cli(*SHORT, "--evaluator", "bytecode", "--out", tmp_path / "given")
    assert given.err.startswith("searching for quadratic")
    assert tables(tmp_path / "run") == tables(tmp_path / "given")


def test_the_jit_evaluator_finds_the_same_but_for_rounding(cli, tmp_path: Path) -> None:
    short = (*SMALL, "--programs", 2, "--seeds", 1, "sgd")
    found = {}
    for name in EVALUATORS:
        result = cli(*short, "--evaluator", name, "--out", tmp_path / name)
        assert result.json["evaluator"] == name
        found[name] = result.json["initial_fitness"]
    assert found["jit"] == pytest.approx(found["bytecode"], rel=1e-4)


def test_the_random_baseline(cli, tmp_path: Path) -> None:
    result = cli(*SHORT, "--random-baseline", "--out", tmp_path / "run")
    assert result.code == 0
    assert list(result.json["baselines"]) == ["tune", "random"]
    assert "best of random" in result.err
    stages = [row[0] for row in tables(tmp_path / "run")["proposals"]]
    assert set(stages) == {"evolution-1", "tune", "random"}


def test_restarts(cli, tmp_path: Path) -> None:
    result = cli(*SMALL, "--restarts", 2, "--out", tmp_path / "run")
    assert result.json["programs"] == 60
    rows = sorted(tables(tmp_path / "run")["stages"], key=lambda row: row[1])
    assert [row[0] for row in rows] == ["evolution-1", "evolution-2", "evolution-best", "tune"]


def test_cache_levels(cli, tmp_path: Path) -> None:
    """A looser key makes more proposals equal."""
    hits = {}
    for level in ("structural", "canonical", "behavioural"):
        hits[level] = cli(*SMALL, "--cache-level", level, "--out", tmp_path / level).json[
            "cache_hits"
        ]
    assert hits["structural"] <= hits["canonical"]
    assert hits["structural"] <= hits["behavioural"]


def finished(cli, folder: Path) -> Path:
    assert cli(*SHORT, "--out", folder).code == 0
    return folder


def test_a_finished_run_may_be_resumed(cli, tmp_path: Path) -> None:
    """It says again what it found."""
    first = cli(*SHORT, "--out", tmp_path / "run")
    before = tables(tmp_path / "run")
    again = cli("evolve", "--resume", tmp_path / "run", "--workers", 0, "--json")
    assert again.code == 0
    one, two = first.json, again.json
    del one["seconds"], two["seconds"]
    assert one == two
    assert tables(tmp_path / "run") == before


def test_a_folder_in_use_is_refused(cli, tmp_path: Path) -> None:
    folder = finished(cli, tmp_path / "run")
    with lock(folder):
        result = cli("evolve", "--resume", folder, "--workers", 0)
    assert (result.code, result.out) == (2, "")
    assert result.err.splitlines()[-1] == (
        f"optdsl: another process is running the search in {folder}"
    )


RESUME = ("evolve", "--workers", 0, "--resume")


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("lion",), "FILE"),
        (("--programs", 60), "--programs"),
        (("--seed", 1), "--seed"),
        (("--seeds", "1"), "--seeds"),
        (("--hurdle", "50"), "--hurdle"),
        (("--lr", 0.1), "--lr"),
        (("--protected",), "--protected"),
        (("--keep-lr",), "--keep-lr"),
        (("--random-baseline",), "--random-baseline"),
        (("--cache-level", "canonical"), "--cache-level"),
        (("--recipe", "paper"), "--recipe"),
        (("--out", "elsewhere"), "--out"),
    ],
)
def test_what_the_folder_says_can_not_be_given_again(
    cli, tmp_path: Path, options: tuple[object, ...], named: str
) -> None:
    result = cli(*RESUME, tmp_path, *options)
    assert (result.code, result.out) == (2, "")
    assert result.err == (f"optdsl: {named} can't be given with --resume: the run folder says it\n")


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seed = 0", "seed = 1", "config.toml was changed since the run began"),
        ("programs = 20", "programs = 21", "config.toml was changed since the run began"),
        ("m = interp", "mm = interp", "config.toml was changed since the run began"),
        ("programs = 20", "programs = ", "config.toml is no configuration of a run"),
        ("programs = 20", "program = 20", "config.toml is no configuration of a run"),
        ("programs = 20", "programmes = 20", "config.toml has an unknown field `programmes`"),
        ("seeds = [1,", "seeds = [5,", "config.toml is no configuration of a run"),
        ('version = "', 'version = "0.0.0+', "was begun by optdsl 0.0.0+"),
        ('task = "quadratic"', 'task = "quadratik"', "no task is called `quadratik`"),
        ('task = "quadratic"', 'task = "digits_mlp"', "is not the one that"),
        ('evaluator = "bytecode"', 'evaluator = "abacus"', "evaluator"),
        ('strategy = "evolution"', 'strategy = "luck"', "strategy"),
        ('cache_level = "structural"', 'cache_level = "loose"', "cache_level"),
        ('functions = "paper"', 'functions = "none"', "functions"),
        ('baselines = ["tune"]', 'baselines = ["luck"]', "baselines"),
        ('mutations = ["insert"', 'mutations = ["luck"', "mutations"),
        ("population = 10", "population = 0", "population"),
        ("lag = 64", "lag = 0", "lag"),
    ],
)
def test_a_configuration_that_was_changed(
    cli, tmp_path_factory, finished_run: Path, tmp_path: Path, old: str, new: str, message: str
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished_run, folder)
    edit(folder / "config.toml", old, new)
    before = tables(folder)
    result = cli(*RESUME, folder)
    assert (result.code, result.out) == (2, "")
    last = result.err.splitlines()[-1]
    assert last.startswith("optdsl: ")
    assert message in last
    assert "Traceback" not in result.err
    assert tables(folder) == before


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to copy."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    with pytest.raises(SystemExit) as exit_:
        main.main([str(arg) for arg in (*SHORT, "--out", folder)])
    assert exit_.value.code == 0
    return folder


def test_a_folder_of_no_run(cli, tmp_path: Path) -> None:
    for folder in (tmp_path / "nowhere", tmp_path):
        result = cli(*RESUME, folder)
        assert (result.code, result.out) == (2, "")
        assert result.err == f"optdsl: {folder} is no run folder: it has no config.toml\n"
        assert not list(tmp_path.iterdir())


def of_another_program(path: Path) -> None:
    path.unlink()
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE precious (x)")
    db.commit()
    db.close()


def of_another_format(path: Path) -> None:
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 99")
    db.close()


def truncated(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def scribbled(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4096:] = random.Random(0).randbytes(len(data) - 4096)
    path.write_bytes(data)


def no_database(path: Path) -> None:
    path.write_bytes(random.Random(0).randbytes(10_000))


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("damage", "message", "code"),
    [
        (of_another_program, "is not a database of optdsl", 2),
        (of_another_format, "has the format 99", 2),
        (truncated, "is damaged", 2),
        (scribbled, "is damaged", 2),
        (no_database, "is damaged or no database", 2),
        (a_folder, "unable to open database file", 1),
    ],
)
def test_a_damaged_database(
    cli,
    finished_run: Path,
    tmp_path: Path,
    damage: Callable[[Path], None],
    message: str,
    code: int,
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished_run, folder)
    damage(folder / "run.sqlite")
    result = cli(*RESUME, folder)
    assert (result.code, result.out) == (code, "")
    last = result.err.splitlines()[-1]
    assert last.startswith("optdsl: ")
    assert str(folder / "run.sqlite") in last
    assert message in last
    assert "Traceback" not in result.err


def test_without_its_database_a_run_begins_again(cli, finished_run: Path, tmp_path: Path) -> None:
    """Its configuration gives all of it."""
    folder = tmp_path / "run"
    shutil.copytree(finished_run, folder)
    (folder / "run.sqlite").unlink()
    assert cli(*RESUME, folder).code == 0
    assert tables(folder) == tables(finished_run)


class FullDisk:
    """A connection to a database whose disk is full."""

    def __init__(self, db: sqlite3.Connection, after: int) -> None:
        self.db, self.left = db, after

    def __getattr__(self, name: str) -> Any:
        return getattr(self.db, name)

    def __enter__(self) -> Any:
        self.db.__enter__()
        return self

    def __exit__(self, *exception: Any) -> Any:
        return self.db.__exit__(*exception)

    def execute(self, sql: str, *args: Any) -> Any:
        if sql.startswith("INSERT"):
            self.left -= 1
            if self.left < 0:
                error = sqlite3.OperationalError("database or disk is full")
                error.sqlite_errorcode = sqlite3.SQLITE_FULL
                raise error
        return self.db.execute(sql, *args)


@pytest.mark.parametrize("writes", [0, 1, 2, 3, 30, 60])
def test_a_full_disk(
    cli, finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    connect = sqlite3.connect
    folder = tmp_path / "run"
    with monkeypatch.context() as patched:
        patched.setattr(
            sqlite3, "connect", lambda *args, **options: FullDisk(connect(*args, **options), writes)
        )
        result = cli(*SHORT, "--out", folder)
    assert (result.code, result.out) == (1, "")
    last = result.err.splitlines()[-1]
    assert last == (
        f"optdsl: can't write {folder / 'run.sqlite'}: database or disk is full; what was committed"
        f" is there: make room and go on with optdsl evolve --resume {folder}"
    )
    assert "Traceback" not in result.err
    assert cli(*RESUME, folder).code == 0
    assert tables(folder) == tables(finished_run)


TASK = """
from dataclasses import replace
from optdsl.tasks import get_task
task = replace(get_task("quadratic"), name="mine", steps={steps})
"""


def test_the_task_of_a_file_is_named_again(cli, write, tmp_path: Path) -> None:
    """A run folder that was sent by someone must run no code of theirs."""
    file, folder = write("mine.py", TASK.format(steps=10)), tmp_path / "run"
    first = cli(*SHORT, "--task", file, "--out", folder)
    assert first.code == 0
    result = cli(*RESUME, folder)
    assert (result.code, result.out) == (2, "")
    assert result.err == f"optdsl: the run's task is a file: name it again, with --task {file}\n"
    moved = write("moved.py", TASK.format(steps=10))
    assert cli(*RESUME, folder, "--task", moved).code == 0
    changed = write("mine.py", TASK.format(steps=11))
    for wrong in (changed, "quadratic"):
        result = cli(*RESUME, folder, "--task", wrong)
        assert (result.code, result.out) == (2, "")
        assert result.err == (
            f"optdsl: the task {wrong} is not the one that {folder} was begun with\n"
        )
    file.unlink()
    result = cli(*RESUME, folder, "--task", file)
    assert (result.code, result.err) == (2, f"optdsl: there is no file `{file}`\n")
    file.write_text("task = 1 / 0\n")
    result = cli(*RESUME, folder, "--task", file)
    assert result.code == 2
    assert "Traceback" not in result.err


@pytest.mark.parametrize("broken", ["loss", "init", "plan", "score", "schedule"])
def test_a_task_that_can_not_be_trained(cli, write, tmp_path: Path, broken: str) -> None:
    """Its functions raise, which no loading of its file shows."""
    fails = "\ndef fails(*_):\n    raise ValueError('no batch')\n"
    text = TASK.format(steps=10) + fails + f"task = replace(task, {broken}=fails)\n"
    file = write("broken.py", text)
    for evaluator in ("auto", "bytecode", "jit"):
        folder = tmp_path / evaluator
        result = cli(*SHORT, "--task", file, "--evaluator", evaluator, "--out", folder)
        assert (result.code, result.out) in ((1, ""), (2, ""))
        last = result.err.splitlines()[-1]
        assert last.startswith("optdsl: ")
        assert "ValueError: no batch" in last
        assert "Traceback" not in result.err
