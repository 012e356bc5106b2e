"""A program as JAX operations on the leaves of a weight tree: traced, so jitted with what calls it.

`passes/shapes.py` says which shapes and dtypes come out, `passes/by_leaf.py` which values each leaf
needs; `tracer.py` applies the functions.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from optdsl.backends.tracer import NOTHING, Blocks, Traced, Tracer, is_nothing
from optdsl.ir import Program, Role
from optdsl.ops import Kind, Over
from optdsl.passes.by_leaf import leaf_plans
from optdsl.passes.infer import infer
from optdsl.passes.shapes import Leaf, ValueType, infer_leaves, scalar_dtype

NO_ORDER: Mapping[int, Sequence[int]] = {}
"""Of values."""


def leaf_types(leaves: Sequence[Any]) -> list[Leaf]:
    """The leaves' shapes and dtypes."""
    return [
        Leaf(leaf.shape, leaf.dtype.name)
        if isinstance(leaf, jax.Array)
        else Leaf(tuple(jnp.shape(leaf)), jnp.result_type(leaf).name)
        for leaf in leaves
    ]


def zero_state(program: Program, weights: Sequence[Any]) -> dict[str, Any]:
    """Each state variable's first value: a scalar, or blocks, NOTHING where it is dead."""
    leaves = leaf_types(weights)
    types = infer_leaves(program, leaves)
    plans = leaf_plans(program, [leaf.shape for leaf in leaves])
    zeros: dict[str, Any] = {}
    for state in program.states:
        is_scalar = types[state].kind == Kind.SCALAR
        live = [True] if is_scalar else [state in plan.live for plan in plans]
        # Like the weights where the shapes are theirs: so sharded like them too.
        likes = weights if types[state].kind == Kind.ARRAY else [None] * len(live)
        blocks = [
            _zeros(leaf, like) if is_live else NOTHING
            for leaf, like, is_live in zip(types[state].leaves, likes, live, strict=True)
        ]
        zeros[program.inputs[state].name] = blocks[0] if is_scalar else blocks
    return zeros


def _zeros(leaf: Leaf, like: Any) -> jax.Array:
    """A block of zeros, placed as the weights `like` are."""
    if like is None:
        return jnp.zeros(leaf.shape, leaf.dtype)
    return jnp.zeros_like(like, dtype=leaf.dtype)


def apply_program(
    program: Program,
    weights: Sequence[Any] | None,
    gradients: Sequence[Any],
    state: Mapping[str, Any],
    learning_rate: Any,
    step: Any,
    hyperparameters: Mapping[str, Any],
    order: Mapping[int, Sequence[int]] = NO_ORDER,
) -> tuple[Blocks, dict[str, Any]]:
    """One training step.

    Args:
        program: a program with its constants folded and without dead state.
        weights: the weight leaves; None will do where the program does not read them.
        gradients: the gradient leaves.
        state: as `zero_state` or the last step gave it.
        learning_rate: a number or a scalar array; None where the program does not read it.
        step: the 1-based step count.
        hyperparameters: a number or a scalar array for each hyperparameter.
        order: values to make after others, where arrays are overwritten: see `made_after`.

    Returns:
        The update's blocks in the gradients' dtypes, and the new state in the old one's.
    """
    known = scalars(program, weights, gradients, learning_rate, step, hyperparameters)
    return apply_to_arrays(program, weights, gradients, state, known, order)


Scalars = Mapping[int, Any]
"""Values of a program that no array is needed for, by their numbers: arrays of one number."""


@np.errstate(over="ignore")  # a constant beyond a dtype's range is an infinity of it
def scalars(
    program: Program,
    weights: Sequence[Any] | None,
    gradients: Sequence[Any],
    learning_rate: Any,
    step: Any,
    hyperparameters: Mapping[str, Any],
) -> Scalars:
    """What a training step computes without its arrays; arguments as in `apply_program`."""
    types, tracer, _ = _prepared(program, weights, gradients)
    given = {Role.LEARNING_RATE: learning_rate, Role.STEP: step}
    found: dict[int, Any] = {}
    for value, entry in enumerate(program.inputs):
        known = given.get(entry.role, hyperparameters.get(entry.name))
        if known is not None and types[value].kind == Kind.SCALAR:
            found[value] = jnp.asarray(known, types[value].leaves[0].dtype)
    for value, operation in enumerate(program.operations, start=len(program.inputs)):
        if operation.op.over is Over.NOTHING and all(a < 0 or a in found for a in operation.args):
            args = [_operand(program, found, types, arg) for arg in operation.args]
            found[value] = tracer.apply(value, operation.op, args, types[value]).value
    return found


