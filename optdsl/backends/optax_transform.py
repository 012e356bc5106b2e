"""A program as an optax gradient transformation."""

import inspect
import math
import unicodedata
from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from optdsl.backends.jax_lowering import (
    Labels,
    Scalars,
    apply_to_arrays,
    first_state,
    is_by_leaf,
    is_traced,
    number_of_weights,
    scalars,
)
from optdsl.backends.leaf_errors import check_leaves
from optdsl.backends.placement import zeros
from optdsl.ir import Program, Role
from optdsl.ops import Kind
from optdsl.passes.by_leaf import has_labels
from optdsl.passes.descent import descent
from optdsl.passes.finite_weights import without_zero_decay
from optdsl.passes.fold import default_values
from optdsl.passes.live import live_values, reads_numbers
from optdsl.passes.overwrites import overwrites
from optdsl.passes.pipeline import prepare_with_weights

LABELS = "labels"

FEW = 5
"""So many operations take no longer to trace and compile for each leaf than a call of them."""

NO_WEIGHTS = (
    "this optimizer's update depends on the weights: pass them, as in"
    " `tx.update(gradients, state, weights)`"
)


class OptimizerState(NamedTuple):
    """The state of a compiled program: a pytree of arrays whose dtypes never change."""

    count: Any  # pyright: ignore[reportIncompatibleMethodOverride]  (optax's name for it)
    """Steps taken so far, an int32."""
    state: dict[str, Any]
    """The live state variables by name: a tree like the weights, or a scalar."""


def optimizer_factory(program: Program) -> Callable[..., optax.GradientTransformationExtraArgs]:
    """The function that makes transformations: `factory(learning_rate, **hyperparameters)`.

    Its signature names every hyperparameter with its default, so that `optax.inject_hyperparams`
    sees them. Each is a number, a schedule (a function of the 0-based step count), or a scalar
    array; a program whose update does not depend on `lr` needs no `learning_rate`.

    That of a program with `label(w)` takes `labels` too: a tree of numbers that is like the weights
    or a prefix of them, or a function of the weights to such a tree.
    """
    defaults = default_values(program)
    live = live_values(program)
    needs_rate = any(live[i] for i in program.with_role(Role.LEARNING_RATE))
    parameter = inspect.Parameter
    rate_default = parameter.empty if needs_rate else None
    signature = inspect.Signature(
        [
            parameter(
                "learning_rate",
                parameter.POSITIONAL_OR_KEYWORD,
                default=rate_default,
                annotation=optax.ScalarOrSchedule,
            ),
            *(
                parameter(name, parameter.KEYWORD_ONLY, default=value)
                for name, value in defaults.items()
            ),
            *([parameter(LABELS, parameter.KEYWORD_ONLY, default=None)] * has_labels(program)),
        ]
    )

    def factory(*args: Any, **kwargs: Any) -> optax.GradientTransformationExtraArgs:
        normal = {unicodedata.normalize("NFKC", name): value for name, value in kwargs.items()}
        try:
            bound = signature.bind(*args, **normal)
        except TypeError as error:
            raise TypeError(f"optimizer({', '.join(signature.parameters)}): {error}") from None
        bound.apply_defaults()
        values = dict(bound.arguments)
        labels = values.pop(LABELS, None)
        for name, value in values.items():
            _check_value(name, value, optional=name == "learning_rate" and not needs_rate)
        return _transformation(program, values.pop("learning_rate"), values, labels)

    factory.__signature__ = signature  # pyright: ignore[reportFunctionMemberAccess]
    factory.__name__ = factory.__qualname__ = "optimizer"
    factory.__doc__ = program.doc
    return factory


def _transformation(
    program: Program, learning_rate: Any, hyperparameters: dict[str, Any], labels: Any
) -> optax.GradientTransformationExtraArgs:
    constants = {k: float(v) for k, v in hyperparameters.items() if _is_constant(v)}
    summed = prepare_with_weights(program, constants)
    prepared = summed.program
    others = {k: v for k, v in hyperparameters.items() if k not in constants}
    names = {prepared.inputs[i].name for i in prepared.states}
    without_zeros = without_zero_decay(prepared)
    whole = _ready(prepared)
    reduced = whole if without_zeros is prepared else _ready(without_zeros)

    def init_fn(params: Any) -> OptimizerState:
        leaves, structure = jax.tree.flatten(params)
        numbers = labels_of(labels, params)
        state = first_state(prepared, leaves, numbers)
        for name, total in summed.sums.items():
            state[name] = number_of_weights(total, leaves, numbers)
        return OptimizerState(zeros((), "int32", leaves), _unflatten(state, structure))

    def update_fn(
        updates: Any, state: Any, params: Any = None, **extra_args: Any
    ) -> tuple[Any, OptimizerState]:
        del extra_args
        if params is None and reduced.needs_weights:
            raise ValueError(NO_WEIGHTS)
        _check_state(state, names)
        gradients, structure = jax.tree.flatten(updates)
        weights = None if params is None else _leaves("the weights are", params, structure)
        step = optax.safe_increment(state.count)
        rate = _at(learning_rate, state.count)
        traced = {k: _at(v, state.count) for k, v in others.items()}
        blocks = {
            name: _blocks(prepared, name, value, structure) for name, value in state.state.items()
        }
        numbers = labels_of(labels, updates)
        check_leaves(prepared, updates, weights, blocks, numbers)
        is_alike = reduced is whole or weights is None or _have_same_dtypes(weights, gradients)
        ready = reduced if is_alike else whole
        known = scalars(ready.program, weights, gradients, rate, step, traced, numbers)
        leaf_by_leaf = is_traced(gradients) and is_by_leaf(ready.program, weights, gradients)
        apply = partial(each_leaf, ready.jitted) if leaf_by_leaf else ready.step_on
        added, new = apply(weights, gradients, blocks, known, numbers)
        added = jax.tree.unflatten(structure, added)
        return added, OptimizerState(step, _unflatten(new, structure))

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


