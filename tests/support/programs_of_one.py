"""Programs that apply one function to state variables and keep the result in another."""

from collections.abc import Sequence

from optdsl.ir import Builder, Input, Program, Role, verify
from optdsl.ops import BY_NAME, Kind, Mismatch, OpDef

RESULT = "result"
"""The state variable that holds the result."""


def argument_name(position: int) -> str:
    """The state variable that holds an argument."""
    return f"x{position}"


def program_of_one(op: OpDef, kinds: Sequence[Kind]) -> Program:
    """`result = op(x0, x1, ...)`, where each is a state variable of its own kind.

    So every argument, of whatever kind, can be given, and every result looked at.
    """
    kind = op.kind(tuple(kinds))
    assert not isinstance(kind, Mismatch)
    states = [(argument_name(i), each) for i, each in enumerate(kinds)] + [(RESULT, kind)]
    inputs = [Input("w", Role.WEIGHT, Kind.ARRAY)]
    inputs += [Input(name, Role.STATE, each) for name, each in states]
    builder = Builder(tuple(inputs))
    values = list(range(1, 1 + len(kinds)))
    result = builder.add(op, [*values])
    length = builder.add(BY_NAME["norm"], [len(kinds) + 1])
    update = builder.add(BY_NAME["+"], [0, length])  # depends on `result`, so that this is live
    return verify(builder.finish([update, *values, result]))
