"""The paper's mutations: pure, reproducible, and reaching everything that they should."""

import copy
import math
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from statistics import fmean, pstdev

import pytest

from optdsl.evolve import mutations
from optdsl.evolve.genome import Genome, Statement, UndefinedVariable, from_program, to_program
from optdsl.evolve.mutations import (
    MAX_STATEMENTS,
    MUTATIONS,
    Mutation,
    delete,
    has_constants_to_scale,
    insert,
    modify,
    randomize,
    scale_constant,
    variables,
)
from optdsl.evolve.proposals import check
from optdsl.frontend import find_source, load, stdlib
from optdsl.ir import verify
from optdsl.ops import BY_NAME, OPS, FunctionSet, OpDef, functions

ALL: dict[str, Mutation] = {name: mutate for each in MUTATIONS.values() for name, mutate in each}
SAMPLES = 3000


def children(
    mutate: Mutation, genome: Genome, drawn_from: tuple[OpDef, ...], count: int = SAMPLES
) -> Iterator[Genome]:
    rng = random.Random()
    for seed in range(count):
        rng.seed(seed)
        yield mutate(genome, rng, drawn_from)


def position_of_insertion(parent: Genome, child: Genome) -> int:
    return next(
        i
        for i in range(len(child.statements))
        if (*child.statements[:i], *child.statements[i + 1 :]) == parent.statements
    )


def changed(parent: Genome, child: Genome) -> list[tuple[object, object]]:
    """The arguments that differ, before and after; nothing else may."""
    assert (child.inputs, child.returned) == (parent.inputs, parent.returned)
    pairs: list[tuple[object, object]] = []
    for old, new in zip(parent.statements, child.statements, strict=True):
        assert (old.target, old.op) == (new.target, new.op)
        pairs += [(a, b) for a, b in zip(old.args, new.args, strict=True) if a != b]
    return pairs


def test_the_strategies() -> None:
    assert {name: [n for n, _ in each] for name, each in MUTATIONS.items()} == {
        "evolution": ["insert", "delete", "modify"],
        "tune": ["tune"],
        "random": ["random"],
    }


@pytest.mark.parametrize("name", ALL)
def test_pure_and_reproducible(name: str, adam, paper_functions) -> None:
    mutate, before = ALL[name], copy.deepcopy(adam.statements)
    for seed in range(200):
        one = mutate(adam, random.Random(seed), paper_functions)
        two = mutate(adam, random.Random(seed), paper_functions)
        assert one == two
        assert (one.inputs, one.returned) == (adam.inputs, adam.returned)
    assert [(s.target, s.op.name, s.args) for s in adam.statements] == [
        (s.target, s.op.name, s.args) for s in before
    ]


@pytest.mark.parametrize("name", ALL)
def test_what_is_valid_verifies(name: str, paper_functions) -> None:
    """Parents of all kinds, functions of all sets; some children of each are valid."""
    for drawn_from in (paper_functions, OPS):
        valid = 0
        for i, parent_name in enumerate(stdlib()):
            parent = from_program(load(find_source(parent_name)))
            for seed in range(20):
                child = ALL[name](parent, random.Random(1000 * i + seed), drawn_from)
                candidate = check(child)
                if candidate is not None:
                    verify(candidate.program)
                    valid += 1
        assert valid > 0


def test_insert_adds_one_statement_anywhere(adam, paper_functions) -> None:
    positions: Counter[int] = Counter()
    for child in children(insert, adam, paper_functions):
        assert len(child.statements) == len(adam.statements) + 1
        positions[position_of_insertion(adam, child)] += 1
    assert set(positions) == set(range(len(adam.statements) + 1))
    expected = SAMPLES / len(positions)
    assert all(abs(count - expected) < 0.3 * expected for count in positions.values())


