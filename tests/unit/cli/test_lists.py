"""`optdsl functions`, `optdsl tasks`, `optdsl stdlib`."""

from pathlib import Path

import pytest

from optdsl.ops import OPS, FunctionSet, functions
from optdsl.tasks import TASKS


def test_the_papers_functions_are_43(cli) -> None:
    result = cli("functions", "--set", "paper", "--json")
    assert (result.code, result.err) == (0, "")
    names = [entry["name"] for entry in result.json]
    assert len(names) == len(set(names)) == 43


def test_all_functions_and_those_of_each_set(cli) -> None:
    assert [e["name"] for e in cli("functions", "--json").json] == [op.name for op in OPS]
    for which in FunctionSet:
        listed = cli("functions", "--set", which.value, "--json").json
        assert [e["name"] for e in listed] == [op.name for op in functions(which)]
        assert all(which.value in e["sets"] for e in listed)


def test_protected_functions(cli) -> None:
    listed = cli("functions", "--protected", "--json").json
    assert {e["name"]: e["protected"] for e in listed}["log"] == "log(abs(x))"
    assert [e["name"] for e in listed] == [op.name for op in OPS if op.protected]


def test_an_unknown_set_is_a_usage_error(cli) -> None:
    result = cli("functions", "--set", "papers")
    assert (result.code, result.out) == (2, "")


def test_tasks(cli) -> None:
    result = cli("tasks", "--json")
    assert (result.code, result.err) == (0, "")
    assert [entry["name"] for entry in result.json] == [entry.name for entry in TASKS]
    by_name = {entry["name"]: entry for entry in result.json}
    ten = by_name["digits_mlp@10x"]
    assert (ten["family"], ten["compute"], ten["size"]["steps"]) == ("digits_mlp", 10, 600)
    assert 0 < by_name["digits_mlp"]["cpu_seconds"] < 0.1


def test_stdlib(cli) -> None:
    result = cli("stdlib", "--json")
    assert (result.code, result.err) == (0, "")
    assert {"lion", "adamw", "nadam", "sgd"} <= {entry["name"] for entry in result.json}
    for entry in result.json:
        assert entry["doc"]
        assert Path(entry["file"]).stem == entry["name"]


@pytest.mark.parametrize("command", ["functions", "tasks", "stdlib"])
def test_lists_for_people_are_on_stderr(cli, command: str) -> None:
    result = cli(command)
    assert (result.code, result.out) == (0, "")
    entries = cli(command, "--json").json
    assert len(result.err.splitlines()) == len(entries)
    for entry, line in zip(entries, result.err.splitlines(), strict=True):
        assert entry["name"].rstrip("<=") in line
