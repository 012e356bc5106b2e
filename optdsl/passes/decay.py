"""Weight decay: whether it is in the update alone, or goes with the gradient (Loshchilov & Hutter,
2019, section 2)."""

from enum import Enum

from optdsl.ir import Program, Role
from optdsl.passes.infer import infer, is_number
from optdsl.passes.live import live_values, reads_numbers


class Decay(Enum):
    """What a program does with the weights."""

    NONE = "none"
    """The update does not depend on them."""
    DECOUPLED = "decoupled"
    """A multiple of them is added to the update."""
    COUPLED = "coupled"
    """A multiple of them is added to the gradient, before states or functions see it."""
    OTHER = "other"
    """Norms of them, distances from where they were, and other uses."""


def weight_decay(program: Program) -> Decay:
    """The kind of a program's weight decay, read off sums of multiples of weights and gradients."""
    if not reads_numbers(program, Role.WEIGHT):
        return Decay.NONE
    live = live_values(program)
    terms = _terms(program)
    first = len(program.inputs)
    decayed = {
        value
        for value in range(first, len(terms))
        if live[value] and {Role.WEIGHT, Role.GRADIENT} <= terms[value]
    }
    new = zip(program.states, program.outputs[1:], strict=True)
    kept = [output for state, output in new if live[state]]
    if any(_reads(program, output, decayed) for output in kept):
        return Decay.COUPLED
    if Role.WEIGHT in terms[program.outputs[0]]:
        return Decay.DECOUPLED
    return Decay.COUPLED if _reads(program, program.outputs[0], decayed) else Decay.OTHER


def _terms(program: Program) -> list[frozenset[Role]]:
    """The roles of those inputs of which each value is a sum of multiples, with other terms.

    A multiple is by a number, the same for a whole array.
    """
    kinds = infer(program)
    terms = [
        frozenset({entry.role} if entry.role in (Role.WEIGHT, Role.GRADIENT) else ())
        for entry in program.inputs
    ]

    def of(arg: int) -> frozenset[Role]:
        return terms[arg] if arg >= 0 else frozenset()

    for op, args, _ in program.operations:
        found: frozenset[Role] = frozenset()
        if op.name in ("+", "-", "interpolate"):
            found = of(args[0]) | of(args[1])
        elif op.is_choice:
            found = of(args[2]) | of(args[3])
        elif op.name == "*":
            found = of(args[1]) if is_number(args[0], kinds) else of(args[0])
            found = found if any(is_number(arg, kinds) for arg in args) else frozenset()
        elif op.name == "/" and is_number(args[1], kinds):
            found = of(args[0])
        terms.append(found)
    return terms


def _reads(program: Program, value: int, wanted: set[int]) -> bool:
    """Whether a value is one of those wanted, or depends on one."""
    first, stack, seen = len(program.inputs), [value], set[int]()
    while stack:
        value = stack.pop()
        if value in wanted:
            return True
        if value >= first and value not in seen:
            seen.add(value)
            stack.extend(program.operations[value - first].args)
    return False
