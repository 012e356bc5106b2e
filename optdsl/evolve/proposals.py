"""Abstract execution of candidates: mutate until valid, and find the key for the cache."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from optdsl.evolve.genome import Genome, UndefinedVariable, to_program
from optdsl.evolve.mutations import Mutation
from optdsl.ir import Program
from optdsl.ops import OpDef
from optdsl.passes.hashing import structural_hash
from optdsl.passes.infer import KindError, infer

MAX_ATTEMPTS = 1000
"""After so many invalid children of one parent the parent itself is proposed."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A valid genome with what is known of it without running it."""

    genome: Genome
    program: Program
    key: str
    """Its structural hash: equal keys mean equal fitness."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """A child and how it was made."""

    candidate: Candidate
    mutation: str
    invalid: int
    """Children that were thrown away before it."""


def check(genome: Genome) -> Candidate | None:
    """The candidate, or None if the genome is no valid program."""
    try:
        program = to_program(genome)
        infer(program)
    except (UndefinedVariable, KindError):
        return None
    return Candidate(genome, program, structural_hash(program))


def propose(
    parent: Genome,
    rng: random.Random,
    mutations: Sequence[tuple[str, Mutation]],
    functions: Sequence[OpDef],
) -> Proposal:
    """Mutate the parent until the child is valid."""
    for invalid in range(MAX_ATTEMPTS):
        name, mutate = mutations[rng.randrange(len(mutations))]
        candidate = check(mutate(parent, rng, functions))
        if candidate is not None:
            return Proposal(candidate, name, invalid)
    candidate = check(parent)
    assert candidate is not None, "parents are valid"
    return Proposal(candidate, "none", MAX_ATTEMPTS)
