"""`optdsl simplify`."""

import pytest

BLOATED = """
def train(w, g, m, v, lr):
    m = interp(g, m, 0.9)
    v = cosh(m)
    c = m * m
    c = sqrt(c)
    u = m / c
    lr = lr * 0.01
    u = u * lr
    return u, m, v
"""


def test_without_a_task(cli, write) -> None:
    result = cli("simplify", write("bloated.opt", BLOATED), "--json")
    assert (result.code, result.err) == (0, "")
    found = result.json
    assert (found["before"], found["after"]) == (7, 3)
    assert found["learning_rate_factor"] == 0.01
    assert found["measured"] is None
    assert found["steps"][-1]["program"] == found["program"]
    assert {step["stage"] for step in found["steps"]} == {"exact", "algebra", "names"}
    assert "update = sign(momentum)" in found["program"]


def test_output_is_a_program(cli, write, tmp_path) -> None:
    out = tmp_path / "out.opt"
    result = cli("simplify", write("bloated.opt", BLOATED), "-o", out)
    assert (result.code, result.out) == (0, "")
    assert "7 to 3 statements" in result.err
    assert cli("check", out).code == 0


def test_the_papers_program_4_by_algebra(cli, paper, tmp_path) -> None:
    out = tmp_path / "out.opt"
    assert cli("simplify", paper / "program_4.opt", "-o", out).code == 0
    text = out.read_text()
    assert "sign(average)" in text
    assert "weight_decay=0.4602" in text


def test_evidence_removes_what_costs_nothing(cli, write) -> None:
    text = "def train(w, g, lr):\n    u = sin(g)\n    u = arcsin(u)\n    u = tanh(u)\n"
    file = write("sgd.opt", text + "    u = u * lr\n    return u\n")
    result = cli("simplify", file, "--task", "quadratic", "--tolerance", 0.5, "--json")
    assert result.code == 0
    assert result.json["after"] < result.json["before"]
    assert result.json["measured"]["result"]["fitness"] > -10


@pytest.mark.parametrize("tolerance", ["0", "nan", "-1"])
def test_a_wrong_tolerance_is_a_usage_error(cli, tolerance: str) -> None:
    assert cli("simplify", "lion", f"--tolerance={tolerance}").code == 2


def test_an_unknown_task_is_a_usage_error(cli) -> None:
    result = cli("simplify", "lion", "--task", "quadratik")
    assert (result.code, result.out) == (2, "")
    assert "no task is called" in result.err
