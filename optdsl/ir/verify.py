"""The invariants of a program. A failure is a bug of optdsl, never the user's error."""

import math

from optdsl.ir.program import INPUT_KINDS, Program, Role
from optdsl.ops import Kind, Mismatch, castable


class VerificationError(AssertionError):
    """A program that breaks an invariant."""


def verify(program: Program) -> Program:
    """Check all invariants and return the program.

    Raises:
        VerificationError: with the first invariant that does not hold.
    """
    names = [entry.name for entry in program.inputs]
    _require(len(set(names)) == len(names), "inputs have different names")
    for entry in program.inputs:
        kind = INPUT_KINDS.get(entry.role, entry.kind)
        _require(entry.kind == kind, f"`{entry.name}` has the kind of its role")
        is_hyperparameter = entry.role is Role.HYPERPARAMETER
        _require((entry.default is not None) == is_hyperparameter, "hyperparameters have defaults")
    for role in (Role.WEIGHT, Role.GRADIENT, Role.LEARNING_RATE, Role.STEP):
        _require(len(program.with_role(role)) <= 1, f"there is at most one {role.value}")
    _require(all(math.isfinite(value) for value in program.constants), "constants are finite")

    kinds = [entry.kind for entry in program.inputs]
    bound = {name: value for value, name in enumerate(names)}

    def read(arg: int) -> Kind:
        if arg < 0:
            _require(~arg < len(program.constants), f"constant {~arg} exists")
            return Kind.SCALAR
        _require(arg < len(kinds), f"value {arg} is defined before it is used")
        name = program.name_of(arg)
        _require(bound[name] == arg, f"`{name}` still names value {arg} where it is read")
        return kinds[arg]

    for operation in program.operations:
        _require(len(operation.args) == len(operation.op.args), "the number of arguments fits")
        kind = operation.op.kind(tuple(read(arg) for arg in operation.args))
        _require(isinstance(kind, Kind), f"`{operation.op.name}` takes arguments of these kinds")
        assert not isinstance(kind, Mismatch)
        bound[operation.name] = len(kinds)
        kinds.append(kind)
    _require(len(program.outputs) == 1 + len(program.states), "one output for each state")
    output_kinds = [read(output) for output in program.outputs]
    _require(output_kinds[0] == Kind.ARRAY, "the update is an array")
    for state, kind in zip(program.states, output_kinds[1:], strict=True):
        _require(castable(kind, program.inputs[state].kind), "states keep their kind")
    return program


def _require(holds: bool, invariant: str) -> None:
    if not holds:
        raise VerificationError(f"internal error: not so: {invariant}")
