"""`config.toml`: what was written is read, and what is no configuration is refused."""

import tomllib
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import pytest
from support.search import CONFIG

from optdsl.evolve.config import (
    MAX_SEEDS,
    MOST_TUNED,
    RECIPES,
    RunConfig,
    read_config,
    to_toml,
)
from optdsl.evolve.store import StoreError


def round_trip(config: RunConfig, folder: Path) -> RunConfig:
    (folder / "config.toml").write_text(to_toml(config), encoding="utf-8")
    return read_config(folder)


AWKWARD = 'a "quoted"\n\ttext \\ with β and \u2028 and 😀 and \x7f'


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"task": AWKWARD, "program": AWKWARD},
        {"learning_rate": 1e-05},
        {"learning_rate": 1e300},
        {"learning_rate": 5e-324},
        {"learning_rate": 1e16},
        {"learning_rate": 0.1 + 0.2},
        {"seeds": (1,), "hurdles": ()},
        {"seeds": (2, 5, MAX_SEEDS), "hurdles": (0.0, 0.98)},
        {"baselines": ("tune", "random"), "protected": True},
        {"seed": 2**40},
    ],
)
def test_what_was_written_is_read(tmp_path: Path, changes: dict[str, Any]) -> None:
    config = replace(CONFIG, **changes)
    found = round_trip(config, tmp_path)
    assert found == config
    for field in fields(config):
        assert type(getattr(found, field.name)) is type(getattr(config, field.name))
    assert to_toml(found) == to_toml(config)


def test_it_is_toml_in_the_order_of_the_fields() -> None:
    loaded = tomllib.loads(to_toml(CONFIG))
    assert list(loaded) == [field.name for field in fields(RunConfig)]
    assert all(isinstance(value, list) for value in (loaded["seeds"], loaded["hurdles"]))


def test_rungs_hold_each_seed_once() -> None:
    config = replace(CONFIG, seeds=(1, 3, 8), hurdles=(0.5, 0.9))
    assert config.rungs == ((0,), (1, 2), (3, 4, 5, 6, 7))
    assert replace(CONFIG, seeds=(2,), hurdles=()).rungs == ((0, 1),)


@pytest.mark.parametrize("recipe", RECIPES)
def test_recipes_are_configurations(recipe: str) -> None:
    fields = asdict(RECIPES[recipe])
    del fields["tuned_share"]
    replace(CONFIG, **fields, tune_first=RECIPES[recipe].tuned(CONFIG.programs))


def test_tuning_first_ends_where_nothing_is_gained_any_more() -> None:
    default, paper = RECIPES["default"], RECIPES["paper"]
    assert default.tuned(3000) == 600
    assert default.tuned(300_000) == MOST_TUNED
    assert paper.tuned(300_000) == 0


def test_some_programs_are_left_after_tuning() -> None:
    replace(CONFIG, programs=10, tune_first=9)
    with pytest.raises(ValueError, match="10 programs to tune first leave none of 10"):
        replace(CONFIG, programs=10, tune_first=10)


@pytest.mark.parametrize(
    ("seeds", "hurdles", "message"),
    [
        ((), (), "numbers of seeds"),
        ((0,), (), "numbers of seeds"),
        ((-1, 2), (0.5,), "numbers of seeds"),
        ((3, 1), (0.5,), "numbers of seeds"),
        ((1, 1), (0.5,), "numbers of seeds"),
        ((1, MAX_SEEDS + 1), (0.5,), f"at most {MAX_SEEDS} seeds"),
        ((1, 3), (), "1, not 0"),
        ((1,), (0.5,), "0, not 1"),
        ((1, 3, 8), (0.5,), "2, not 1"),
        ((1, 3), (1.0,), "below 1"),
        ((1, 3), (-0.1,), "below 1"),
        ((1, 3), (float("nan"),), "below 1"),
        ((1, 3), (float("inf"),), "below 1"),
    ],
)
def test_seeds_and_hurdles_that_make_no_sense(
    tmp_path: Path, seeds: tuple[int, ...], hurdles: tuple[float, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        replace(CONFIG, seeds=seeds, hurdles=hurdles)
    # In a file too.
    text = to_toml(CONFIG).replace("seeds = [1, 3]", f"seeds = {list(seeds)}")
    text = text.replace("hurdles = [0.5]", f"hurdles = {list(hurdles)}")
    (tmp_path / "config.toml").write_text(text)
    with pytest.raises(StoreError, match=message):
        read_config(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("programs = 120", "programs = 'many'", "programs"),
        ("programs = 120\n", "", "programs"),
        ("programs = 120", "programmes = 120", "programmes"),
        ("protected = false", "protected = 0", "protected"),
        ("seeds = [1, 3]", "seeds = 3", "seeds"),
        ("seeds = [1, 3]", "seeds = [1, 3.5]", "seeds"),
        ("version", "version version", "is no configuration"),
        ("strategy = ", "strategy = [", "is no configuration"),
    ],
)
def test_a_file_that_was_written_by_hand(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = to_toml(CONFIG)
    assert old in text
    (tmp_path / "config.toml").write_text(text.replace(old, new, 1))
    with pytest.raises(StoreError, match=message) as raised:
        read_config(tmp_path)
    assert str(tmp_path / "config.toml") in str(raised.value)


def test_no_file_at_all(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"is no run folder: it has no config\.toml"):
        read_config(tmp_path)
    with pytest.raises(StoreError, match="is no run folder"):
        read_config(tmp_path / "nowhere")
    (tmp_path / "config.toml").mkdir()
    with pytest.raises(StoreError, match="can't read"):
        read_config(tmp_path)
    (tmp_path / "config.toml").rmdir()
    (tmp_path / "config.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(StoreError, match="is no configuration"):
        read_config(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="can't read"):
        read_config(tmp_path / "file")
