"""Tuning, on the quadratic."""

from dataclasses import replace

import jax.numpy as jnp
import pytest

from optdsl.comparison.tune import (
    FINALISTS,
    REPORT_SEEDS,
    SETTINGS,
    Budget,
    Setting,
    Tuned,
    tune,
    validation_scores,
)
from optdsl.diagnostics import Source
from optdsl.frontend import find_source, load
from optdsl.tasks import get_task
from optdsl.tasks.evaluation import evaluate_jitted
from optdsl.tasks.scores import FAILED
from optdsl.tasks.settings import SettingsTrainer
from optdsl.tasks.task import Task


@pytest.fixture(scope="module")
def tuned() -> Tuned:
    return tune(load(find_source("lion")), get_task("quadratic"), seeds=2)


def test_every_cell_is_the_programs_score_with_that_setting(tuned: Tuned) -> None:
    for cell in (tuned.grid[0], tuned.best):
        values = dict(cell.setting.hyperparameters)
        rate = cell.setting.learning_rate
        scores = evaluate_jitted(tuned.task, tuned.program, (5000, 5001), rate, values)
        assert cell.scores == pytest.approx(scores.validation, rel=1e-4)


def test_the_budget_is_spent_on_distinct_settings(tuned: Tuned) -> None:
    assert len({cell.setting for cell in tuned.grid}) == len(tuned.grid) == SETTINGS
    assert Budget(2).trainings == 2 * SETTINGS + 8 * FINALISTS
    assert str(Budget()).startswith("48 settings on 3 seeds, the best 4 on 8 others: 176 trainings")


def test_the_best_is_one_of_the_finalists_and_reported_on_fresh_seeds(tuned: Tuned) -> None:
    means = sorted((cell.mean for cell in tuned.grid), reverse=True)
    assert tuned.best.mean in means[:FINALISTS]
    best = tuned.best.setting
    scores = evaluate_jitted(
        tuned.task, tuned.program, REPORT_SEEDS, best.learning_rate, dict(best.hyperparameters)
    )
    assert tuned.validation == pytest.approx(scores.validation, rel=1e-4)
    assert tuned.test == pytest.approx(scores.test, rel=1e-4)


def test_tuning_finds_the_best_learning_rate_and_decay() -> None:
    """One step moves a weight at 0 by lr, and one at 1 by lr * λ; best are 0.02 and 0.3."""

    def score(weights, part):
        rate, decay = -weights[0], 1 - weights[1]
        return -(jnp.log(rate / 0.02) ** 2) - jnp.log((decay + 1e-9) / (0.3 * rate)) ** 2

    task = Task(
        "known",
        "its best setting is known",
        steps=1,
        init=lambda key: jnp.array([0.0, 1.0]),
        plan=lambda key: jnp.zeros(1),
        loss=lambda weights, step: weights[0],
        score=score,
        learning_rate=1.0,
        schedule=lambda step: jnp.float32(1.0),
    )
    decayed = "def train(w, g, lr, λ=0.1):\n    return lr * (g + λ * w)\n"
    tuned = tune(load(Source("decayed.opt", decayed)), task, seeds=1)
    best = tuned.best.setting
    assert tuned.decay == "λ"
    assert best.learning_rate == pytest.approx(0.02, rel=0.35)
    assert dict(best.hyperparameters)["λ"] == pytest.approx(0.3, rel=0.8)
    assert tuned.at_border == ()


def test_fixed_values_are_kept_and_a_fixed_decay_is_not_swept() -> None:
    told: list[tuple[int, int]] = []
    tuned = tune(
        load(find_source("lion")),
        get_task("quadratic"),
        1,
        {"weight_decay": 0.5, "b1": 0.8},
        lambda done, of: told.append((done, of)),
    )
    assert told == [(i, SETTINGS) for i in range(1, SETTINGS + 1)]
    assert tuned.decay is None
    assert {cell.setting.hyperparameters for cell in tuned.grid} == {
        (("weight_decay", 0.5), ("b1", 0.8))
    }
    assert len({cell.setting.learning_rate for cell in tuned.grid}) == SETTINGS


def test_a_setting_that_diverges_on_one_seed_has_failed() -> None:
    task = get_task("quadratic")
    far = replace(task, explode=2.2)  # an initial weight may be above it
    trainer = SettingsTrainer(far, load(find_source("sgd")))
    setting = Setting(0.01)
    runs = [trainer.run(seed, 0.01, {}).validation for seed in range(6)]
    first = runs.index(FAILED)
    assert 0 < first < 5
    assert validation_scores(trainer, setting, range(first)) == tuple(runs[:first])
    assert validation_scores(trainer, setting, range(6)) == (*runs[:first], *[FAILED] * (6 - first))
