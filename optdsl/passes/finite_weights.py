"""What holds because weights are finite.

Training is over once a weight is infinite or NaN. So compiled programs take `g + weight_decay * w`
for g where the weight decay is the constant 0, as optax does, and read no array to find it. Emitted
source asks for it where the weight decay is 0 by default.
"""

from collections import Counter
from dataclasses import dataclass

from optdsl.ir import Program, Role, take
from optdsl.ops import BY_NAME, Kind
from optdsl.passes.infer import infer
from optdsl.passes.live import remove_dead_code

PLUS, TIMES = BY_NAME["+"], BY_NAME["*"]

NEUTRAL_AT = {PLUS: (0, 1), BY_NAME["-"]: (1,)}
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


@dataclass(frozen=True)
class DecayTerm:
    """A sum `x + h * w` of an array and the weights times a hyperparameter that is 0 by default."""

    x: int
    hyperparameter: int
    weights: int
    product: int
    """Which nothing else reads."""


def decay_terms(program: Program) -> dict[int, DecayTerm]:
    """All such sums, by their values."""
    kinds, first = infer(program), len(program.inputs)
    read = Counter(arg for operation in program.operations for arg in operation.args)
    read.update(program.outputs)
    weights = program.with_role(Role.WEIGHT)
    zeros = [i for i in program.with_role(Role.HYPERPARAMETER) if program.inputs[i].default == 0]
    products = {pair for w in weights for zero in zeros for pair in ((w, zero), (zero, w))}
    found: dict[int, DecayTerm] = {}
    for value, (op, args, _) in enumerate(program.operations, start=first):
        if op is not PLUS:
            continue
        for product, x in (args, args[::-1]):
            if product < first or read[product] > 1 or x < 0 or kinds[x] != Kind.ARRAY:
                continue
            times, factors, _ = program.operations[product - first]
            if times is TIMES and factors in products:
                zero, weight = factors if factors[0] in zeros else factors[::-1]
                found[value] = DecayTerm(x, zero, weight, product)
    return found
