"""`optdsl compile`."""

import os

import pytest

import optdsl
from optdsl.passes.hashing import structural_hash


def test_the_ir_is_the_live_program_as_text(cli, paper) -> None:
    file = paper / "program_8.opt"
    result = cli("compile", file, "--target", "ir")
    assert (result.code, result.err) == (0, "")
    program = optdsl.parse(result.out)
    assert str(program) == result.out
    assert len(program.ir.operations) == 12
    assert [program.ir.inputs[state].name for state in program.ir.states] == ["v"]
    assert structural_hash(program.ir) == structural_hash(optdsl.load(str(file)).ir)


def test_protected(cli) -> None:
    text = "def train(g, lr):\n    return lr * sqrt(g)\n"
    assert "abs(g)" in cli("compile", "-", "--target", "ir", "--protected", stdin=text).out
    assert "abs(g)" not in cli("compile", "-", "--target", "ir", stdin=text).out


@pytest.mark.parametrize("target", ["ir", "jax"])
def test_to_a_file(cli, tmp_path, target: str) -> None:
    out = tmp_path / "out.txt"
    result = cli("compile", "lion", "--target", target, "-o", out)
    assert (result.code, result.out, result.err) == (0, "", f"wrote {out}\n")
    assert out.read_text() == cli("compile", "lion", "--target", target).out
    assert [path.name for path in tmp_path.iterdir()] == ["out.txt"]


def test_where_it_can_not_be_written(cli, tmp_path) -> None:
    for out in (tmp_path / "no" / "out.py", tmp_path):
        result = cli("compile", "lion", "-o", out)
        assert (result.code, result.out) == (2, "")
        assert result.err.startswith(f"optdsl: can't write {out}: ")
    assert os.listdir(tmp_path) == []


def test_an_unknown_target_is_a_usage_error(cli) -> None:
    result = cli("compile", "lion", "--target", "c")
    assert (result.code, result.out) == (2, "")


def test_jax_is_the_default(cli) -> None:
    result = cli("compile", "lion")
    assert (result.code, result.err) == (0, "")
    assert result.out == cli("compile", "lion", "--target", "jax").out
    compile(result.out, "lion.py", "exec")
    assert "optdsl" not in [
        line.split()[1].partition(".")[0]
        for line in result.out.splitlines()
        if line.startswith(("import ", "from "))
    ]
