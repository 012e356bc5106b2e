"""From a program to the normal forms of its values."""

from dataclasses import dataclass

from optdsl.ir import Program
from optdsl.ops import Kind
from optdsl.passes.algebra.forms import Algebra, Form, number

Value = tuple[Kind, Form]
"""The kind of the value that a form stands for: `0 * w` is an array, its form the number 0."""


@dataclass(frozen=True)
class Forms:
    """What a program computes."""

    update: Form
    new: dict[int, Form]
    """Each state variable's new value."""


def read_program(algebra: Algebra, program: Program) -> Forms:
    """The forms of a program's outputs.

    Raises:
        OverflowError: if a coefficient is beyond the range of doubles.
    """
    values = read_values(algebra, program)

    def form(operand: int) -> Form:
        return values[operand][1] if operand >= 0 else number(program.constants[~operand])

    update, *new = [form(output) for output in program.outputs]
    return Forms(update, dict(zip(program.states, new, strict=True)))


def read_values(
    algebra: Algebra, program: Program, inputs: list[Value] | None = None
) -> list[Value]:
    """The forms of all values.

    Args:
        algebra: what they are made in.
        program: any valid program.
        inputs: what the program's inputs are; by default leaves of the algebra.
    """
    if inputs is None:
        inputs = [(entry.kind, algebra.leaf(i)) for i, entry in enumerate(program.inputs)]
    values = list(inputs)
    for op, args, _ in program.operations:
        operands = [
            values[arg] if arg >= 0 else (Kind.SCALAR, number(program.constants[~arg]))
            for arg in args
        ]
        kinds = tuple(kind for kind, _ in operands)
        result = op.kind(kinds)
        assert isinstance(result, Kind)
        values.append((result, algebra.apply(op, [form for _, form in operands], kinds)))
    return values