def test_insert_draws_functions_arguments_and_targets_at_random(adam, paper_functions) -> None:
    used: Counter[OpDef] = Counter()
    read: Counter[str] = Counter()
    constants: list[float] = []
    fresh = 0
    names = {entry.name for entry in adam.inputs} | {s.target for s in adam.statements}
    targets: Counter[str] = Counter()
    for child in children(insert, adam, paper_functions):
        position = position_of_insertion(adam, child)
        target, op, args = child.statements[position]
        used[op] += 1
        assert len(args) == len(op.args)
        known = variables(adam, position)
        for argument in args:
            if isinstance(argument, str):
                assert argument in known, "only what was assigned before"
                read[argument] += 1
            else:
                constants.append(argument)
        if target in names:
            targets[target] += 1
        else:
            fresh += 1
    assert set(used) == set(paper_functions)
    assert set(read) == names
    share = read.total() / (read.total() + len(constants))
    assert share == pytest.approx(mutations.VARIABLE_SHARE, abs=0.03)
    assert fmean(constants) == pytest.approx(0.0, abs=0.1)
    assert pstdev(constants) == pytest.approx(1.0, abs=0.1)
    assert fresh / SAMPLES == pytest.approx(mutations.NEW_VARIABLE_SHARE, abs=0.04)
    assert set(targets) == names, "an existing variable may be any, inputs too"


def test_genomes_stop_growing(adam, paper_functions) -> None:
    rng = random.Random(0)
    genome = adam
    while len(genome.statements) < MAX_STATEMENTS:
        genome = insert(genome, rng, paper_functions)
    assert len(insert(genome, rng, paper_functions).statements) == MAX_STATEMENTS - 1


def test_new_variables_have_new_names(adam, paper_functions) -> None:
    taken = replace(adam, statements=(*adam.statements, Statement("v10", BY_NAME["cos"], ("g",))))
    for child in children(insert, taken, paper_functions, 500):
        targets = [statement.target for statement in child.statements]
        assert targets.count("v10") <= 2
        new = targets[position_of_insertion(taken, child)]
        assert new in variables(taken, 99) or new == "v11"


def test_delete_removes_any_one_statement(adam, paper_functions) -> None:
    kept: Counter[tuple[Statement, ...]] = Counter()
    for child in children(delete, adam, paper_functions):
        kept[child.statements] += 1
    statements = adam.statements
    each = [statements[:i] + statements[i + 1 :] for i in range(len(statements))]
    assert set(kept) == set(each)
    expected = SAMPLES / len(each)
    assert all(abs(count - expected) < 0.3 * expected for count in kept.values())


def test_modify_changes_one_argument_in_every_way(adam, paper_functions) -> None:
    kinds: Counter[str] = Counter()
    logs: list[float] = []
    fresh: list[float] = []
    for child in children(modify, adam, paper_functions):
        pairs = changed(adam, child)
        assert len(pairs) <= 1
        for old, new in pairs:
            names = {str: "variable", float: "constant"}
            kind = f"{names[type(old)]} to {names[type(new)]}"
            if isinstance(old, float) and isinstance(new, float):
                ratio = new / old
                # drawn anew, every other constant is negative; scaled, none is
                if ratio < 0:
                    kind += ", fresh"
                logs.append(math.log2(abs(ratio)))
            if isinstance(old, str) and isinstance(new, float):
                fresh.append(new)
            kinds[kind] += 1
        kinds["nothing"] += not pairs
    assert set(kinds) == {
        "variable to variable",
        "variable to constant",
        "constant to variable",
        "constant to constant",
        "constant to constant, fresh",
        "nothing",  # the variable that was there, or a function without arguments
    }
    assert all(count > 50 for count in kinds.values())
    assert fmean(fresh) == pytest.approx(0.0, abs=0.15)
    assert pstdev(fresh) == pytest.approx(1.0, abs=0.15)


