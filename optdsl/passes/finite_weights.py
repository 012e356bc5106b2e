"""What holds because weights are finite, and a state is made for the weights of the first step.

Training is over once a weight is infinite or NaN, and optax makes states for the weights that the
first step is on. So compiled programs do without the arrays read and written to say only this:

- `g + weight_decay * w` is g where the weight decay is the constant 0, as in optax;
- `w0 = where(step == 1, w, w0)` is a state that begins as the weights, and not as zeros.
"""

from collections import Counter
from dataclasses import replace

from optdsl.ir import Builder, Operation, Program, Role, keep, rewrite
from optdsl.ops import BY_NAME, Kind
from optdsl.passes.infer import infer
from optdsl.passes.live import remove_dead_code

TIMES, WHERE_EQUAL = BY_NAME["*"], BY_NAME["where=="]

NEUTRAL_AT = {BY_NAME["+"]: (0, 1), BY_NAME["-"]: (1,)}
"""The arguments whose zeros leave the other one as it is."""


def without_zero_decay(program: Program) -> Program:
    """The program without the terms that are 0 times the weights, in sums with other arrays.

    The same numbers come out where gradients have the weights' dtypes: else a sum would have been
    of the wider one. So a program that stores states in dtypes of their own stays as it is.
    """
    if any(program.inputs[state].dtype for state in program.states):
        return program
    kinds = infer(program)
    weights = set(program.with_role(Role.WEIGHT))
    zeros: set[int] = set()
    choices: dict[int, int] = {}
    for value, (op, args, _) in enumerate(program.operations, start=len(program.inputs)):
        if op is TIMES and weights & {*args} and any(_is_constant(program, arg, 0) for arg in args):
            zeros.add(value)
        for position in NEUTRAL_AT.get(op, ()):
            other = args[1 - position]
            if args[position] in zeros and other >= 0 and kinds[other] == Kind.ARRAY:
                choices[value] = 1 - position
    return remove_dead_code(_reduced(program, choices)) if choices else program


def begun_with_weights(program: Program) -> Program:
    """The program whose states begin as the weights if the first step gives them the weights.

    That is so where a state is read by nothing but a `where` that says it, and stored as the
    weights are: the first step would read them as they are, and not as they are stored.
    """
    first = len(program.inputs)
    readers = Counter(arg for operation in program.operations for arg in {*operation.args})
    readers.update(program.outputs)
    wanted = [Role.STEP, Role.WEIGHT, Role.STATE]
    choices: dict[int, int] = {}
    begun: set[int] = set()
    for value, (op, args, _) in enumerate(program.operations, start=first):
        if op is not WHERE_EQUAL or not _is_constant(program, args[1], 1):
            continue
        step, _, weights, state = args
        roles = [program.inputs[v].role if 0 <= v < first else None for v in (step, weights, state)]
        is_plain = roles == wanted and program.inputs[state].dtype is None
        if is_plain and program.inputs[state].kind == Kind.ARRAY and readers[state] == 1:
            choices[value] = args.index(state)
            begun.add(state)
    if not choices:
        return program
    inputs = tuple(
        replace(entry, begins_as_weights=i in begun) for i, entry in enumerate(program.inputs)
    )
    return replace(_reduced(program, choices), inputs=inputs)


def _is_constant(program: Program, operand: int, number: float) -> bool:
    return operand < 0 and program.constants[~operand] == number


def _reduced(program: Program, choices: dict[int, int]) -> Program:
    """The program with one argument in place of each of these results."""
    values = iter(range(len(program.inputs), len(program.inputs) + len(program.operations)))

    def chosen(builder: Builder, operation: Operation, args: list[int | float]) -> int | float:
        choice = choices.get(next(values))
        return keep(builder, operation, args) if choice is None else args[choice]

    return rewrite(program, chosen)
