"""A program as JAX operations on the leaves of a weight tree: traced, so jitted with what calls it.

`passes/shapes.py` says which shapes and dtypes come out, `passes/by_leaf.py` which values each leaf
needs; `tracer.py` applies the functions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import core, lax

from optdsl.backends.placement import are_placed_alike, placed_like, zeros
from optdsl.backends.tracer import NOTHING, Blocks, Traced, Tracer, is_nothing
from optdsl.ir import Input, Program, Role
from optdsl.ops import Kind, Over
from optdsl.passes.by_leaf import leaf_plans
from optdsl.passes.infer import infer
from optdsl.passes.overwrites import Overwrites
from optdsl.passes.shapes import Leaf, ValueType, infer_leaves, scalar_dtype

NO_ORDER = Overwrites()

Labels = Sequence[float] | None
"""The weight leaves' labels; None where all are 0."""


def leaf_types(leaves: Sequence[Any]) -> list[Leaf]:
    """The leaves' shapes and dtypes."""
    return [_leaf_type(each.shape, each.dtype) for each in map(jax.typeof, leaves)]


@cache  # trees have many leaves of few types, and a dtype's name takes longer than all the rest
def _leaf_type(shape: tuple[int, ...], dtype: Any) -> Leaf:
    return Leaf(shape, dtype.name)


def first_state(program: Program, weights: Sequence[Any], labels: Labels = None) -> dict[str, Any]:
    """Each state variable's first value: a scalar, or blocks, NOTHING where it is dead.

    Blocks of the weights are copies: callers donate both.
    """
    leaves = leaf_types(weights)
    types = infer_leaves(program, leaves)
    plans = leaf_plans(program, [leaf.shape for leaf in leaves], labels)
    found: dict[str, Any] = {}
    for state in program.states:
        entry, leaves = program.inputs[state], types[state].leaves
        if entry.kind == Kind.SCALAR:
            found[entry.name] = zeros((), leaves[0].dtype, weights)
        else:
            found[entry.name] = [
                _first(entry, leaf, weight) if state in plan.live else NOTHING
                for leaf, weight, plan in zip(leaves, weights, plans, strict=True)
            ]
    return found


def _first(entry: Input, leaf: Leaf, weight: Any) -> jax.Array:
    """A block of zeros or a copy of the weights, sharded as they are where it has their shape."""
    if entry.begins_as_weights:
        return jnp.array(weight)
    if entry.kind == Kind.ARRAY:
        return jnp.zeros_like(weight, dtype=leaf.dtype)
    return zeros(leaf.shape, leaf.dtype, [weight])


def number_of_weights(program: Program, weights: Sequence[Any], labels: Labels = None) -> Any:
    """The last result of a program: a number that depends on the weights alone."""
    types, tracer, _ = _prepared(program, weights, weights, labels)
    found: dict[int, Any] = dict.fromkeys(program.with_role(Role.WEIGHT), weights)
    first = len(program.inputs)
    results = range(first, first + len(program.operations))
    _Evaluated(program, tracer, types, found).add(results, {})
    return found[results[-1]]


def apply_program(
    program: Program,
    weights: Sequence[Any] | None,
    gradients: Sequence[Any],
    state: Mapping[str, Any],
    learning_rate: Any,
    step: Any,
    hyperparameters: Mapping[str, Any],
    order: Overwrites = NO_ORDER,
    labels: Labels = None,
) -> tuple[Blocks, dict[str, Any]]:
    """One training step.

    Args:
        program: a program with its constants folded and without dead state.
        weights: the weight leaves; None will do where the program does not read them.
        gradients: the gradient leaves.
        state: as `first_state` or the last step gave it.
        learning_rate: a number or a scalar array; None where the program does not read it.
        step: the 1-based step count.
        hyperparameters: a number or a scalar array for each hyperparameter.
        order: what to make after what, where a caller adds the update and overwrites the weights
            and states: for programs as `passes/descent.py` makes them.
        labels: of the leaves.

    Returns:
        The update's blocks in the gradients' dtypes, and the new state in the old one's.
    """
    known = scalars(program, weights, gradients, learning_rate, step, hyperparameters, labels)
    return apply_to_arrays(program, weights, gradients, state, known, order, labels)


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
    labels: Labels = None,
) -> Scalars:
    """What a training step computes without its arrays; arguments as in `apply_program`."""
    types, tracer, _ = _prepared(program, weights, gradients, labels)
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
    order: Overwrites = NO_ORDER,
    labels: Labels = None,
) -> tuple[Blocks, dict[str, Any]]:
    """The rest of a training step; arguments and results as in `apply_program`, but for
    `known`: from `scalars`, of these leaves or, where `is_by_leaf`, of a tree that they are in."""
    types, tracer, gradient_types = _prepared(program, weights, gradients, labels)
    given = {Role.WEIGHT: weights, Role.GRADIENT: list(gradients)}
    found: dict[int, Any] = dict(known)
    for value, entry in enumerate(program.inputs):
        if entry.role is Role.STATE:
            found[value] = state[entry.name]
        elif entry.role in given:
            found[value] = given[entry.role]

    first = len(program.inputs)
    rest = [v for v in range(first, first + len(program.operations)) if v not in known]
    evaluated = _Evaluated(program, tracer, types, found)
    evaluated.add(rest, order.made_after)
    blocks = evaluated.operand(program.outputs[0]).value
    update = [jnp.asarray(b, leaf.dtype) for b, leaf in zip(blocks, gradient_types, strict=True)]
    states = [evaluated.new_state(i) for i in range(len(program.states))]
    if order.late and weights is not None:
        made = optax.apply_updates(weights, update)
        states = _in_order(evaluated, order, made, states)
    names = [program.inputs[state].name for state in program.states]
    return update, dict(zip(names, states, strict=True))


