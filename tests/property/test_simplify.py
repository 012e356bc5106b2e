"""Formal simplification: any program stays valid, gets no longer, and does what it did."""

import random

import pytest
from hypothesis import given, settings
from support.programs import EVERYTHING, PAPER, programs, tame_constants

from optdsl.evolve.genome import from_program, to_program
from optdsl.evolve.mutations import EVOLUTION
from optdsl.evolve.proposals import Space, propose
from optdsl.frontend import find_source, load
from optdsl.ir import Program, print_program, verify
from optdsl.ops import FunctionSet, Kind, functions
from optdsl.passes.algebra import Level, simplify_algebra
from optdsl.passes.fold import fold_constants
from optdsl.passes.live import remove_dead_state
from optdsl.passes.merge import merge_equal
from optdsl.simplify.check import TOLERANCE, difference
from optdsl.simplify.simplify import simplify

PARENTS = ("lion", "adamw", "nesterov", "adabelief", "lamb", "adan")

any_program = programs(EVERYTHING, state_kinds=tuple(Kind))
tame_program = programs(PAPER, constants=tame_constants(), dtypes=(None,))


def mutant(seed: int) -> Program:
    """A program of the standard library with bloat: dozens of mutations, accepted unseen."""
    rng = random.Random(seed)
    genome = from_program(load(find_source(PARENTS[seed % len(PARENTS)])))
    space = Space(functions(FunctionSet.PAPER))
    for _ in range(rng.randrange(5, 50)):
        genome = propose(genome, rng, EVOLUTION, space).candidate.genome
    return to_program(genome)


@settings(max_examples=40)
@given(any_program)
def test_any_program_is_simplified_without_a_crash(program: Program) -> None:
    text = print_program(program)
    result = simplify(program)
    verify(result.program)
    assert print_program(program) == text
    assert result.after <= result.before == len(program.operations)
    texts = [step.program for step in result.steps]
    assert not texts or texts[-1] == print_program(result.program)


@settings(max_examples=40)
@given(any_program)
def test_merging_changes_no_bit(program: Program) -> None:
    merged = verify(merge_equal(program))
    assert difference(program, merged, Level.EXACT) in (0.0, None)
    assert merge_equal(merged) == merged


@settings(max_examples=60)
@given(tame_program)
def test_the_algebra_changes_nothing_but_rounding(program: Program) -> None:
    """The unchecked pass: what it gets wrong, the check of each step would only hide."""
    program = fold_constants(remove_dead_state(program))
    written, _ = simplify_algebra(program)
    gap = difference(program, verify(written), Level.APPROX)
    assert gap is None or gap <= TOLERANCE, f"{print_program(program)}\n{print_program(written)}"


@pytest.mark.parametrize("seed", range(24))
def test_mutants_keep_their_behaviour(seed: int) -> None:
    program = mutant(seed)
    result = simplify(program)
    gap = difference(program, result.program, Level.APPROX, result.rate_factor)
    assert gap is None or gap <= 10 * TOLERANCE
