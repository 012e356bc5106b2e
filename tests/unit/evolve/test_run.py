"""A whole run over a fitness that costs nothing: seeds, baseline, what is evaluated, the folder."""

import hashlib
import math
import sqlite3
import tomllib
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from optdsl.diagnostics import Source
from optdsl.evolve import run as run_module
from optdsl.evolve.rescore import CHOICE_SEEDS, REPORT_SEEDS
from optdsl.evolve.run import SEARCH_SEEDS, Run, RunConfig, Summary, to_toml
from optdsl.evolve.store import Ancestor
from optdsl.frontend import load
from optdsl.ir import Program, Role, print_program
from optdsl.passes.hashing import structural_hash
from optdsl.passes.live import remove_dead_state
from optdsl.tasks.evaluation import Scores, UnsupportedProgram

PROGRAM = """
def train(w, g, m, dead, lr, β=0.9):
    m = interp(g, m, β)
    dead = dead + 1
    update = sqrt(abs(m)) * lr
    update = update + 0.1 * w
    return update, m, dead
"""

CONFIG = RunConfig("1.2.3", "a task", 0.25, 120, 20, 2, 4, "evolution", "paper", False, PROGRAM)


def score(program: Program, seed: int) -> float:
    """Another number for every program and seed."""
    digest = hashlib.sha256(f"{seed} {structural_hash(program)}".encode()).digest()
    return -int.from_bytes(digest[:4], "little") / 2**32


class Fake:
    """Stands for `BytecodeEvaluator`, and remembers."""

    made: list["Fake"]

    def __init__(self, task: object, seeds: tuple[int, ...]) -> None:
        self.task, self.seeds = task, seeds
        self.programs: list[Program] = []
        self.rates: set[float] = set()
        Fake.made.append(self)

    def evaluate(self, program: Program, learning_rate: float) -> Scores:
        self.programs.append(program)
        self.rates.add(learning_rate)
        validation = tuple(score(program, seed) for seed in self.seeds)
        return Scores(validation, tuple(-1 + value for value in validation))


@pytest.fixture(autouse=True)
def fake(monkeypatch: pytest.MonkeyPatch) -> type[Fake]:
    Fake.made = []
    monkeypatch.setattr(run_module, "BytecodeEvaluator", Fake)
    return Fake


TASK: Any = object()


def program() -> Program:
    return load(Source("<test>", PROGRAM))


def run(folder: Path, **changes: Any) -> Summary:
    return Run(TASK, program(), replace(CONFIG, **changes), folder).run(lambda *_: None)


def test_each_purpose_has_its_seeds(tmp_path: Path) -> None:
    summary = run(tmp_path / "run")
    by_seeds: dict[tuple[int, ...], set[str]] = {}
    for one in Fake.made:
        assert one.task is TASK
        assert one.rates <= {0.25}
        by_seeds.setdefault(one.seeds, set()).update(map(structural_hash, one.programs))
    assert set(by_seeds) == {SEARCH_SEEDS, CHOICE_SEEDS, REPORT_SEEDS}
    assert len(by_seeds[SEARCH_SEEDS]) > 50
    assert len(by_seeds[CHOICE_SEEDS]) <= 20, "ten leaders of each search"
    assert len(by_seeds[REPORT_SEEDS]) <= 3, "the initial program, the tuned one, the best"
    best = [score(summary.best_program, seed) for seed in REPORT_SEEDS]
    assert summary.best.fitness == pytest.approx(math.fsum(best) / len(best))


def test_the_best_is_chosen_on_its_own_seeds(tmp_path: Path) -> None:
    summary = run(tmp_path / "run")
    judged: dict[str, float] = {}
    for one in Fake.made:
        if one.seeds == CHOICE_SEEDS:
            judged |= {structural_hash(p): sum(score(p, s) for s in CHOICE_SEEDS)
                       for p in one.programs}  # fmt: skip
    chosen = structural_hash(summary.best_program)
    tuned = structural_hash(summary.tuned_program)
    assert max(judged.values()) == max(judged[chosen], judged[tuned])


