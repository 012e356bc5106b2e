"""Abstract execution of candidates: mutate until valid, and find the key for the cache."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from optdsl.backends.fingerprint import behavioural_hash
from optdsl.evolve.expressions import expressions
from optdsl.evolve.genome import Genome, to_program
from optdsl.evolve.mutations import Mutation, pick
from optdsl.ir import Program
from optdsl.ops import OpDef
from optdsl.passes.canonical import canonical_hash
from optdsl.passes.hashing import structural_hash
from optdsl.passes.live import remove_dead_state
from optdsl.passes.protect import protect

MAX_ATTEMPTS = 1000
"""After so many invalid children of one parent the parent itself is proposed."""


@dataclass(frozen=True)
class Candidate:
    """A valid genome with what is known of it without running it."""

    genome: Genome
    key: str
    """Its hash: programs with equal keys are evaluated once."""

    @cached_property
    def program(self) -> Program:
        """The genome's program, made when it is asked for: most candidates' keys are known."""
        return to_program(self.genome)


@dataclass(frozen=True, slots=True)
class Proposal:
    """A child and how it was made."""

    candidate: Candidate
    mutation: str
    invalid: int
    """Children that were thrown away before it."""


KEYS: dict[str, Callable[[Program], str]] = {
    "structural": structural_hash,
    "canonical": canonical_hash,
    "behavioural": behavioural_hash,
}
"""What may be a program's key, from the strictest to the loosest."""


@dataclass(frozen=True)
class Space:
    """The programs of a search."""

    functions: Sequence[OpDef]
    """What mutations draw from."""
    key: Callable[[Program], str] = structural_hash
    """One of `KEYS`."""
    protected: bool = False
    """Whether functions are kept inside of their domains."""
    keep_lr: bool = False
    """Whether every program's update must depend on the learning rate."""

    def executed(self, program: Program) -> Program:
        """What is run of a genome's program."""
        return remove_dead_state(protect(program) if self.protected else program)


def check(
    genome: Genome, key: Callable[[Program], str] = structural_hash, keep_lr: bool = False
) -> Candidate | None:
    """The candidate, or None if the genome is no valid program; see `Space` for the options."""
    found = expressions(genome.inputs).key(genome, key, keep_lr)
    return None if found is None else Candidate(genome, found)


def propose(
    parent: Genome,
    rng: random.Random,
    mutations: Sequence[tuple[str, Mutation]],
    space: Space,
) -> Proposal:
    """Mutate the parent until the child is valid."""
    for invalid in range(MAX_ATTEMPTS):
        name, mutate = pick(rng, mutations)
        candidate = check(mutate(parent, rng, space.functions), space.key, space.keep_lr)
        if candidate is not None:
            return Proposal(candidate, name, invalid)
    candidate = check(parent, space.key)
    assert candidate is not None, "parents are valid"
    return Proposal(candidate, "none", MAX_ATTEMPTS)
