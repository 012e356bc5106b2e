"""Tuning: learning rate and weight decay (section 5 of the paper), and what the best is worth.

The best of many settings is reported as measured on fresh seeds, since as it was found it is a
lucky one: settings are tried on some seeds, the best few are chosen among on others, and the chosen
one is reported on yet others. Every program has the same budget of settings and seeds.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from optdsl.comparison.decay import decay_name
from optdsl.comparison.lattice import (
    STEPS_OF_A_DECADE,
    Found,
    Place,
    borders,
    grid,
    next_places,
    ranked,
)
from optdsl.ir import Program
from optdsl.tasks.evaluation import default_learning_rate
from optdsl.tasks.scores import FAILED, mean_score
from optdsl.tasks.settings import POINTS, Run, SettingsTrainer
from optdsl.tasks.statistics import standard_error
from optdsl.tasks.task import Task

SETTINGS = 48
"""How many settings are tried: the grid's 35, and 13 where the best ones are."""

FINALISTS = 4
"""How many of them go on to CHOICE_SEEDS."""

SEARCH_SEEDS = 3
"""On how many seeds, 5000 and up, each setting is tried by default."""

FIRST_SEED = 5_000

CHOICE_SEEDS = tuple(range(6_000, 6_008))
"""The finalists are chosen among on these."""

REPORT_SEEDS = tuple(range(7_000, 7_016))
"""Seeds of every reported number; nothing is chosen by them."""


@dataclass(frozen=True)
class Budget:
    """What each program may spend: the same for all."""

    seeds: int = SEARCH_SEEDS
    """How many each setting is tried on."""
    settings: int = SETTINGS
    finalists: int = FINALISTS
    """How many of the settings are trained on `choice_seeds` seeds more."""
    choice_seeds: int = len(CHOICE_SEEDS)
    report_seeds: int = len(REPORT_SEEDS)
    """How many the chosen setting is reported on."""

    @property
    def trainings(self) -> int:
        """At most so many for tuning; a setting that diverges ends at its first such run."""
        return self.settings * self.seeds + self.finalists * self.choice_seeds

    def __str__(self) -> str:
        return (
            f"{self.settings} settings on {self.seeds} seed{'s' if self.seeds > 1 else ''}, the "
            f"best {self.finalists} on {self.choice_seeds} others: {self.trainings} trainings"
        )


Progress = Callable[[int, int], None]
"""Told how many settings were tried, and of how many."""


@dataclass(frozen=True)
class Setting:
    """What a program is trained with."""

    learning_rate: float
    hyperparameters: tuple[tuple[str, float], ...] = ()
    """Those that are not at their defaults, or were swept."""

    def to_json(self) -> dict[str, float]:
        """By the names that `optdsl train` takes."""
        return {"lr": self.learning_rate, **dict(self.hyperparameters)}

    def __str__(self) -> str:
        return ", ".join(f"{name} {value:.3g}" for name, value in self.to_json().items())


@dataclass(frozen=True)
class Cell:
    """A setting that was tried, and its validation scores, one for each of the seeds."""

    setting: Setting
    scores: tuple[float, ...]
    on_grid: bool
    """Whether it lies on the coarse grid, or on what that grew by; the others refine it."""

    @property
    def mean(self) -> float:
        """FAILED if any run diverged: the others are left out then."""
        return mean_score(self.scores)

    @property
    def error(self) -> float:
        """The mean's standard error."""
        return standard_error(self.scores)

    def to_json(self) -> dict[str, object]:
        """An entry of `grid` of `tune --json`."""
        return {
            "setting": self.setting.to_json(),
            "mean": self.mean,
            "standard_error": self.error,
        }