def test_the_baseline_is_tuned_with_as_many_evaluations(tmp_path: Path) -> None:
    run(tmp_path / "run")
    found: dict[str, set[str]] = {}
    db = sqlite3.connect(tmp_path / "run" / "run.sqlite")
    for stage, text in db.execute("SELECT stage, text FROM proposals JOIN programs USING (key)"):
        found.setdefault(stage, set()).add(text)
    db.close()
    assert len(found["evolution"]) == len(found["tune"]) > 50
    programs = [load(Source("<row>", text)) for text in found["tune"]]
    assert len({tuple(op.op.name for op in one.operations) for one in programs}) == 1
    assert len({one.constants for one in programs}) == len(programs)


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
    start = load(Source("<test>", f"def train(w, g, lr):\n    {body}\n"))
    tuned = 0

    def counting(stage: str, counts: object) -> None:
        nonlocal tuned
        tuned += stage == "tune"
        if tuned > 5_000:
            raise TooMany

    summary = Run(TASK, start, CONFIG, tmp_path / "run").run(counting)
    assert summary.tuned == summary.initial


def test_what_is_executed_is_live_and_of_bound_hyperparameters(tmp_path: Path) -> None:
    run(tmp_path / "run")
    for one in Fake.made:
        for executed in one.programs:
            assert executed == remove_dead_state(executed)
            assert not executed.with_role(Role.HYPERPARAMETER)


def test_protected_programs_are_executed_protected(tmp_path: Path) -> None:
    run(tmp_path / "plain")
    before = len(Fake.made)
    run(tmp_path / "protected", protected=True)
    plain, protected = Fake.made[0].programs[0], Fake.made[before].programs[0]
    assert print_program(plain).count("abs(") == 1
    assert print_program(protected).count("abs(") == 2


def test_the_same_run_again(tmp_path: Path) -> None:
    def found(folder: Path, **changes: Any) -> dict[str, Any]:
        entries = run(folder, **changes).to_json()
        del entries["seconds"]
        best = entries.pop("best")
        assert isinstance(best, dict)
        assert best.pop("file") == str(folder / "best.opt")
        return entries | best

    one, two = found(tmp_path / "one"), found(tmp_path / "two")
    assert one == two
    assert found(tmp_path / "other", seed=5) != one
    assert (tmp_path / "one/best.opt").read_bytes() == (tmp_path / "two/best.opt").read_bytes()


def test_the_configuration_is_toml(tmp_path: Path) -> None:
    awkward = 'a "quoted"\n\ttext \\ with β and \u2028 and 😀'
    folder = tmp_path / "run"
    config = replace(CONFIG, task=awkward, learning_rate=1e-05, program=PROGRAM)
    Run(TASK, program(), config, folder)
    loaded = tomllib.loads((folder / "config.toml").read_text(encoding="utf-8"))
    assert RunConfig(**loaded) == config


@pytest.mark.parametrize("value", [0.1, 1e-05, 1e16, 1e300, 5e-324, 1.0, True, False, 7, "", "'"])
def test_values_in_toml(value: object) -> None:
    found = tomllib.loads(to_toml({"key": value, "other": 1}))
    assert found == {"key": value, "other": 1}
    assert type(found["key"]) is type(value)


def test_the_folder(tmp_path: Path) -> None:
    held = tmp_path / "held"
    held.mkdir()
    (held / "x").touch()
    with pytest.raises(FileExistsError, match="not empty"):
        Run(TASK, program(), CONFIG, held)
    assert [path.name for path in held.iterdir()] == ["x"]
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        Run(TASK, program(), CONFIG, tmp_path / "file")
    folder = tmp_path / "a" / "b"
    Run(TASK, program(), CONFIG, folder)
    assert [path.name for path in folder.iterdir()] == ["config.toml"]


def test_best_opt_tells_where_it_comes_from(tmp_path: Path) -> None:
    summary = run(tmp_path / "run")
    text = summary.best_file.read_text(encoding="utf-8")
    assert load(Source("best.opt", text)).operations == summary.best_program.operations
    assert structural_hash(summary.best_program) == summary.best_hash
    comments = [line for line in text.splitlines() if line.startswith("#")]
    assert comments[0] == "# The best of 120 programs that optdsl 1.2.3 made for the task a task."
    assert f"validation {summary.best.fitness:.4f}" in text
    assert f"with its constants tuned: {summary.tuned.fitness:.4f}" in text
    (head,) = [i for i, line in enumerate(comments) if "Lineage" in line]
    gains = comments[head + 1 :]
    assert gains[0].startswith("#   proposal -1, initial: ")
    fitnesses = [float(line.rpartition(": ")[2]) for line in gains]
    assert fitnesses == sorted(fitnesses)


