"""`optdsl report`."""

from pathlib import Path

import pytest
from support.run_folder import CONFIG, RunFolder, write_run

KEYS = {
    "folder",
    "finished",
    "seconds",
    "counts",
    "stages",
    "failures",
    "fresh_seeds",
    "winner",
    "best",
    "curves",
    "meta",
    "meta_warnings",
    "funnel",
    "config",
    "file",
}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    write_run(tmp_path / "run", programs=200)
    return tmp_path / "run"


def test_the_page_is_in_the_folder(cli, run: Path) -> None:
    result = cli("report", run)
    assert (result.code, result.out) == (0, "")
    assert result.err == f"wrote {run / 'report.html'}\n"
    assert (run / "report.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_json_has_the_same_figures(cli, run: Path, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    result = cli("report", run, "--json", "-o", out)
    assert result.code == 0
    assert out.is_file()
    assert not (run / "report.html").exists()
    found = result.json
    assert set(found) == KEYS
    assert found["counts"]["programs"] == 800
    assert [stage["name"] for stage in found["stages"]][-3:] == ["evolution-best", "tune", "random"]
    assert found["config"] == CONFIG
    assert found["winner"]["lineage"]["steps"][0]["mutation"] == "initial"
    assert found["winner"]["dead_lines"] == [4]
    assert {"window", "hit_rate", "redundant_fraction"} < set(found["curves"])
    assert len(found["best"]) == 20


def test_a_run_that_has_just_begun(cli, tmp_path: Path) -> None:
    with RunFolder(tmp_path / "run") as run:
        found = cli("report", run.folder, "--json").json
    assert (found["finished"], found["counts"], found["winner"]) == (False, None, None)


def test_no_run_folder_is_a_usage_error_of_one_line(cli, tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        result = cli("report", folder, "--json")
        assert (result.code, result.out) == (2, "")
        assert result.err == f"optdsl: {folder} is no run folder: it has no run.sqlite\n"
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_database_is_a_usage_error_of_one_line(cli, run: Path) -> None:
    (run / "run.sqlite").write_bytes(b"no database" * 1000)
    result = cli("report", run)
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
    assert "is damaged or no database" in result.err


def test_a_page_that_cant_be_written_is_a_usage_error(cli, run: Path, tmp_path: Path) -> None:
    result = cli("report", run, "-o", tmp_path / "none" / "page.html")
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
    assert "can't write" in result.err
