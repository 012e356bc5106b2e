"""`optdsl check`."""

import pytest

from optdsl.diagnostics import CODES

KEYS = {"file", "line", "column", "end_line", "end_column", "code", "severity", "message"}
GOOD = "def train(g, lr):\n    return lr * g\n"
TWO_ERRORS = "def train(g, lr):\n    a = foo(g)\n    return lr * hh\n"
SYNTAX = "def train(g, lr):\n    return lr * (g\n"
WARNING = "def train(g, lr, unused=0.1):\n    return lr * g\n"


def test_a_good_program(cli, write) -> None:
    good = write("good.opt", GOOD)
    result = cli("check", good)
    assert (result.code, result.out) == (0, "")
    assert result.err == "1 file checked, 0 errors\n"
    result = cli("check", good, "--json")
    assert (result.code, result.json, result.err) == (0, [], "")


def test_several_files_broken_ones_among_them(cli, write) -> None:
    files = [
        write("good.opt", GOOD),
        write("two.opt", TWO_ERRORS),
        write("syntax.opt", SYNTAX),
        write("also_good.opt", GOOD),
    ]
    result = cli("check", *files, "--json")
    assert result.code == 1
    assert result.err == ""
    found = result.json
    assert [(d["file"], d["code"], d["line"]) for d in found] == [
        (str(files[1]), "E102", 2),
        (str(files[1]), "E101", 3),
        (str(files[2]), "E005", 2),
    ]
    assert all(set(d) >= KEYS for d in found)
    first = found[0]
    assert (first["column"], first["end_line"], first["end_column"]) == (9, 2, 12)
    assert first["severity"] == "error"
    assert "`foo`" in first["message"]
    result = cli("check", *files)
    assert (result.code, result.out) == (1, "")
    assert result.err.endswith("4 files checked, 3 errors\n")
    assert result.err.count("error[") == 3


def test_a_missing_file_hides_nothing_and_is_a_usage_error(cli, write, tmp_path) -> None:
    result = cli("check", tmp_path / "missing.opt", write("two.opt", TWO_ERRORS), "--json")
    assert result.code == 2
    assert [d["code"] for d in result.json] == ["E001", "E102", "E101"]


def test_warnings_leave_the_exit_code_0(cli, write) -> None:
    result = cli("check", write("warning.opt", WARNING), "--json")
    assert result.code == 0
    assert all(d["severity"] == "warning" for d in result.json)


def test_names_of_the_standard_library_and_standard_input(cli) -> None:
    result = cli("check", "lion", "-", "adamw", "--json", stdin=TWO_ERRORS)
    assert result.code == 1
    assert {d["file"] for d in result.json} == {"<stdin>"}


def test_every_program_that_is_shipped_is_without_findings(cli, paper) -> None:
    listed = [entry["file"] for entry in cli("stdlib", "--json").json]
    result = cli("check", *listed, "--json")
    assert (result.code, result.json) == (0, [])


def test_the_papers_programs_divide_by_zero_where_gradients_are(cli, paper) -> None:
    result = cli("check", *sorted(paper.glob("*.opt")), "--json")
    assert result.code == 0
    assert {entry["code"] for entry in result.json} == {"W201"}
    lines = {entry["file"][-5]: entry["line"] for entry in result.json}
    assert lines == {"3": 8, "4": 10, "5": 9, "6": 9, "7": 9, "8": 17}


def test_a_comment_allows_a_warning(cli) -> None:
    text = "def train(g):\n    {}\n    return {}\n"
    allow = "# optdsl: allow[W101, W201]"
    for body in ((f"u = g / g  {allow}", "u"), (f"u = g\n    {allow}", "u / u")):
        assert cli("check", "-", "--json", stdin=text.format(*body)).json == []
    for body in (("u = g / g  # optdsl: allow[W101]", "u"), (f"u = g  {allow}", "u / u")):
        found = cli("check", "-", "--json", stdin=text.format(*body))
        assert (found.code, [entry["code"] for entry in found.json]) == (0, ["W201"])
    assert cli("check", "-", stdin=f"def train(g):\n    return x  {allow}\n").code == 1


@pytest.mark.parametrize("code", CODES)
def test_each_code_is_explained(cli, code: str) -> None:
    for spelling in (code, code.lower()):
        result = cli("check", "--explain", spelling)
        assert result.code == 0
        head, _, explanation = result.out.partition("\n")
        assert head == f"{code} ({CODES[code].severity}): {CODES[code].title}"
        assert explanation.strip() == CODES[code].explanation


def test_an_unknown_code_is_a_usage_error(cli) -> None:
    result = cli("check", "--explain", "E999")
    assert (result.code, result.out) == (2, "")
    assert "no diagnostic has the code `E999`" in result.err


def test_nothing_to_check_is_a_usage_error(cli) -> None:
    for args in ([], ["--json"]):
        result = cli("check", *args)
        assert (result.code, result.out) == (2, "")