def test_gains_are_ancestors_better_than_all_before() -> None:
    fitnesses = (-5.0, -6.0, -4.0, -4.0, -math.inf, -3.0)
    lineage = [Ancestor(i - 1, "m", f, "k") for i, f in enumerate(fitnesses)]
    assert [a.number for a in run_module._gains(lineage[::-1])] == [-1, 1, 4]


def test_a_run_by_tuning_alone_is_its_own_baseline(tmp_path: Path) -> None:
    summary = run(tmp_path / "run", strategy="tune")
    assert summary.tuned == summary.best
    assert summary.tuned_program == summary.best_program


def test_commits_are_reported(tmp_path: Path) -> None:
    seen: list[tuple[str, int]] = []
    folder = tmp_path / "run"
    summary = Run(TASK, program(), CONFIG, folder).run(
        lambda stage, counts: seen.append((stage, counts().programs))
    )
    assert [stage for stage, _ in seen].count("evolution") == 121
    assert {stage for stage, _ in seen} == {"evolution", "tune"}
    evolution = [programs for stage, programs in seen if stage == "evolution"]
    assert evolution[-1] == summary.progress.programs == 120


def test_what_the_machine_can_not_run_is_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Fake, program: Program, learning_rate: float) -> Scores:
        raise UnsupportedProgram("no")

    compiled: list[float] = []

    def jitted(task: object, program: Program, seeds: tuple[int, ...], rate: float) -> Scores:
        compiled.append(rate)
        return Fake(task, seeds).real(program, rate)  # type: ignore[attr-defined]

    expected = run(tmp_path / "one").to_json()
    monkeypatch.setattr(Fake, "real", Fake.evaluate, raising=False)
    monkeypatch.setattr(Fake, "evaluate", refuse)
    monkeypatch.setattr(run_module, "evaluate_jitted", jitted)
    found = run(tmp_path / "two").to_json()
    assert set(compiled) == {0.25}
    assert found["initial_fitness"] == expected["initial_fitness"]
    assert found["evaluations"] == expected["evaluations"]


def test_a_task_that_the_machine_can_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(*_: object) -> None:
        raise UnsupportedProgram("the task's weights are not all float32")

    monkeypatch.setattr(run_module, "BytecodeEvaluator", unsupported)
    monkeypatch.setattr(
        run_module,
        "evaluate_jitted",
        lambda task, program, seeds, rate: Scores((-1.0,) * len(seeds), (-1.0,) * len(seeds)),
    )
    assert run(tmp_path / "run").best.fitness == -1.0


def test_where_everything_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = Scores((-math.inf,) * 3, (-math.inf,) * 3)
    monkeypatch.setattr(Fake, "evaluate", lambda *_: failed)
    summary = run(tmp_path / "run")
    assert summary.best.fitness == summary.tuned.fitness == -math.inf
    text = summary.best_file.read_text()
    assert load(Source("best.opt", text)).operations == summary.best_program.operations


def test_no_partial_file_is_left_by_an_interrupt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate = Fake.evaluate

    def stops(self: Fake, program: Program, rate: float) -> Scores:
        if self.seeds == REPORT_SEEDS:
            raise KeyboardInterrupt
        return evaluate(self, program, rate)

    monkeypatch.setattr(Fake, "evaluate", stops)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "run")
    names = sorted(path.name for path in (tmp_path / "run").iterdir())
    assert names == ["config.toml", "run.sqlite"]


def test_evaluators_are_not_made_twice_for_the_same_seeds(tmp_path: Path) -> None:
    """Each one compiles its loop anew, which takes longer than a small search."""
    run(tmp_path / "run")
    assert len(Fake.made) == len({one.seeds for one in Fake.made})


def test_the_config_holds_all_that_run_takes() -> None:
    assert RunConfig(**asdict(CONFIG)) == CONFIG
