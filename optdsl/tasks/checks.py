"""What is wrong with a task, found before a program is blamed for it."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from optdsl.tasks.task import TEST, VALIDATION, Task


def check_task(task: Task) -> None:
    """Check that a task's functions fit together, and that its first step has finite numbers.

    Raises `ValueError` that says which function is wrong and why; what a function raises itself
    passes through.
    """
    weights = _weights(task)
    plan = jax.eval_shape(task.plan, jax.random.key(0))
    for path, leaf in jax.tree.leaves_with_path(plan):
        if not leaf.shape or leaf.shape[0] < task.steps:
            raise ValueError(
                f"`plan` of task `{task.name}` must have a row for each of the {task.steps} steps: "
                f"its array{_at(path)} has shape {leaf.shape}"
            )
    step = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), plan)
    _check_scalar(task, "loss", task.loss, weights, step)
    for part in (VALIDATION, TEST):
        _check_scalar(task, "score", lambda w, part=part: task.score(w, part), weights)
    _check_finite(task)


def _weights(task: Task) -> Any:
    """The weights' shapes; the same at each call of `init`, and all floating-point."""
    # A function of its own for each call, since JAX remembers the shapes that one gave.
    weights, again = (
        jax.eval_shape(lambda key: task.init(key), jax.random.key(0)) for _ in range(2)
    )
    if weights != again:
        raise ValueError(
            f"`init` of task `{task.name}` must give the same tree of the same shapes each time"
        )
    if not jax.tree.leaves(weights):
        raise ValueError(f"`init` of task `{task.name}` gives no weights")
    for path, leaf in jax.tree.leaves_with_path(weights):
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            raise ValueError(
                f"`init` of task `{task.name}` must give floating-point arrays alone: its "
                f"array{_at(path)} is {leaf.dtype}"
            )
    return weights


def _check_scalar(task: Task, name: str, function: Callable[..., Any], *args: Any) -> None:
    value = jax.eval_shape(lambda *args: jnp.asarray(function(*args)), *args)
    if value.shape or not jnp.issubdtype(value.dtype, jnp.floating):
        raise ValueError(
            f"`{name}` of task `{task.name}` must give one floating-point number: it gives "
            f"{value.dtype} of shape {value.shape}"
        )


def _check_finite(task: Task) -> None:
    """Raises where the numbers of an untrained model are none: then the data have some such."""

    @jax.jit
    def start(key: jax.Array) -> tuple[Any, ...]:
        weights = task.init(key)
        loss = task.loss(weights, jax.tree.map(lambda leaf: leaf[0], task.plan(key)))
        return weights, loss, task.score(weights, VALIDATION), task.score(weights, TEST)

    for what, values in zip(_AT_THE_START, start(jax.random.key(0)), strict=True):
        if not all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves(values)):
            raise ValueError(
                f"the {what} of task `{task.name}` must be finite: look for NaN or infinite numbers"
                " in its data"
            )


_AT_THE_START = (
    "initial weights",
    "loss of the first step",
    "validation score of the initial weights",
    "test score of the initial weights",
)


def _at(path: Any) -> str:
    place = jax.tree_util.keystr(path)
    return f" at {place}" if place else ""
