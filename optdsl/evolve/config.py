"""What a run is a function of: `RunConfig`, its text in `config.toml`, and the recipes."""

import json
import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import msgspec

from optdsl.evolve.store import StoreError

CONFIG_FILE = "config.toml"


@dataclass(frozen=True)
class Recipe:
    """Defaults of a search that belong together."""

    population: int
    tournament: int
    mutations: tuple[str, ...]
    """What evolution draws from, see `SearchSettings`."""
    seeds: tuple[int, ...]
    """How many seeds a program is trained on: at first, and in all after each hurdle."""
    hurdles: tuple[float, ...]
    """For each further number of seeds, the share of the last programs that a program must beat."""
    tuned_share: float
    """The share of the programs that first tune the initial program's constants, see `tuned`."""

    def tuned(self, programs: int) -> int:
        """How many of a run's programs tune first: no more than there is to gain by."""
        return min(int(self.tuned_share * programs), MOST_TUNED)


MOST_TUNED = 2000
"""Constants of a small program are tuned by then."""

PAPER = ("insert", "delete", "modify")
"""The mutations of section 2.1 of the paper."""

RECIPES: dict[str, Recipe] = {
    "default": Recipe(
        population=200,
        tournament=3,
        mutations=PAPER,
        seeds=(1, 5, 17, 65),
        hurdles=(0.9, 0.75, 0.75),
        tuned_share=0.2,
    ),
    "paper": Recipe(
        population=1000, tournament=2, mutations=PAPER, seeds=(1,), hurdles=(), tuned_share=0.0
    ),
}
"""By name; docs/search.md says what was measured. `paper` is section 2.2 of the paper, plain."""


TUNE_POPULATION, TUNE_TOURNAMENT = 100, 5
"""Tuning's, in every recipe: its space is small, so it gains by a harder selection."""


LOOKS = 20
"""How often leaders are judged on the meta task in all programs of a run, unless told otherwise."""


Positive = Annotated[int, msgspec.Meta(ge=1)]
Natural = Annotated[int, msgspec.Meta(ge=0)]


@dataclass(frozen=True)
class RunConfig:
    """All that is needed to repeat a run, and nothing that its results don't depend on."""

    version: str
    task: str
    """A built-in task's name or a task file's path."""
    task_digest: str
    learning_rate: float
    """The peak of the task's schedule."""
    evaluator: str
    """A key of `judge.EVALUATORS`."""
    strategy: str
    baselines: tuple[str, ...]
    """Strategies to run beside it."""
    baseline_compute: Positive
    """How many times the search's evaluations each of them gets."""
    programs: Positive
    """Proposals of all searches but the baselines'."""
    tune_first: Natural
    """How many of them tune the initial program's constants, before the searches begin."""
    restarts: Positive
    """Searches from the initial program; if several, one from the best found follows."""
    population: Positive
    tournament: Positive
    mutations: tuple[str, ...]
    """See `Recipe`."""
    seed: int
    seeds: tuple[int, ...]
    """See `Recipe`."""
    hurdles: tuple[float, ...]
    lag: Positive
    """Proposals under way; see `driver.py`."""
    cache_level: str
    """A key of `proposals.KEYS`."""
    functions: str
    protected: bool
    keep_lr: bool
    """Whether every program's update must depend on the learning rate."""
    meta_task: str
    """A task on which the searches' leaders are judged too, see `meta.py`; "" for none."""
    meta_task_digest: str
    meta_learning_rate: float
    """The peak of the meta task's schedule."""
    meta_every: Natural
    """Programs between two looks at the leader."""
    meta_stop: bool
    """Whether a search ends where its leaders get worse on the meta task."""
    program: str
    """The initial program's text."""

    @property
    def rungs(self) -> tuple[tuple[int, ...], ...]:
        """The seeds of each rung."""
        return rungs(self.seeds)

    def __post_init__(self) -> None:
        """Refuses numbers that make no sense together."""
        if self.tune_first >= self.programs:
            raise ValueError(
                f"{self.tune_first} programs to tune first leave none of {self.programs}"
            )
        if self.meta_task and not self.meta_every:
            raise ValueError("meta_every must be at least 1 where there is a meta task")
        if list(self.seeds) != sorted({*self.seeds}) or not self.seeds or self.seeds[0] < 1:
            raise ValueError(f"numbers of seeds must rise from at least 1, not {self.seeds}")
        if self.seeds[-1] > MAX_SEEDS:
            raise ValueError(f"a search has at most {MAX_SEEDS} seeds, not {self.seeds[-1]}")
        if len(self.hurdles) != len(self.seeds) - 1:
            raise ValueError(
                "there is a hurdle before each number of seeds but the first:"
                f" {len(self.seeds) - 1}, not {len(self.hurdles)}"
            )
        if not all(0 <= hurdle < 1 for hurdle in self.hurdles):
            raise ValueError(f"hurdles are shares of programs, below 1, not {self.hurdles}")


def rungs(seeds: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """The seeds of each rung, from how many there are up to it: (1, 3) gives (0,), (1, 2)."""
    bounds = zip((0, *seeds[:-1]), seeds, strict=True)
    return tuple(tuple(range(begin, end)) for begin, end in bounds)


MAX_SEEDS = 1000
"""The seeds from here on choose and report, see `rescore.py`."""


def to_toml(config: RunConfig) -> str:
    """A flat table; JSON's strings, numbers, booleans and lists are TOML's too, but for DEL."""
    rows = [
        f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in asdict(config).items()
    ]
    return "\n".join(rows).replace("\x7f", "\\u007f") + "\n"


def read_config(folder: Path) -> RunConfig:
    """The configuration of a run folder.

    Raises:
        StoreError: if there is none, or it is not one; names the field.
    """
    path = folder / CONFIG_FILE
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        known = RunConfig.__dataclass_fields__
        if unknown := sorted(set(values) - set(known)):
            raise StoreError(f"{path} has an unknown field `{unknown[0]}`")
        return msgspec.convert(values, RunConfig)
    except FileNotFoundError:
        raise StoreError(f"{folder} is no run folder: it has no {CONFIG_FILE}") from None
    except OSError as error:
        raise StoreError(f"can't read {path}: {error.strerror or error}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, ValueError) as error:
        if isinstance(error, StoreError):
            raise
        raise StoreError(f"{path} is no configuration of a run: {error}") from None
