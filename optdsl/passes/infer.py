"""Kinds of all values, without a weight tree: the first half of the paper's abstract execution."""

from collections.abc import Sequence

from optdsl.ir import Program
from optdsl.ops import NUMBERS, Kind, Mismatch, castable


def castable_kinds(to: Kind) -> set[Kind]:
    """The kinds that a state variable's new value may have."""
    return {kind for kind in Kind if castable(kind, to)}


class KindError(ValueError):
    """An operation or an output whose kinds don't fit: the program is invalid."""


def infer(program: Program) -> list[Kind]:
    """The kind of every value: the inputs, then the operations' results.

    Raises:
        KindError: if a function does not take its arguments' kinds, the update is not an array,
            or a state variable can't keep its kind (appendix I, "Detecting errors").
    """
    # The constants' kinds stand at the end, where the operands below 0 find them.
    kinds = [entry.kind for entry in program.inputs]
    value = len(kinds)
    kinds += [Kind.SCALAR] * (len(program.operations) + len(program.constants))
    for op, args, _ in program.operations:
        if len(args) == 1:  # written out for speed
            key = (kinds[args[0]],)
        elif len(args) == 2:
            key = (kinds[args[0]], kinds[args[1]])
        else:
            key = tuple([kinds[arg] for arg in args])
        kind = op.kinds.get(key)
        if kind is None:
            kind = op.kind(key)
        if kind.__class__ is Mismatch:
            raise KindError(f"`{op.name}` does not take arguments of these kinds")
        kinds[value] = kind  # pyright: ignore
        value += 1
    update, *new = [kinds[output] for output in program.outputs]
    if update != Kind.ARRAY:
        raise KindError("the update is not an array")
    for state, kind in zip(program.states, new, strict=True):
        if not castable(kind, kinds[state]):
            raise KindError("a state variable's new value is not castable to its kind")
    return kinds[:value]


def is_number(operand: int, kinds: Sequence[Kind]) -> bool:
    """Whether an operand is one number for an array or for all; kinds as from `infer`."""
    return operand < 0 or kinds[operand] in NUMBERS
