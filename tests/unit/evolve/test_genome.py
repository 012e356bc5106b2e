"""Genomes: the imperative form of programs, there and back."""

from dataclasses import replace

import pytest

from optdsl.evolve.genome import Statement, UndefinedVariable, from_program, to_program
from optdsl.frontend import find_source, load, stdlib
from optdsl.ir import print_program, verify
from optdsl.ops import BY_NAME


@pytest.mark.parametrize("name", stdlib())
def test_there_and_back(name: str) -> None:
    program = load(find_source(name))
    again = verify(to_program(from_program(program)))
    assert again == replace(program, doc="")
    assert print_program(again) == print_program(replace(program, doc=""))


def test_the_papers_raw_program(genome_of) -> None:
    """Dead statements stay in the genome."""
    genome = genome_of(
        "def train(g, m, lr):\n    dead = cos(g)\n    g = clip(g, lr)\n    m = m + 0.5\n"
        "    return g, m\n"
    )
    assert genome.statements == (
        Statement("dead", BY_NAME["cos"], ("g",)),
        Statement("g", BY_NAME["clip_by_global_norm"], ("g", "lr")),
        Statement("m", BY_NAME["+"], ("m", 0.5)),
    )
    assert genome.returned == ("g", "m")
    assert [entry.name for entry in genome.inputs] == ["g", "m", "lr"]


def test_a_constant_may_be_returned_for_a_state(genome_of) -> None:
    genome = genome_of("def train(g, m, c: scalar):\n    return g + m + c, 1, 2.5\n")
    assert genome.returned[1:] == (1.0, 2.5)
    assert to_program(genome).constants == (1.0, 2.5)


def test_a_variable_is_what_was_assigned_last(adam) -> None:
    statements = (
        Statement("a", BY_NAME["+"], ("g", 1.0)),
        Statement("g", BY_NAME["*"], ("a", 2.0)),
        Statement("a", BY_NAME["-"], ("g", "a")),
    )
    program = verify(to_program(replace(adam, statements=statements, returned=("a", "m", "v"))))
    assert [operation.args for operation in program.operations] == [(1, -1), (5, -2), (6, 5)]
    assert program.outputs == (7, 2, 3)


def test_functions_of_none_one_two_three_and_four_arguments(adam) -> None:
    statements = (
        Statement("a", BY_NAME["get_e"], ()),
        Statement("b", BY_NAME["cos"], (2.0,)),
        Statement("c", BY_NAME["/"], (3.0, "g")),
        Statement("d", BY_NAME["interpolate"], ("c", 4.0, "b")),
        Statement("e", BY_NAME["where<"], ("d", 5.0, 6.0, "a")),
    )
    program = verify(to_program(replace(adam, statements=statements, returned=("e", "m", "v"))))
    assert program.constants == (2.0, 3.0, 4.0, 5.0, 6.0)
    args = [operation.args for operation in program.operations]
    assert args == [(), (-1,), (-2, 1), (7, -3, 6), (8, -4, -5, 5)]


@pytest.mark.parametrize(
    "broken",
    [
        {"statements": (Statement("a", BY_NAME["cos"], ("nowhere",)),)},
        {"statements": (Statement("a", BY_NAME["+"], ("g", "a")),)},
        {"statements": (Statement("a", BY_NAME["+"], ("later", "g")),
                        Statement("later", BY_NAME["cos"], ("g",)))},
        {"statements": (Statement("a", BY_NAME["interpolate"], ("g", "nowhere", 0.5)),)},
        {"returned": ("nowhere", "m", "v")},
    ],
)  # fmt: skip
def test_what_reads_an_undefined_variable_is_no_program(adam, broken) -> None:
    with pytest.raises(UndefinedVariable, match=r"nowhere|a|later"):
        to_program(replace(adam, **broken))
