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
from optdsl.ops import Kind
from optdsl.passes.by_leaf import leaf_plans
from optdsl.passes.shapes import Leaf, infer_leaves, scalar_dtype

NO_ORDER: Mapping[int, Sequence[int]] = {}
"""Of values."""


def leaf_types(leaves: Sequence[Any]) -> list[Leaf]:
    """The leaves' shapes and dtypes."""
    return [Leaf(tuple(jnp.shape(leaf)), str(jnp.result_type(leaf))) for leaf in leaves]


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


@np.errstate(over="ignore")  # a constant beyond a dtype's range is an infinity of it
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
    gradient_types = leaf_types(gradients)
    weight_types = gradient_types if weights is None else leaf_types(weights)
    types = infer_leaves(program, weight_types, gradient_types)
    scalar = scalar_dtype([leaf.dtype for leaf in (*weight_types, *gradient_types)])
    given: dict[Role, Any] = {
        Role.WEIGHT: weights,
        Role.GRADIENT: list(gradients),
        Role.LEARNING_RATE: learning_rate,
        Role.STEP: step,
    }
    traced: list[Traced] = []
    for entry, declared in zip(program.inputs, types, strict=False):
        if entry.role is Role.STATE:
            value = state[entry.name]
        elif entry.role is Role.HYPERPARAMETER:
            value = hyperparameters[entry.name]
        else:
            value = given[entry.role]
        if declared.kind == Kind.SCALAR and value is not None:
            value = jnp.asarray(value, declared.leaves[0].dtype)
        traced.append(Traced(declared.kind, value))

    shapes = [leaf.shape for leaf in weight_types]
    tracer = Tracer(shapes, leaf_plans(program, shapes), scalar)

    def operand(value: int) -> Traced:
        return traced[value] if value >= 0 else Traced(Kind.SCALAR, program.constants[~value])

    for value, operation in enumerate(program.operations, start=len(program.inputs)):
        args = [operand(arg) for arg in operation.args]
        traced.append(tracer.apply(value, operation.op, args, types[value]))
        for earlier in order.get(value, ()):
            traced[value] = _made_after(traced[value], traced[earlier])

    update, *new = (operand(output) for output in program.outputs)
    update_blocks = [
        jnp.asarray(block, leaf.dtype)
        for block, leaf in zip(update.value, gradient_types, strict=True)
    ]
    new_state: dict[str, Any] = {}
    for index, value in zip(program.states, new, strict=True):
        new_state[program.inputs[index].name] = tracer.stored(index, value, types[index])
    return update_blocks, new_state


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
