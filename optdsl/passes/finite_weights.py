"""What holds because weights are finite.

Training is over once a weight is infinite or NaN. So compiled programs take `g + weight_decay * w`
for g where the weight decay is the constant 0, as optax does, and read no array to find it.
"""

from optdsl.ir import Program, Role, take
from optdsl.ops import BY_NAME, Kind
from optdsl.passes.infer import infer
from optdsl.passes.live import remove_dead_code

TIMES = BY_NAME["*"]

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
        constants = [program.constants[~arg] for arg in args if arg < 0]
        if op is TIMES and weights & {*args} and 0 in constants:
            zeros.add(value)
        for position in NEUTRAL_AT.get(op, ()):
            other = args[1 - position]
            if args[position] in zeros and other >= 0 and kinds[other] == Kind.ARRAY:
                choices[value] = 1 - position
    return remove_dead_code(take(program, choices)) if choices else program
