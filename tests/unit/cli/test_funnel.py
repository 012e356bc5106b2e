"""`optdsl funnel DIR --tasks A,B,C`."""

import json
from pathlib import Path

import pytest


@pytest.fixture
def folder(cli, tmp_path: Path) -> Path:
    options = ("--programs", 60, "--population", 20, "--tune-first", 0, "--workers", 0)
    result = cli("evolve", "--task", "quadratic", *options, "--out", tmp_path / "run")
    assert result.code == 0
    return tmp_path / "run"


def test_a_funnel_and_its_file(cli, folder: Path) -> None:
    result = cli("funnel", folder, "--tasks", "quadratic", "--top", 1, "--seeds", 1, "--json")
    (rung,) = result.json["rungs"]
    assert rung["task"] == "quadratic"
    (winner,) = rung["programs"]
    assert winner["name"] == "winner"
    assert winner["goes_on"] == (winner["validation_gain"] > 0)
    assert result.code == (0 if winner["goes_on"] else 1)
    assert json.loads((folder / "funnel.json").read_text()) == result.json
    assert "gains over the tuned baseline" in result.err


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ("quadratic,quadratic", "name different tasks"),
        ("quadratic,", "name different tasks"),
        ("quadratc", "did you mean"),
    ],
)
def test_wrong_tasks(cli, tmp_path: Path, tasks: str, message: str) -> None:
    result = cli("funnel", tmp_path, "--tasks", tasks)
    assert result.code == 2
    assert message in result.err


def test_a_folder_without_a_run(cli, tmp_path: Path) -> None:
    result = cli("funnel", tmp_path, "--tasks", "quadratic")
    assert result.code == 2
    assert "no run folder" in result.err