@dataclass(frozen=True)
class Tuned:
    """A program tuned for a task, and what it is worth there."""

    program: Program
    task: Task
    decay: str | None
    """The hyperparameter swept beside the learning rate."""
    grid: tuple[Cell, ...]
    """All settings that were tried, in the order of learning rate and weight decay."""
    best: Cell
    """The chosen one, as the sweep saw it."""
    at_border: tuple[str, ...]
    """The ends of what was tried that it lies on."""
    runs: tuple[Run, ...]
    """The program trained with the chosen setting on REPORT_SEEDS."""

    @property
    def has_failed(self) -> bool:
        """Whether training diverged at every setting."""
        return self.best.mean == FAILED

    @property
    def validation(self) -> tuple[float, ...]:
        """The scores on REPORT_SEEDS."""
        return tuple(run.validation for run in self.runs)

    @property
    def test(self) -> tuple[float, ...]:
        """The held-out test scores on REPORT_SEEDS."""
        return tuple(run.test for run in self.runs)


def tune(
    program: Program,
    task: Task,
    seeds: int = SEARCH_SEEDS,
    fixed: Mapping[str, float] | None = None,
    progress: Progress = lambda done, of: None,
) -> Tuned:
    """Tune a program's learning rate and weight decay.

    Args:
        program: any valid program. If it has no weight decay, as many settings are tried of the
            learning rate alone.
        task: what to train; its validation part decides.
        seeds: how many each setting is tried on.
        fixed: hyperparameters that are neither swept nor at their defaults.
        progress: called after each setting.
    """
    fixed = dict(fixed or {})
    decay = decay_name(program)
    decay = None if decay in fixed else decay
    trainer = SettingsTrainer(task, program, (decay,) if decay else (), fixed)
    middle = default_learning_rate(program, task)

    def setting(place: Place) -> Setting:
        rate = middle * 10 ** (place.rate / STEPS_OF_A_DECADE)
        if decay is None or place.decay is None:
            return Setting(rate, tuple(fixed.items()))
        strength = 10 ** (place.decay / STEPS_OF_A_DECADE) * _middle_decay(middle, task)
        return Setting(rate, (*fixed.items(), (decay, strength)))

    tried = range(FIRST_SEED, FIRST_SEED + seeds)
    cells: dict[Place, Cell] = {}
    found: dict[Place, Found] = {}
    places = grid(decay is not None)
    while len(found) < SETTINGS:
        for place, stride in list(places.items())[: SETTINGS - len(found)]:
            scores = validation_scores(trainer, setting(place), tried)
            cells[place] = Cell(setting(place), scores, place.on_grid)
            found[place] = Found(cells[place].mean, stride)
            progress(len(found), SETTINGS)
        places = next_places(found)
    best = max(
        ranked(found)[:FINALISTS],
        key=lambda place: mean_score(validation_scores(trainer, setting(place), CHOICE_SEEDS)),
    )
    runs = train(trainer, setting(best), REPORT_SEEDS, POINTS)
    in_order = tuple(cells[place] for place in sorted(cells))
    return Tuned(program, task, decay, in_order, cells[best], borders(found, best), runs)


def train(
    trainer: SettingsTrainer, setting: Setting, seeds: Iterable[int], points: int = 1
) -> tuple[Run, ...]:
    """The runs of a setting on some seeds; `points` of their learning curves."""
    values = dict(setting.hyperparameters)
    return tuple(trainer.run(seed, setting.learning_rate, values, points) for seed in seeds)


def validation_scores(
    trainer: SettingsTrainer, setting: Setting, seeds: Sequence[int]
) -> tuple[float, ...]:
    """A setting's scores; all FAILED from the first run that diverges, which decides."""
    scores: list[float] = []
    values = dict(setting.hyperparameters)
    for seed in seeds:
        scores.append(trainer.run(seed, setting.learning_rate, values).validation)
        if scores[-1] == FAILED:
            break
    return tuple(scores) + (FAILED,) * (len(seeds) - len(scores))


def _middle_decay(rate: float, task: Task) -> float:
    """The power of ten nearest to the weight decay that makes weights smaller by about e at the
    middle learning rate: half of the schedule's peak is its mean."""
    return 10.0 ** round(-math.log10(rate * task.steps / 2))