def test_modify_reaches_every_argument_and_reads_only_what_is_defined(
    adam, paper_functions
) -> None:
    touched: set[tuple[int, int]] = set()
    for child in children(modify, adam, paper_functions):
        to_program(child)  # raises for an undefined variable
        for i, (old, new) in enumerate(zip(adam.statements, child.statements, strict=True)):
            touched |= {(i, j) for j in range(len(old.args)) if old.args[j] != new.args[j]}
    assert touched == {(i, j) for i, s in enumerate(adam.statements) for j in range(len(s.args))}


def test_scaling_is_by_a_power_of_two_drawn_from_a_normal(adam, paper_functions) -> None:
    logs: list[float] = []
    places: Counter[float] = Counter()
    for child in children(scale_constant, adam, paper_functions):
        ((old, new),) = changed(adam, child)
        assert isinstance(old, float)
        assert isinstance(new, float)
        assert new * old > 0, "the sign stays"
        logs.append(math.log2(new / old))
        places[old] += 1
    assert fmean(logs) == pytest.approx(0.0, abs=0.06)
    assert pstdev(logs) == pytest.approx(1.0, abs=0.06)
    assert set(places) == {0.9, 0.99, 0.03}
    assert min(places.values()) > 0.25 * SAMPLES


def test_constants_stay_finite(genome_of, paper_functions) -> None:
    genome = genome_of("def train(g):\n    a = g * 9e29\n    return a * -9e29\n")
    for seed in range(300):
        for mutate in (scale_constant, modify):
            genome = mutate(genome, random.Random(seed), paper_functions)
            constants = [a for s in genome.statements for a in s.args if isinstance(a, float)]
            assert all(abs(constant) < 1e30 for constant in constants)


def test_scaling_zero_and_scaling_nothing(genome_of, paper_functions) -> None:
    rng = random.Random(0)
    zero = genome_of("def train(g):\n    return g * 0.0\n")
    assert scale_constant(zero, rng, paper_functions) == zero
    none = genome_of("def train(g, lr):\n    return lr * g\n")
    assert scale_constant(none, rng, paper_functions) == none


@pytest.mark.parametrize("name", [*ALL])
def test_an_empty_genome(name: str, genome_of, paper_functions) -> None:
    empty = genome_of("def train(g):\n    return g\n")
    child = ALL[name](empty, random.Random(0), paper_functions)
    assert len(child.statements) == (1 if name == "insert" else 0)


def test_randomize_keeps_only_the_targets(adam, paper_functions) -> None:
    used: set[OpDef] = set()
    for child in children(randomize, adam, paper_functions, 300):
        assert [s.target for s in child.statements] == [s.target for s in adam.statements]
        assert child.statements != adam.statements
        to_program(child)
        used |= {statement.op for statement in child.statements}
    assert used == set(paper_functions)


def test_only_functions_that_are_offered_are_used(adam) -> None:
    offered = functions(FunctionSet.EXTENDED)
    for mutate in (insert, randomize):
        for child in children(mutate, adam, offered, 200):
            new = {s.op for s in child.statements} - {s.op for s in adam.statements}
            assert new <= set(offered)


def test_deleting_what_is_read_later_is_no_program(adam, paper_functions) -> None:
    failed = 0
    for child in children(delete, adam, paper_functions, 100):
        try:
            to_program(child)
        except UndefinedVariable:
            failed += 1
    assert 0 < failed < 100


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("return lr * g, m", False),
        ("return 0.1 * g, m", True),
        ("return lr * g * 0.0, m", False),
        ("return lr * minimum(g, 1e38), m", False),
        ("return lr * g, m * 0.5", False),
        ("return lr * m, m * 0.5", True),
        ("unused = 0.5 * g\n    return lr * g, m", False),
    ],
)
def test_whether_there_is_anything_to_tune(genome_of, body: str, expected: bool) -> None:
    """Only constants that are live and that `scale_constant` can change."""
    program = to_program(genome_of(f"def train(g, m, lr):\n    {body}\n"))
    assert has_constants_to_scale(program) == expected
