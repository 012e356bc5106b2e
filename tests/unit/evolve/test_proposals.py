"""Candidates: checked without being run; proposals: always valid."""

import random
from dataclasses import replace

import pytest

from optdsl.diagnostics import Source
from optdsl.evolve.genome import Genome, Statement, from_program, to_program
from optdsl.evolve.mutations import MUTATIONS
from optdsl.evolve.proposals import KEYS, MAX_ATTEMPTS, Space, check, propose
from optdsl.frontend import find_source, load, stdlib
from optdsl.ir import Role, verify
from optdsl.ops import BY_NAME, OPS, FunctionSet, functions
from optdsl.passes.hashing import structural_hash
from optdsl.passes.live import reads_numbers, remove_dead_state
from optdsl.passes.protect import protect

BROKEN = Statement("update", BY_NAME["cos"], ("nowhere",))


def test_check_gives_program_and_key(adam) -> None:
    candidate = check(adam)
    assert candidate is not None
    assert candidate.genome is adam
    assert candidate.program == to_program(adam)
    assert candidate.key == structural_hash(candidate.program)


@pytest.mark.parametrize(
    "statement",
    [
        BROKEN,
        Statement("update", BY_NAME["global_norm"], ("g",)),  # the update is a scalar
        Statement("update", BY_NAME["interpolate"], ("g", "g", "m")),  # the third is no scalar
        Statement("update", BY_NAME["transpose"], ("g",)),  # the update has another shape
    ],
)
def test_what_is_no_program_is_no_candidate(adam, statement) -> None:
    assert check(replace(adam, statements=(*adam.statements, statement))) is None


def test_a_state_must_keep_its_kind(genome_of) -> None:
    genome = genome_of("def train(g, c: scalar):\n    return g + c, c\n")
    assert check(genome) is not None
    assert check(replace(genome, returned=(*genome.returned[:1], "g"))) is None


@pytest.mark.parametrize("strategy", MUTATIONS)
@pytest.mark.parametrize("which", ["paper", "all"])
def test_proposals_are_valid_and_reproducible(strategy: str, which: str) -> None:
    space = Space(OPS if which == "all" else functions(FunctionSet.PAPER))
    for i, name in enumerate(list(stdlib())[::4]):
        genome = from_program(load(find_source(name)))
        for step in range(1 if (which, strategy) == ("all", "random") else 6):
            seed = 100 * i + step
            proposal = propose(genome, random.Random(seed), MUTATIONS[strategy], space)
            again = propose(genome, random.Random(seed), MUTATIONS[strategy], space)
            assert proposal == again
            verify(proposal.candidate.program)
            assert proposal.candidate.key == structural_hash(proposal.candidate.program)
            # Hardly any random program with matrices is valid: then the parent is proposed.
            kept = proposal.mutation == "none" and (which, strategy) == ("all", "random")
            assert kept or proposal.mutation in [n for n, _ in MUTATIONS[strategy]]
            genome = proposal.candidate.genome


def test_invalid_children_are_counted(adam, paper_functions) -> None:
    calls = 0

    def fails_thrice(genome: Genome, *_: object) -> Genome:
        nonlocal calls
        calls += 1
        return replace(genome, statements=(BROKEN,)) if calls <= 3 else genome

    proposal = propose(adam, random.Random(0), [("stub", fails_thrice)], Space(paper_functions))
    assert (proposal.mutation, proposal.invalid, calls) == ("stub", 3, 4)


def test_the_parent_where_there_is_no_valid_child(adam, paper_functions) -> None:
    def fails(genome: Genome, *_: object) -> Genome:
        return replace(genome, statements=(BROKEN,))

    proposal = propose(adam, random.Random(0), [("stub", fails)], Space(paper_functions))
    assert (proposal.mutation, proposal.invalid) == ("none", MAX_ATTEMPTS)
    assert proposal.candidate.genome == adam


def test_the_update_may_have_to_depend_on_the_learning_rate() -> None:
    """Also through a state, and not through one that is dead."""

    def reads(body: str) -> bool:
        genome = from_program(load(Source("<test>", body)))
        assert check(genome) is not None
        return check(genome, keep_lr=True) is not None

    assert reads("def train(g, lr):\n    return g * lr\n")
    assert reads("def train(g, lr, m):\n    m = m + lr\n    return g * m, m\n")
    assert not reads("def train(g, lr):\n    x = g * lr\n    return g\n")
    assert not reads("def train(g, lr, m):\n    m = m + lr\n    return g, m\n")
    assert not reads("def train(g):\n    return g\n")


def test_no_proposal_loses_the_learning_rate(adam, paper_functions) -> None:
    space = Space(paper_functions, keep_lr=True)
    plain = Space(paper_functions)
    lost = 0
    for seed in range(300):
        drawn = [
            propose(adam, random.Random(seed), MUTATIONS["evolution"], one)
            for one in (plain, space)
        ]
        without, with_rate = (one.candidate.program for one in drawn)
        lost += not reads_numbers(without, Role.LEARNING_RATE)
        assert reads_numbers(with_rate, Role.LEARNING_RATE)
    assert lost > 10


def test_each_mutation_is_drawn_equally_often(adam, paper_functions) -> None:
    drawn = {"a": 0, "b": 0, "c": 0}

    def counting(name: str):
        def mutate(genome: Genome, *_: object) -> Genome:
            drawn[name] += 1
            return genome

        return name, mutate

    mutations = [counting(name) for name in drawn]
    for seed in range(900):
        propose(adam, random.Random(seed), mutations, Space(paper_functions))
    assert all(240 < count < 360 for count in drawn.values())


@pytest.mark.parametrize("level", KEYS)
def test_the_key_is_of_the_chosen_level(adam, paper_functions, level: str) -> None:
    space = Space(paper_functions, KEYS[level])
    candidate = check(adam, KEYS[level])
    assert candidate is not None
    assert candidate.key == KEYS[level](to_program(adam))
    proposal = propose(adam, random.Random(1), MUTATIONS["evolution"], space)
    assert proposal.candidate.key == KEYS[level](proposal.candidate.program)


def test_what_is_executed(genome_of, paper_functions) -> None:
    """Without what is dead, and protected only where the space is."""
    text = (
        "def train(g, dead, lr):\n    dead = dead + g\n    u = sqrt(g)\n    return lr * u, dead\n"
    )
    program = to_program(genome_of(text))
    plain = Space(paper_functions).executed(program)
    assert plain == remove_dead_state(program) != program
    protected = Space(paper_functions, protected=True).executed(program)
    assert protected == remove_dead_state(protect(program)) != plain
