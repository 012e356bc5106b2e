"""What a wrong learning rate or weight decay costs (Figure 8 of the paper, middle and right)."""

from collections.abc import Sequence
from dataclasses import dataclass

from optdsl.comparison.tune import Cell, Setting, Tuned, validation_scores
from optdsl.tasks.scores import FAILED
from optdsl.tasks.settings import SettingsTrainer

FACTORS = tuple(10 ** (i / 2) for i in range(-2, 3))
"""What the best learning rate and the best weight decay are multiplied by."""

SEEDS = tuple(range(8_000, 8_006))
"""Each setting is trained on these; neither tuning nor a report uses them."""


@dataclass(frozen=True)
class Robustness:
    """The settings around a tuned one."""

    tuned: Tuned
    cells: tuple[Cell, ...]
    """By learning rate, then by weight decay; the middle one is the tuned setting."""

    @property
    def middle(self) -> Cell:
        """The tuned setting."""
        return self.cells[len(self.cells) // 2]

    def within(self, loss: float) -> float:
        """The share of the settings that cost no more than this against the tuned one."""
        near = [cell for cell in self.cells if cell.mean >= self.middle.mean - loss]
        return len(near) / len(self.cells)

    def median_loss(self) -> float:
        """What half of the settings cost at least: infinite if half of them diverge."""
        means = sorted(cell.mean for cell in self.cells)
        median = means[len(means) // 2]
        return self.middle.mean - median if median > FAILED else float("inf")


def robustness(
    tuned: Tuned, factors: Sequence[float] = FACTORS, seeds: Sequence[int] = SEEDS
) -> Robustness:
    """Train a tuned program at settings around its best.

    Args:
        tuned: a program with or without a weight decay; a decay that is best at 0 stays there.
        factors: an odd number, sorted, with 1 in the middle.
        seeds: what each setting is trained on.
    """
    best, decay = tuned.best.setting, tuned.decay
    varied = (decay,) if decay else ()
    values = dict(best.hyperparameters)
    fixed = {name: value for name, value in values.items() if name != decay}
    trainer = SettingsTrainer(tuned.task, tuned.program, varied, fixed)
    strengths = [values[decay] * factor for factor in factors] if decay else [None]
    cells: list[Cell] = []
    for factor in factors:
        for strength in strengths:
            swept = () if strength is None or decay is None else ((decay, strength),)
            setting = Setting(best.learning_rate * factor, (*fixed.items(), *swept))
            cells.append(Cell(setting, validation_scores(trainer, setting, seeds), True))
    return Robustness(tuned, tuple(cells))
