"""Fitness that runs leave to later ones."""

import math
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from support.search import CONFIG

from optdsl.evolve.cache import FitnessCache, context
from optdsl.evolve.judge import Outcome
from optdsl.evolve.store import StoreError

TWO_SEEDS = replace(CONFIG, seeds=(1, 2))
WHOLE = Outcome(((-1.0, -2.0), (-3.0, -4.0)))


def test_what_one_run_adds_another_finds(tmp_path: Path) -> None:
    one, other = (FitnessCache(tmp_path / "cache", TWO_SEEDS) for _ in range(2))
    assert one.lookup("a") is None
    one.add("a", WHOLE)
    assert other.lookup("a") == WHOLE
    other.add("a", Outcome(((0.0, 0.0), (0.0, 0.0))))
    assert one.lookup("a") == WHOLE
    one.close()
    other.close()


def test_only_what_another_run_would_find_is_kept(tmp_path: Path) -> None:
    cache = FitnessCache(tmp_path / "cache", TWO_SEEDS)
    cache.add("stopped at a hurdle", Outcome(((-1.0, -2.0),)))
    cache.add("crashed", Outcome(failure="crashed"))
    cache.add("diverged", Outcome(((-math.inf, -math.inf),)))
    assert cache.lookup("stopped at a hurdle") is None
    assert cache.lookup("crashed") is None
    assert cache.lookup("diverged") == Outcome(((-math.inf, -math.inf),))
    cache.close()


@pytest.mark.parametrize(
    "change",
    [
        {"version": "2"},
        {"task_digest": "1" * 32},
        {"learning_rate": 0.5},
        {"evaluator": "jit"},
        {"seeds": (1, 3)},
        {"protected": True},
        {"cache_level": "canonical"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_another_context_has_other_entries(tmp_path: Path, change: dict[str, object]) -> None:
    cache = FitnessCache(tmp_path / "cache", TWO_SEEDS)
    cache.add("a", WHOLE)
    other = FitnessCache(tmp_path / "cache", replace(TWO_SEEDS, **change))
    assert other.lookup("a") is None
    cache.close()
    other.close()
    assert context(replace(TWO_SEEDS, seed=7, population=3, programs=9)) == context(TWO_SEEDS)


def test_another_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("precious " * 200)
    foreign = tmp_path / "foreign"
    with sqlite3.connect(foreign) as db:
        db.execute("CREATE TABLE precious (x)")
    db.close()
    for path in (text, foreign, tmp_path / "no folder" / "cache"):
        with pytest.raises(StoreError):
            FitnessCache(path, TWO_SEEDS)
    assert text.read_text() == "precious " * 200
