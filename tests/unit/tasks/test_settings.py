"""Settings as inputs of one compiled loop."""

from dataclasses import replace

import pytest

from optdsl.diagnostics import Source
from optdsl.frontend import find_source, load
from optdsl.tasks import get_task
from optdsl.tasks.evaluation import evaluate_jitted
from optdsl.tasks.scores import FAILED
from optdsl.tasks.settings import SettingsTrainer, curve_steps


@pytest.fixture(scope="module")
def trainer() -> SettingsTrainer:
    return SettingsTrainer(get_task("quadratic"), load(find_source("adamw")), ("weight_decay",))


@pytest.mark.parametrize(("seed", "rate", "decay"), [(0, 0.1, 0.0), (3, 0.3, 0.5)])
def test_scores_are_those_of_the_program_compiled_for_the_setting(
    trainer: SettingsTrainer, seed: int, rate: float, decay: float
) -> None:
    run = trainer.run(seed, rate, {"weight_decay": decay})
    values = {"weight_decay": decay}
    scores = evaluate_jitted(trainer.task, load(find_source("adamw")), (seed,), rate, values)
    assert run.curve == pytest.approx(scores.validation, rel=1e-5)
    assert run.test == pytest.approx(scores.test[0], rel=1e-5)


def test_all_settings_and_curves_share_one_compilation() -> None:
    task, traced = get_task("quadratic"), []

    def loss(weights, step):
        traced.append(step)
        return task.loss(weights, step)

    counted = SettingsTrainer(replace(task, loss=loss), load(find_source("lion")), ("b1", "b2"))
    counted.run(0, 0.1, {"b1": 0.9, "b2": 0.99})
    once = len(traced)
    assert once > 0
    for b1 in (0.0, 0.1, 0.95):
        for points in (1, 5, 20):
            counted.run(1, 0.01 + b1, {"b1": b1, "b2": 0.9}, points)
    assert len(traced) == once


def test_a_curve_ends_with_the_score_and_is_the_training_cut_short(
    trainer: SettingsTrainer,
) -> None:
    setting = {"weight_decay": 0.1}
    assert curve_steps(trainer.task, 4) == (13, 25, 38, 50)
    curve = trainer.run(0, 0.1, setting, 4).curve
    assert len(curve) == 4
    assert trainer.run(0, 0.1, setting, 2).curve == curve[1::2]
    assert trainer.run(0, 0.1, setting).validation == curve[-1]


def test_a_curve_has_no_more_points_than_there_are_steps(trainer: SettingsTrainer) -> None:
    short = replace(trainer.task, steps=7)
    assert curve_steps(short) == tuple(range(1, 8))
    assert len(SettingsTrainer(short, load(find_source("sgd"))).run(0, 0.01, {}, 20).curve) == 7


def test_a_run_that_diverges_fails_from_there_on() -> None:
    text = "def train(g, lr, step):\n    return lr * g * 100 ** (step - 40)\n"
    trainer = SettingsTrainer(get_task("quadratic"), load(Source("late.opt", text)))
    run = trainer.run(0, 0.5, {}, 5)
    assert run.curve[0] > FAILED
    assert run.curve[-1] == run.test == run.validation == FAILED


def test_fixed_values_are_compiled_in() -> None:
    task, sgd = get_task("quadratic"), load(find_source("momentum"))
    fixed = SettingsTrainer(task, sgd, fixed={"momentum": 0.5}).run(0, 0.05, {})
    varied = SettingsTrainer(task, sgd, ("momentum",)).run(0, 0.05, {"momentum": 0.5})
    assert fixed.validation == pytest.approx(varied.validation, rel=1e-5)
