"""Building a program value by value, and giving its values names that print as legal text."""

from optdsl.ir.program import Input, Operation, Program
from optdsl.ops import OpDef

TEMPORARY = "t"
"""The name of a result that the source gives none."""


class Builder:
    """Collects operations; `finish` gives the program.

    Operands are values as in `Program`, or `float`s for constants.
    """

    def __init__(self, inputs: tuple[Input, ...]) -> None:
        """Begin with the inputs as values 0, 1, ..."""
        self.inputs = inputs
        self.constants: list[float] = []
        self.operations: list[Operation] = []

    def operand(self, value: int | float) -> int:
        """The operand for a value or a new constant."""
        if isinstance(value, int):
            return value
        self.constants.append(value)
        return ~(len(self.constants) - 1)

    def add(self, op: OpDef, args: list[int | float], name: str = TEMPORARY) -> int:
        """Append an operation; the result's value."""
        operands = tuple(self.operand(arg) for arg in args)
        self.operations.append(Operation(op, operands, name))
        return len(self.inputs) + len(self.operations) - 1

    def rename(self, value: int, name: str) -> None:
        """Name a result after the variable it is assigned to."""
        position = value - len(self.inputs)
        self.operations[position] = self.operations[position]._replace(name=name)

    def finish(self, outputs: list[int | float], doc: str = "") -> Program:
        """The program, with names made legal."""
        program = Program(
            self.inputs,
            (),
            tuple(self.operations),
            tuple(self.operand(output) for output in outputs),
            doc,
        )
        operations = _with_legal_names(program)
        return Program(self.inputs, tuple(self.constants), operations, program.outputs, doc)


def _with_legal_names(program: Program) -> tuple[Operation, ...]:
    """Rename a result where its name would hide a value that is still to be read."""
    first = len(program.inputs)
    end = first + len(program.operations)
    last_read: dict[int, int] = {}
    for value, operation in enumerate(program.operations, start=first):
        for arg in operation.args:
            last_read[arg] = value
    for output in program.outputs:
        last_read[output] = end
    bound = {entry.name: value for value, entry in enumerate(program.inputs)}
    taken = {program.name_of(value) for value in range(end)}
    numbers: dict[str, int] = {}
    operations: list[Operation] = []
    for value, operation in enumerate(program.operations, start=first):
        name = operation.name
        if name in bound and last_read.get(bound[name], -1) > value:
            name = _fresh(name, taken, numbers)
        bound[name] = value
        operations.append(operation if name == operation.name else operation._replace(name=name))
    return tuple(operations)


def _fresh(name: str, taken: set[str], numbers: dict[str, int]) -> str:
    """A name with a number; `numbers` has the last one tried for each name."""
    stem = name if name.endswith("_") else f"{name}_"  # `__2` would be reserved
    while True:
        numbers[name] = numbers.get(name, 1) + 1
        fresh = f"{stem}{numbers[name]}"
        if fresh not in taken:
            taken.add(fresh)
            return fresh