StepOn = Callable[[Any, Any, Any, Scalars, Labels], tuple[Any, Any]]
"""From weights, gradients and states, by leaves, to what is added and to new states."""


class _Ready(NamedTuple):
    """A program with the functions that run it on arrays."""

    program: Program
    needs_weights: bool
    step_on: StepOn
    jitted: Callable[[Labels], Callable[..., tuple[Any, Any]]]
    """The same for given labels, jitted."""


def _ready(updating: Program) -> _Ready:
    program = descent(updating)
    order = overwrites(program)

    def step_on(
        weights: Any, gradients: Any, blocks: Any, known: Scalars, labels: Labels
    ) -> tuple[Any, Any]:
        added, new = apply_to_arrays(program, weights, gradients, blocks, known, order, labels)
        new = jax.tree.map(lambda value, old: jnp.asarray(value, old.dtype), new, blocks)
        return added, new

    @cache
    def jitted(labels: Labels) -> Callable[..., tuple[Any, Any]]:
        return jax.jit(partial(step_on, labels=labels), inline=len(program.operations) <= FEW)

    return _Ready(program, reads_numbers(program, Role.WEIGHT), step_on, jitted)


def _have_same_dtypes(weights: list[Any], gradients: list[Any]) -> bool:
    dtypes = ([getattr(leaf, "dtype", None) for leaf in leaves] for leaves in (weights, gradients))
    return next(dtypes) == next(dtypes)


def labels_of(labels: Any, tree: Any) -> tuple[float, ...] | None:
    """A number for each leaf of a tree; None where all are 0.

    Raises:
        TypeError: for a label that is not a number.
        ValueError: for a tree of labels that is no prefix of the weights.
    """
    if labels is None:
        return None
    found = labels(tree) if callable(labels) else labels
    try:
        numbers = jax.tree.leaves(jax.tree.broadcast(found, tree))
    except ValueError as error:
        raise ValueError(f"{LABELS} must be like the weights or a prefix: {error}") from None
    for number in numbers:
        if not isinstance(number, int | float):
            raise TypeError(f"{LABELS} must be numbers, not {number!r}")
    return tuple(map(float, numbers))


def each_leaf(
    step: Callable[[Labels], Callable[..., tuple[list[Any], dict[str, Any]]]],
    weights: list[Any] | None,
    gradients: list[Any],
    blocks: dict[str, list[Any]],
    known: Scalars,
    labels: Labels,
) -> tuple[list[Any], dict[str, list[Any]]]:
    """A step on each leaf by itself.

    Trees have hundreds of leaves, and few shapes: a jitted step is traced once for each of them,
    and its calls are inlined by XLA before anything else.
    """
    added: list[Any] = []
    new: dict[str, list[Any]] = {name: [] for name in blocks}
    for i, gradient in enumerate(gradients):
        mine = {name: [value[i]] for name, value in blocks.items()}
        weight = None if weights is None else [weights[i]]
        label = None if labels is None else (labels[i],)
        (block,), stepped = step(label)(weight, [gradient], mine, known)
        added.append(block)
        for name, (value,) in stepped.items():
            new[name].append(value)
    return added, new


def _check_value(name: str, value: Any, optional: bool) -> None:
    """Refuse a hyperparameter that is neither a number, nor a schedule, nor a scalar array."""
    is_scalar = isinstance(value, int | float | np.generic | np.ndarray | jax.Array)
    if not (callable(value) or (is_scalar and np.ndim(value) == 0) or (optional and value is None)):
        raise TypeError(f"{name} must be a number, a schedule or a scalar array, not {value!r}")


def _is_constant(value: Any) -> bool:
    """Whether a hyperparameter's value is known now, and finite."""
    return not (callable(value) or isinstance(value, jax.Array)) and math.isfinite(float(value))


def _at(value: Any, count: jax.Array) -> Any:
    """A hyperparameter's value at a step."""
    return value(count) if callable(value) else value


def _check_state(state: Any, names: set[str]) -> None:
    """Refuse the state of another optimizer."""
    if not isinstance(state, OptimizerState) or set(state.state) != names:
        wanted = ", ".join(sorted(names)) or "none"
        raise ValueError(
            f"this is not the state of this optimizer, whose state variables are: {wanted};"
            " make it with `tx.init(weights)`"
        )


def _leaves(what: str, tree: Any, structure: Any) -> list[Any]:
    """The leaves of a tree that must be like the gradients'; `what` begins the error."""
    try:
        return structure.flatten_up_to(tree)
    except ValueError:
        found = jax.tree.structure(tree)
        raise ValueError(f"{what} {found}, but the gradients are {structure}") from None


def _blocks(program: Program, name: str, value: Any, structure: Any) -> Any:
    kind = next(entry.kind for entry in program.inputs if entry.name == name)
    return value if kind == Kind.SCALAR else _leaves("the state is", value, structure)


def _unflatten(state: dict[str, Any], structure: Any) -> dict[str, Any]:
    """Blocks as trees like the weights'."""
    return {
        name: jax.tree.unflatten(structure, value) if isinstance(value, list) else value
        for name, value in state.items()
    }
