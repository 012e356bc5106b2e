"""What is added to the weights, as optax has it, in place of what is taken from them."""

from dataclasses import replace

from optdsl.ir import Builder, Operation, Program, keep, rewrite
from optdsl.ops import BY_NAME, Kind
from optdsl.passes.infer import infer, is_number

TIMES = BY_NAME["*"]


def descent(program: Program) -> Program:
    """The program whose first output is its update times -1, bit for bit.

    An update that nothing else reads, and that is a number times an array, as `lr * direction` is,
    has the sign in its number: one operation fewer for each leaf.
    """
    update, first = program.outputs[0], len(program.inputs)
    kinds = infer(program)
    is_read = update in program.outputs[1:] or any(
        update in operation.args for operation in program.operations
    )
    operation = program.operations[update - first] if update >= first else None
    if operation is None or is_read or not _is_scaled(operation, kinds):
        end = first + len(program.operations)
        return replace(
            program,
            constants=(*program.constants, -1.0),
            operations=(
                *program.operations,
                Operation(TIMES, (~len(program.constants), update), "descent"),
            ),
            outputs=(end, *program.outputs[1:]),
        )
    values = iter(range(first, first + len(program.operations)))

    def negated(builder: Builder, operation: Operation, args: list[int | float]) -> int | float:
        if next(values) != update:
            return keep(builder, operation, args)
        number, other = args if is_number(operation.args[0], kinds) else reversed(args)
        opposite = -number if isinstance(number, float) else builder.add(TIMES, [-1.0, number])
        return builder.add(TIMES, [opposite, other], operation.name)

    return rewrite(program, negated)


def _is_scaled(operation: Operation, kinds: list[Kind]) -> bool:
    return operation.op is TIMES and sum(is_number(arg, kinds) for arg in operation.args) == 1
