"""Errors about one leaf of a weight tree: they name it, and both shapes."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from optdsl.backends.tracer import is_nothing
from optdsl.ir import Program
from optdsl.ops import Kind
from optdsl.passes.by_leaf import leaf_plans
from optdsl.passes.shapes import block_shape

AGAIN = "make the state with `tx.init(weights)`"


def check_leaves(
    program: Program,
    gradients: Any,
    weights: Sequence[Any] | None,
    state: Mapping[str, Any],
    labels: Sequence[float] | None,
) -> None:
    """Check the shapes of what a step is given.

    Args:
        program: as prepared.
        gradients: the tree.
        weights: its leaves, if they are given.
        state: the state variables: a scalar, or a block for each leaf.
        labels: the leaves' labels; None where all are 0.

    Raises:
        ValueError: for the first leaf whose gradient or state has not the shape that it must have.
    """
    shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves(gradients)]
    wanted = shapes if weights is None else [jnp.shape(weight) for weight in weights]
    for i, (found, shape) in enumerate(zip(shapes, wanted, strict=True)):
        if found != shape:
            raise ValueError(
                f"the gradient of {_name(gradients, i)} has the shape {found}, but the weights"
                f" have {shape}"
            )
    plans = None
    for index in program.states:
        entry = program.inputs[index]
        if entry.kind == Kind.SCALAR:
            continue
        for i, (block, shape) in enumerate(zip(state[entry.name], wanted, strict=True)):
            needed = block_shape(entry.kind, shape)
            if is_nothing(block):
                plans = plans or leaf_plans(program, wanted, labels)
                if index in plans[i].live:
                    raise ValueError(
                        f"the state variable `{entry.name}` is missing for {_name(gradients, i)},"
                        f" whose weights of shape {shape} need {needed}: {AGAIN}"
                    )
            elif jnp.shape(block) != needed:
                raise ValueError(
                    f"the state variable `{entry.name}` of {_name(gradients, i)} has the shape"
                    f" {jnp.shape(block)}, but weights of shape {shape} need {needed}: {AGAIN}"
                )


def _name(tree: Any, leaf: int) -> str:
    """What a leaf is called, such as `layers/0/kernel`."""
    path, _ = jax.tree_util.tree_leaves_with_path(tree)[leaf]
    name = jax.tree_util.keystr(path, simple=True, separator="/")
    return f"`{name}`" if name else "the only leaf"