@np.errstate(over="ignore")
def apply_to_arrays(
    program: Program,
    weights: Sequence[Any] | None,
    gradients: Sequence[Any],
    state: Mapping[str, Any],
    known: Scalars,
    order: Mapping[int, Sequence[int]] = NO_ORDER,
) -> tuple[Blocks, dict[str, Any]]:
    """The rest of a training step; arguments and results as in `apply_program`, but for
    `known`: from `scalars`, of these leaves or, where `is_by_leaf`, of a tree that they are in."""
    types, tracer, gradient_types = _prepared(program, weights, gradients)
    given = {Role.WEIGHT: weights, Role.GRADIENT: list(gradients)}
    found: dict[int, Any] = dict(known)
    for value, entry in enumerate(program.inputs):
        if entry.role is Role.STATE:
            found[value] = state[entry.name]
        elif entry.role in given:
            found[value] = given[entry.role]

    def operand(value: int) -> Traced:
        return _operand(program, found, types, value)

    for value, operation in enumerate(program.operations, start=len(program.inputs)):
        if value in known:
            continue
        args = [operand(arg) for arg in operation.args]
        found[value] = tracer.apply(value, operation.op, args, types[value]).value
        for earlier in order.get(value, ()):
            found[value] = _made_after(operand(value), operand(earlier)).value

    update, *new = (operand(output) for output in program.outputs)
    update_blocks = [
        jnp.asarray(block, leaf.dtype)
        for block, leaf in zip(update.value, gradient_types, strict=True)
    ]
    new_state: dict[str, Any] = {}
    for index, value in zip(program.states, new, strict=True):
        new_state[program.inputs[index].name] = tracer.stored(index, value, types[index])
    return update_blocks, new_state


def is_by_leaf(program: Program, weights: Sequence[Any] | None, gradients: Sequence[Any]) -> bool:
    """Whether a step on a tree is one on each leaf by itself: no sum is over the tree, no state
    variable is a scalar, and no leaf alone has scalars of another dtype."""
    kinds = infer(program)
    if any(kinds[state] == Kind.SCALAR for state in program.states):
        return False
    if any(operation.op.over is Over.TREE for operation in program.operations):
        return False
    pairs = zip(leaf_types(weights or gradients), leaf_types(gradients), strict=True)
    return len({scalar_dtype([weight.dtype, gradient.dtype]) for weight, gradient in pairs}) < 2


def _prepared(
    program: Program, weights: Sequence[Any] | None, gradients: Sequence[Any]
) -> tuple[list[ValueType], Tracer, list[Leaf]]:
    """The types of all values, what applies functions to them, and the gradients' leaves."""
    gradient_types = leaf_types(gradients)
    weight_types = gradient_types if weights is None else leaf_types(weights)
    shapes = [leaf.shape for leaf in weight_types]
    scalar = scalar_dtype([leaf.dtype for leaf in (*weight_types, *gradient_types)])
    tracer = Tracer(shapes, leaf_plans(program, shapes), scalar)
    return infer_leaves(program, weight_types, gradient_types), tracer, gradient_types


def _operand(
    program: Program, found: Mapping[int, Any], types: Sequence[ValueType], value: int
) -> Traced:
    if value < 0:
        return Traced(Kind.SCALAR, program.constants[~value])
    return Traced(types[value].kind, found[value])


def _made_after(new: Traced, earlier: Traced) -> Traced:
    """The blocks of `new`, made after a number or after blocks."""
    blocks = [earlier.value] * len(new.value) if earlier.kind == Kind.SCALAR else earlier.value
    return Traced(new.kind, [after(*pair) for pair in zip(new.value, blocks, strict=True)])


def after(new: jax.Array, earlier: jax.Array) -> jax.Array:
    """`new`, bit for bit, but made after `earlier`, a number or an array of the same shape.

    A number equals itself or does not. XLA does not see that, and orders the two loops; LLVM does,
    and reads nothing. Elementwise, so that sharded arrays need no communication for it. An array
    made after itself is a function of two arrays to XLA, so kept and not computed again.
    """
    if is_nothing(new) or is_nothing(earlier):
        return new
    either = lax.bitwise_or(lax.eq(earlier, earlier), lax.ne(earlier, earlier))
    return lax.select(either, new, lax.full_like(new, 0))
