"""A program as an optax gradient transformation."""

import inspect
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optdsl.backends.jax_lowering import apply_program, zero_state
from optdsl.ir import Program, Role
from optdsl.ops import Kind
from optdsl.passes.fold import default_values
from optdsl.passes.live import live_values
from optdsl.passes.pipeline import prepare

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
    sees them. `learning_rate` is a number, a schedule (a function of the 0-based step count), or a
    scalar array; a program whose update does not depend on `lr` needs none.
    """
    defaults = default_values(program)
    live = live_values(program)
    needs_rate = any(live[i] for i in program.with_role(Role.LEARNING_RATE))
    parameter = inspect.Parameter
    rate_default = parameter.empty if needs_rate else None
    signature = inspect.Signature(
        [
            parameter("learning_rate", parameter.POSITIONAL_OR_KEYWORD, default=rate_default),
            *(
                parameter(name, parameter.KEYWORD_ONLY, default=value)
                for name, value in defaults.items()
            ),
        ]
    )

    def factory(*args: Any, **kwargs: Any) -> optax.GradientTransformationExtraArgs:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        values = dict(bound.arguments)
        return _transformation(program, values.pop("learning_rate"), values)

    factory.__signature__ = signature  # pyright: ignore[reportFunctionMemberAccess]
    factory.__name__ = factory.__qualname__ = "optimizer"
    factory.__doc__ = program.doc
    return factory


def _transformation(
    program: Program, learning_rate: Any, hyperparameters: dict[str, Any]
) -> optax.GradientTransformationExtraArgs:
    constants = {k: float(v) for k, v in hyperparameters.items() if _is_constant(v)}
    prepared = prepare(program, constants)
    traced = {k: v for k, v in hyperparameters.items() if k not in constants}
    reads_weights = bool([i for i in prepared.with_role(Role.WEIGHT) if live_values(prepared)[i]])

    def init_fn(params: Any) -> OptimizerState:
        leaves, structure = jax.tree.flatten(params)
        state = zero_state(prepared, leaves)
        return OptimizerState(jnp.zeros((), jnp.int32), _unflatten(state, structure))

    def update_fn(
        updates: Any, state: Any, params: Any = None, **extra_args: Any
    ) -> tuple[Any, OptimizerState]:
        del extra_args
        if params is None and reads_weights:
            raise ValueError(NO_WEIGHTS)
        gradients, structure = jax.tree.flatten(updates)
        weights = None if params is None else structure.flatten_up_to(params)
        step = optax.safe_increment(state.count)
        rate = learning_rate(state.count) if callable(learning_rate) else learning_rate
        blocks = {
            name: _blocks(prepared, name, value, structure) for name, value in state.state.items()
        }
        update, new = apply_program(prepared, weights, gradients, blocks, rate, step, traced)
        descent = jax.tree.unflatten(structure, [-block for block in update])
        return descent, OptimizerState(step, _unflatten(new, structure))

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def _is_constant(value: Any) -> bool:
    """Whether a hyperparameter's value is known now, and finite."""
    if isinstance(value, jax.Array):
        return False
    try:
        return math.isfinite(float(value))
    except (TypeError, ValueError):
        return False


def _blocks(program: Program, name: str, value: Any, structure: Any) -> Any:
    kind = next(entry.kind for entry in program.inputs if entry.name == name)
    return value if kind == Kind.SCALAR else structure.flatten_up_to(value)


def _unflatten(state: dict[str, Any], structure: Any) -> dict[str, Any]:
    """Blocks as trees like the weights'."""
    return {
        name: jax.tree.unflatten(structure, value) if isinstance(value, list) else value
        for name, value in state.items()
    }
