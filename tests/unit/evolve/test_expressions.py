"""Shared expressions: the same verdicts and keys as the passes, program by program."""

import random
from dataclasses import replace

import pytest

from optdsl.evolve import expressions as module
from optdsl.evolve.expressions import Expressions, expressions
from optdsl.evolve.genome import (
    Genome,
    Statement,
    UndefinedVariable,
    from_program,
    live_statements,
    to_program,
)
from optdsl.evolve.mutations import EVOLUTION, RANDOM
from optdsl.frontend import find_source, load, stdlib
from optdsl.ops import BY_NAME, OPS
from optdsl.passes.canonical import canonical_hash
from optdsl.passes.hashing import structural_hash
from optdsl.passes.infer import KindError, infer
from optdsl.passes.live import live_values


def key_by_passes(genome: Genome) -> str | None:
    try:
        program = to_program(genome)
        infer(program)
    except (UndefinedVariable, KindError):
        return None
    return structural_hash(program)


@pytest.mark.parametrize("name", stdlib())
def test_the_same_as_the_passes(name: str) -> None:
    """Children of children, some with returned values exchanged; half of them are invalid."""
    start = from_program(load(find_source(name)))
    rng = random.Random(name)
    genome, valid, invalid = start, 0, 0
    for number in range(200):
        _, mutate = rng.choice((*EVOLUTION, *RANDOM) if number % 10 == 0 else EVOLUTION)
        child = mutate(genome, rng, OPS)
        if number % 7 == 0:
            assigned = [entry.name for entry in child.inputs] + [s.target for s in child.statements]
            returned = list(child.returned)
            returned[rng.randrange(len(returned))] = rng.choice([*assigned, 0.5, "nowhere"])
            child = replace(child, returned=tuple(returned))
        expected = key_by_passes(child)
        assert expressions(child.inputs).key(child, structural_hash) == expected
        if expected is None:
            invalid += 1
            continue
        valid += 1
        program = to_program(child)
        assert live_statements(child) == sum(live_values(program)[len(program.inputs) :])
        genome = child if len(child.statements) < 30 else start
    assert valid > 20
    assert invalid > 5


def test_dead_state_and_dead_code_are_not_in_the_roots(genome_of) -> None:
    genome = genome_of(
        "def train(g, m, v):\n    m = g + v\n    v = v * 0.5\n    return g + v, m, v\n"
    )
    space = Expressions(genome.inputs)
    update, m, v = space.roots(genome)
    assert (update is not None, m, v is not None) == (True, None, True)
    dead = Statement("dead", BY_NAME["cos"], ("v",))
    more = replace(genome, statements=(*genome.statements, dead))
    assert space.roots(more) == (update, m, v)


def test_states_that_live_through_each_other(genome_of) -> None:
    genome = genome_of("def train(g, a, b, c):\n    return g + a, b, c, c + g\n")
    assert None not in Expressions(genome.inputs).roots(genome)


def test_a_key_is_made_once(genome_of) -> None:
    genome = genome_of("def train(g, m):\n    return g * 2, m\n")
    other = genome_of("def train(g, m):\n    x = g * 2\n    y = cos(x)\n    return x, m + y\n")
    calls = []

    def key(program) -> str:
        calls.append(program)
        return structural_hash(program)

    space = Expressions(genome.inputs)
    assert {space.key(one, key) for one in (genome, other, genome)} == {key_by_passes(genome)}
    assert len(calls) == 1
    assert space.key(genome, canonical_hash) == canonical_hash(to_program(genome))


def test_zeros_are_told_apart(genome_of) -> None:
    def key(zero: float) -> str | None:
        genome = genome_of("def train(g):\n    return g / 0.5\n")
        op = genome.statements[0].op
        changed = replace(genome, statements=(Statement("x", op, ("g", zero)),), returned=("x",))
        return space.key(changed, structural_hash)

    space = Expressions(genome_of("def train(g):\n    return g\n").inputs)
    assert len({key(0.0), key(-0.0), key(0.0), key(1.0)}) == 3


def test_what_is_remembered_is_bounded(adam, paper_functions, monkeypatch) -> None:
    monkeypatch.setattr(module, "REMEMBERED", 300)
    rng = random.Random(0)
    sizes = []
    for _ in range(500):
        child = rng.choice(EVOLUTION)[1](adam, rng, paper_functions)
        assert expressions(child.inputs).key(child, structural_hash) == key_by_passes(child)
        sizes.append(len(expressions(child.inputs)))
    assert max(sizes) < 300 + 2 * len(adam.statements)
    for _ in range(3 * module.SPACES):
        inputs = (*adam.inputs,)  # another object
        assert expressions(inputs).inputs is inputs
    assert len(module._SPACES) <= module.SPACES
