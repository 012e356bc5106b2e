"""Rules by leaf: what a program does on each weight array, known before it runs.

`rank(w) == 2` has an answer for each leaf of a weight tree, and so does everything that is computed
from shapes and labels alone, in double precision as constants are (see `fold.py`). Where such a
number decides a `where`, one of its arguments is taken, and the other is dead on this leaf, with
all that only it depends on, state variables included: those have no bytes there.

    where(rank(w) == 2, orthogonal(m), m / sqrt(v))     v is dead on the matrices
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from optdsl.ir import Program
from optdsl.ops import BY_NAME, Kind, Over
from optdsl.passes.fold import evaluate
from optdsl.passes.infer import infer

Shape = tuple[int, ...]

LABEL = BY_NAME["label"]


@dataclass
class LeafPlan:
    """What is known of a program on the leaves of one shape and label."""

    known: dict[int, float] = field(default_factory=dict[int, float])
    """Results that are numbers known from the shape and the label."""
    chosen: dict[int, int] = field(default_factory=dict[int, int])
    """For each `where` that is decided, the position of the argument to take."""
    live: set[int] = field(default_factory=set[int])
    """The values that must be computed or kept: the update depends on them, here or through a
    scalar, at this step or a later one."""


def has_labels(program: Program) -> bool:
    """Whether a program asks for the labels of weight arrays."""
    return any(op is LABEL for op, _, _ in program.operations)


def leaf_plans(
    program: Program, shapes: Sequence[Shape], labels: Sequence[float] | None = None
) -> list[LeafPlan]:
    """The plan for each leaf; equal ones share one.

    Args:
        program: a valid program with its constants folded.
        shapes: of the weight tree's leaves.
        labels: the leaves' labels; None where all are 0.
    """
    leaves = list(zip(shapes, labels or [0.0] * len(shapes), strict=True))
    plans = {leaf: _known(program, *leaf) for leaf in set(leaves)}
    if any(plan.chosen for plan in plans.values()):
        _find_live(program, list(plans.values()))
    else:
        for plan in plans.values():
            plan.live.update(range(len(program.inputs) + len(program.operations)))
            plan.live.difference_update(plan.known)
    return [plans[leaf] for leaf in leaves]


def _known(program: Program, shape: Shape, label: float) -> LeafPlan:
    plan = LeafPlan()
    block = np.broadcast_to(np.float32(0), shape)
    for value, (op, args, _) in enumerate(program.operations, start=len(program.inputs)):
        if op.over is Over.SHAPE:
            plan.known[value] = label if op is LABEL else float(op.ref(block))
            continue
        if op.over is not Over.NOTHING or all(arg < 0 for arg in args):
            continue
        numbers = [_number(program, plan, arg) for arg in args]
        if op.is_choice and None not in numbers[:2]:
            holds = evaluate(op, [*numbers[:2], 1.0, 0.0])  # pyright: ignore[reportArgumentType]
            plan.chosen[value] = 2 if holds else 3
        if None not in numbers:
            result = evaluate(op, numbers)  # pyright: ignore[reportArgumentType]
            if result is not None:
                plan.known[value] = result
    return plan


def _number(program: Program, plan: LeafPlan, operand: int) -> float | None:
    return program.constants[~operand] if operand < 0 else plan.known.get(operand)


def _find_live(program: Program, plans: list[LeafPlan]) -> None:
    """A walk from the update over pairs of a value and a plan, as in `live.py`.

    Scalars belong to no leaf: one that is live reads the blocks of all, and one that is a state
    variable is kept in any case.
    """
    kinds, first = infer(program), len(program.inputs)
    new_value = dict(zip(program.states, program.outputs[1:], strict=True))
    scalars: set[int] = set()
    kept = [new_value[state] for state in program.states if kinds[state] == Kind.SCALAR]
    stack = [(output, plan) for output in (program.outputs[0], *kept) for plan in plans]
    while stack:
        value, plan = stack.pop()
        is_scalar = value < 0 or kinds[value] == Kind.SCALAR
        done = scalars if is_scalar else plan.live
        if value < 0 or value in done or value in plan.known:
            continue
        done.add(value)
        if value < first:
            read = [new_value[value]] if value in new_value else []
        else:
            (op, args, _), chosen = program.operations[value - first], plan.chosen.get(value)
            read = args if chosen is None else (args[chosen],)
            is_scalar = is_scalar or op.over is Over.TREE
        readers = plans if is_scalar else (plan,)
        stack.extend((arg, reader) for arg in read for reader in readers)
    for plan in plans:
        plan.live.update(scalars)
