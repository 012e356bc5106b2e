"""The paper's mutations (section 2.1): insert, delete, modify; and scaling constants, to tune.

Each is a pure function of a genome and a random number generator, and may give an invalid genome:
`proposals.py` repeats until one is valid.
"""

import random
from collections.abc import Callable, Sequence
from operator import attrgetter, itemgetter
from typing import TypeVar

from optdsl.evolve.genome import Argument, Genome, Statement
from optdsl.ir import Program
from optdsl.ops import OpDef
from optdsl.passes.live import live_values

MAX_STATEMENTS = 100
"""Genomes stop growing here."""

MAX_CONSTANT = 1e30
"""Constants are not scaled up to this."""

SCALE_STEP = 1.0
"""The standard deviation of the binary logarithm of what a constant is scaled by."""

VARIABLE_SHARE = 0.75
"""How often a new argument is a variable rather than a constant."""

NEW_VARIABLE_SHARE = 0.5
"""How often an inserted statement assigns to a new variable."""

T = TypeVar("T")

_NAME = attrgetter("name")
_TARGET = itemgetter(0)

Mutation = Callable[[Genome, random.Random, Sequence[OpDef]], Genome]
"""(parent, randomness, functions to draw from) -> child."""


def insert(genome: Genome, rng: random.Random, functions: Sequence[OpDef]) -> Genome:
    """A new statement at a random place, with a random function and random arguments."""
    if len(genome.statements) >= MAX_STATEMENTS:
        return delete(genome, rng, functions)
    position = below(rng, len(genome.statements) + 1)
    statement = random_statement(genome, position, rng, functions)
    statements = genome.statements
    return _with(genome, (*statements[:position], statement, *statements[position:]))


def delete(genome: Genome, rng: random.Random, functions: Sequence[OpDef]) -> Genome:
    """Without one statement."""
    del functions
    statements = genome.statements
    if not statements:
        return genome
    position = below(rng, len(statements))
    return _with(genome, statements[:position] + statements[position + 1 :])


def modify(genome: Genome, rng: random.Random, functions: Sequence[OpDef]) -> Genome:
    """One argument becomes another variable or constant, or a constant is scaled by 2^N(0, 1)."""
    del functions
    if not genome.statements:
        return genome
    position = below(rng, len(genome.statements))
    target, op, args = genome.statements[position]
    if not args:
        return genome
    which = below(rng, len(args))
    old = args[which]
    choice = below(rng, 3 if isinstance(old, float) else 2)
    if choice == 2:
        new: Argument = _scaled(old, rng)  # pyright: ignore[reportArgumentType]
    elif choice == 1:
        new = rng.normalvariate(0.0, 1.0)
    else:
        new = pick(rng, variables(genome, position))
    args = (*args[:which], new, *args[which + 1 :])
    return replace_statement(genome, position, Statement(target, op, args))


def scale_constant(genome: Genome, rng: random.Random, functions: Sequence[OpDef]) -> Genome:
    """One constant times 2^N(0, 1): all that the strategy `tune` does."""
    del functions
    places = [
        (position, which)
        for position, statement in enumerate(genome.statements)
        for which, argument in enumerate(statement.args)
        if isinstance(argument, float)
    ]
    if not places:
        return genome
    position, which = pick(rng, places)
    target, op, args = genome.statements[position]
    args = (*args[:which], _scaled(args[which], rng), *args[which + 1 :])  # pyright: ignore
    return replace_statement(genome, position, Statement(target, op, args))


def has_constants_to_scale(program: Program) -> bool:
    """Whether `scale_constant` can change what a program does: a constant is live, and not 0."""
    live = live_values(program)
    constants = (
        abs(program.constants[~operand])
        for value, operation in enumerate(program.operations, start=len(program.inputs))
        if live[value]
        for operand in operation.args
        if operand < 0
    )
    return any(0.0 < constant < MAX_CONSTANT for constant in constants)


def randomize(genome: Genome, rng: random.Random, functions: Sequence[OpDef]) -> Genome:
    """A random program: as many statements, to the same variables, with random right-hand sides."""
    for position, statement in enumerate(genome.statements):
        fresh = random_statement(genome, position, rng, functions)
        genome = replace_statement(genome, position, fresh._replace(target=statement.target))
    return genome


EVOLUTION: tuple[tuple[str, Mutation], ...] = (
    ("insert", insert),
    ("delete", delete),
    ("modify", modify),
)
TUNE: tuple[tuple[str, Mutation], ...] = (("tune", scale_constant),)
RANDOM: tuple[tuple[str, Mutation], ...] = (("random", randomize),)

MUTATIONS: dict[str, tuple[tuple[str, Mutation], ...]] = {
    "evolution": EVOLUTION,
    "tune": TUNE,
    "random": RANDOM,
}
"""What each strategy draws from, uniformly."""

BY_NAME: dict[str, Mutation] = dict(entry for entries in MUTATIONS.values() for entry in entries)
"""Every mutation."""


def random_statement(
    genome: Genome, position: int, rng: random.Random, functions: Sequence[OpDef]
) -> Statement:
    """A statement that reads what is assigned before `position`."""
    op = pick(rng, functions)
    known = variables(genome, position)
    args = tuple(
        [
            pick(rng, known) if rng.random() < VARIABLE_SHARE else rng.normalvariate(0.0, 1.0)
            for _ in op.args
        ]
    )
    if rng.random() < NEW_VARIABLE_SHARE:
        return Statement(_fresh_name(genome), op, args)
    return Statement(pick(rng, variables(genome, len(genome.statements))), op, args)


def variables(genome: Genome, position: int) -> list[str]:
    """The variables that are assigned before a statement, each once, in order."""
    names = dict.fromkeys(map(_NAME, genome.inputs))
    names.update(dict.fromkeys(map(_TARGET, genome.statements[:position])))
    return list(names)


def below(rng: random.Random, bound: int) -> int:
    """A random number of 0, 1, ... below a bound; four times as fast as `randrange`."""
    return int(rng.random() * bound)


def pick(rng: random.Random, options: Sequence[T]) -> T:
    """One of them; see `below`."""
    return options[int(rng.random() * len(options))]


def replace_statement(genome: Genome, position: int, statement: Statement) -> Genome:
    """The genome with another statement in one place."""
    statements = genome.statements
    return _with(genome, (*statements[:position], statement, *statements[position + 1 :]))


def _with(genome: Genome, statements: tuple[Statement, ...]) -> Genome:
    return Genome(genome.inputs, statements, genome.returned)


def _scaled(constant: float, rng: random.Random) -> float:
    scaled = constant * 2.0 ** (SCALE_STEP * rng.normalvariate(0.0, 1.0))
    return scaled if abs(scaled) < MAX_CONSTANT else constant


def _fresh_name(genome: Genome) -> str:
    """A name that no statement assigns: v1, v2, ..."""
    taken = {*map(_NAME, genome.inputs), *map(_TARGET, genome.statements)}
    number = len(genome.statements) + 1
    while f"v{number}" in taken:
        number += 1
    return f"v{number}"
