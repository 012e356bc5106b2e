"""Programs as the search sees them: statements that assign to variables, dead ones included.

The paper's mutations are about variables ("a new or existing variable"), so they act on this form;
`to_program` gives the SSA form that everything else reads. A genome is plain data, shares its
statements with its parent's, and is cheap to make.
"""

from dataclasses import dataclass
from typing import NamedTuple

from optdsl.ir import Input, Operation, Program, Role
from optdsl.ops import OpDef

Argument = str | float
"""A variable or a constant."""


class Statement(NamedTuple):
    """`target = op(args)`."""

    target: str
    op: OpDef
    args: tuple[Argument, ...]


@dataclass(frozen=True, slots=True)
class Genome:
    """A program in imperative form."""

    inputs: tuple[Input, ...]
    statements: tuple[Statement, ...]
    returned: tuple[Argument, ...]
    """The update, then each state variable's new value."""


class UndefinedVariable(ValueError):
    """A statement reads a variable that nothing has assigned: the genome is no program."""


def from_program(program: Program) -> Genome:
    """The genome whose program this is."""

    def argument(value: int) -> Argument:
        return program.name_of(value) if value >= 0 else program.constants[~value]

    statements = tuple(
        Statement(operation.name, operation.op, tuple(argument(arg) for arg in operation.args))
        for operation in program.operations
    )
    returned = tuple(argument(output) for output in program.outputs)
    return Genome(program.inputs, statements, returned)


def to_program(genome: Genome) -> Program:
    """The genome's program; not checked beyond its variables.

    Raises:
        UndefinedVariable: if there is none.
    """
    constants: list[float] = []
    values = {entry.name: i for i, entry in enumerate(genome.inputs)}
    operations: list[Operation] = []
    number = len(values)

    def constant(value: float) -> int:
        constants.append(value)
        return -len(constants)

    def operand(argument: Argument) -> int:
        return constant(argument) if isinstance(argument, float) else values[argument]  # pyright: ignore

    # The search spends its time here: functions of one and two arguments are written out, and
    # named tuples are made without the detour over their own constructor.
    new = tuple.__new__
    try:
        for target, op, args in genome.statements:
            if len(args) == 1:
                (x,) = args
                operands = (values[x] if x.__class__ is str else constant(x),)  # pyright: ignore
            elif len(args) == 2:
                x, y = args
                operands = (
                    values[x] if x.__class__ is str else constant(x),  # pyright: ignore
                    values[y] if y.__class__ is str else constant(y),  # pyright: ignore
                )
            else:
                operands = tuple(map(operand, args))
            operations.append(new(Operation, (op, operands, target)))
            values[target] = number
            number += 1
        outputs = tuple(map(operand, genome.returned))
    except KeyError as error:
        raise UndefinedVariable(str(error)) from None
    return Program(genome.inputs, tuple(constants), tuple(operations), outputs)


def live_statements(genome: Genome) -> int:
    """How many statements the update depends on, at any step of training."""
    states = [entry.name for entry in genome.inputs if entry.role is Role.STATE]
    new = dict(zip(states, genome.returned[1:], strict=True))
    wanted: set[Argument] = {genome.returned[0]}
    while True:
        live, reached = 0, wanted.copy()
        for target, _, args in reversed(genome.statements):
            if target in reached:
                live += 1
                reached.remove(target)
                reached.update(args)
        more = wanted.union(value for state, value in new.items() if state in reached)
        if len(more) == len(wanted):
            return live
        wanted = more
