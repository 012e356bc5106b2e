"""What lies around a tuned setting, and around trained weights."""

from dataclasses import replace

import jax.numpy as jnp
import pytest

from optdsl.comparison.flatness import flatness
from optdsl.comparison.robustness import robustness
from optdsl.comparison.tune import REPORT_SEEDS, Cell, Setting, Tuned
from optdsl.diagnostics import Source
from optdsl.frontend import load
from optdsl.tasks.settings import SettingsTrainer
from optdsl.tasks.task import Task

DECAYED = "def train(w, g, lr, λ=0.1):\n    return lr * (g + λ * w)\n"


@pytest.fixture(scope="module")
def tuned() -> Tuned:
    """One step on half a square, curvature 3: its best learning rate is 1/3, without decay."""
    task = Task(
        "bowl",
        "a parabola",
        steps=1,
        init=lambda key: jnp.ones(4),
        plan=lambda key: jnp.zeros(1),
        loss=lambda weights, step: 1.5 * jnp.sum(weights**2),
        score=lambda weights, part: -jnp.sum(weights**2),
        learning_rate=1.0,
        schedule=lambda step: jnp.float32(1.0),
    )
    program = load(Source("decayed.opt", DECAYED))
    trainer = SettingsTrainer(task, program, ("λ",))
    setting = Setting(1 / 3, (("λ", 0.3),))
    runs = tuple(trainer.run(seed, 1 / 3, {"λ": 0.3}) for seed in REPORT_SEEDS)
    cell = Cell(setting, tuple(run.validation for run in runs), on_grid=True)
    return Tuned(program, task, "λ", (cell,), cell, (), runs)


def test_settings_around_the_best(tuned: Tuned) -> None:
    found = robustness(tuned, (0.5, 1.0, 2.0), seeds=(0, 1))
    assert len(found.cells) == 9
    assert found.middle.setting == tuned.best.setting
    for cell in found.cells:
        rate, decay = cell.setting.learning_rate, dict(cell.setting.hyperparameters)["λ"]
        expected = -4 * (1 - rate * (3 + decay)) ** 2
        assert cell.scores == pytest.approx([expected] * 2, abs=1e-5)
    assert found.within(1.0) == sum(c.mean >= found.middle.mean - 1.0 for c in found.cells) / 9
    assert found.within(100.0) == 1.0
    assert found.median_loss() > 0


def test_noise_costs_what_the_curvature_says(tuned: Tuned) -> None:
    """Of half the curvature times the variance for each of the four weights."""
    found = flatness(tuned, 0.5, noises=200)
    assert found.loss == pytest.approx([1.5 * 4 * 0.1**2] * 16, rel=1e-3)
    assert sum(found.sharpness) / 16 == pytest.approx(1.5 * 4 * 0.25, rel=0.08)
    assert flatness(replace(tuned, runs=tuned.runs[:1]), 0.0, 2).sharpness == (0.0,)
