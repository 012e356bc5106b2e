"""Kinds of all values, without a weight tree: the first half of the paper's abstract execution."""

from optdsl.ir import Program
from optdsl.ops import Kind, Mismatch, castable


class KindError(ValueError):
    """An operation or an output whose kinds don't fit: the program is invalid."""


def infer(program: Program) -> list[Kind]:
    """The kind of every value: the inputs, then the operations' results.

    Raises:
        KindError: if a function does not take its arguments' kinds, the update is not an array,
            or a state variable can't keep its kind (appendix I, "Detecting errors").
    """
    kinds = [entry.kind for entry in program.inputs]
    for operation in program.operations:
        op, args, _ = operation
        kind = op.kind(tuple([kinds[arg] if arg >= 0 else Kind.SCALAR for arg in args]))
        if kind.__class__ is Mismatch:
            raise KindError(f"`{op.name}` does not take arguments of these kinds")
        kinds.append(kind)  # pyright: ignore[reportArgumentType]
    update, *new = (kinds[output] if output >= 0 else Kind.SCALAR for output in program.outputs)
    if update != Kind.ARRAY:
        raise KindError("the update is not an array")
    for state, kind in zip(program.states, new, strict=True):
        if not castable(kind, kinds[state]):
            raise KindError("a state variable's new value is not castable to its kind")
    return kinds