@dataclass(frozen=True)
class _Evaluated:
    """The values of a program that are computed so far."""

    program: Program
    tracer: Tracer
    types: Sequence[ValueType]
    found: dict[int, Any]

    def add(self, values: Sequence[int], made_after: Mapping[int, Sequence[int]]) -> None:
        """Compute results, in order."""
        for value in values:
            op, args, _ = self.program.operations[value - len(self.program.inputs)]
            operands = [self.operand(arg) for arg in args]
            new = self.tracer.apply(value, op, operands, self.types[value])
            self.found[value] = new.value
            for earlier in made_after.get(value, ()):
                self.found[value] = _after_value(self.operand(value), self.operand(earlier))

    def operand(self, value: int) -> Traced:
        return _operand(self.program, self.found, self.types, value)

    def new_state(self, position: int) -> Any:
        """A state variable's new value as it is stored, placed as its old one."""
        state, new = self.program.states[position], self.program.outputs[position + 1]
        stored = self.tracer.stored(state, self.operand(new), self.types[state])
        return jax.tree.map(placed_like, stored, self.found[state])

    def again(self, values: Sequence[int], earlier: Sequence[Blocks]) -> "_Evaluated":
        """Some results computed once more, from arrays that are read after others are made."""
        found = dict(self.found)
        again = replace(self, found=found)
        args = {
            arg
            for value in values
            for arg in self.program.operations[value - len(self.program.inputs)].args
        }
        for arg in args - {*values}:
            if arg >= 0 and self.types[arg].kind == Kind.ARRAY:
                for blocks in earlier:
                    found[arg] = _each_after(found[arg], blocks)
        again.add(values, {})
        return again


def _in_order(
    evaluated: _Evaluated, order: Overwrites, weights: Any, states: list[Any]
) -> list[Any]:
    """The states' new values, each made after what reads its old value.

    Args:
        evaluated: all values of the step.
        order: what to make after what.
        weights: the new weights' leaves, written as `optax.apply_updates` does, so that they are
            the caller's own.
        states: the new values.
    """
    made: list[Any] = [weights, *states]
    for own, readers in order.late:
        earlier = [made[reader] for reader in readers]
        if own in order.again:
            made[own] = evaluated.again(order.again[own], earlier).new_state(own - 1)
        else:
            for blocks in earlier:
                made[own] = _each_after(made[own], blocks)
    return made[1:]


def is_traced(values: Sequence[Any]) -> bool:
    """Whether they stand for arrays of a function that is being compiled."""
    return any(isinstance(value, core.Tracer) for value in values)


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
    program: Program,
    weights: Sequence[Any] | None,
    gradients: Sequence[Any],
    labels: Labels = None,
) -> tuple[list[ValueType], Tracer, list[Leaf]]:
    """The types of all values, what applies functions to them, and the gradients' leaves."""
    gradient_types = leaf_types(gradients)
    weight_types = gradient_types if weights is None else leaf_types(weights)
    shapes = [leaf.shape for leaf in weight_types]
    scalar = scalar_dtype([leaf.dtype for leaf in (*weight_types, *gradient_types)])
    tracer = Tracer(shapes, leaf_plans(program, shapes, labels), scalar)
    return infer_leaves(program, weight_types, gradient_types), tracer, gradient_types


def _operand(
    program: Program, found: Mapping[int, Any], types: Sequence[ValueType], value: int
) -> Traced:
    if value < 0:
        return Traced(Kind.SCALAR, program.constants[~value])
    return Traced(types[value].kind, found[value])


def _after_value(new: Traced, earlier: Traced) -> Blocks:
    """The blocks of `new`, made after a number or after blocks."""
    if earlier.kind == Kind.SCALAR:
        return _each_after(new.value, [earlier.value] * len(new.value))
    return _each_after(new.value, earlier.value)


def _each_after(new: Blocks, earlier: Blocks) -> Blocks:
    return [after(*pair) for pair in zip(new, earlier, strict=True)]


def after(new: jax.Array, earlier: jax.Array) -> jax.Array:
    """`new`, bit for bit, but made after `earlier`, a number or an array of the same shape.

    A number equals itself or does not. XLA does not see that, and orders the two loops; LLVM does,
    and reads nothing. Elementwise, so that sharded arrays need no communication for it; there is no
    order where they are sharded differently. An array made after itself is a function of two arrays
    to XLA, so kept and not computed again.
    """
    if is_nothing(new) or is_nothing(earlier):
        return new
    if earlier.ndim and not are_placed_alike(new, earlier):
        return new
    either = lax.bitwise_or(lax.eq(earlier, earlier), lax.ne(earlier, earlier))
    return lax.select(either, new, lax.full_like(new, 0))
