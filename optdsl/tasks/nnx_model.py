"""Models of flax's `nnx` as the two functions of a task: `init` and `apply`."""

from collections.abc import Callable
from typing import Any

import jax
from flax import nnx

from optdsl.tasks.task import Weights


def from_nnx(
    make: Callable[[nnx.Rngs], nnx.Module],
) -> tuple[Callable[[jax.Array], Weights], Callable[..., Any]]:
    """What `supervised` takes, of a model such as `lambda rngs: nnx.Linear(8, 3, rngs=rngs)`.

    `init(key)` gives the model's `nnx.Param`s, a pytree; `apply(weights, *inputs)` calls the model
    with them.

    Raises `ValueError` for a model with state of another kind, such as the statistics of a
    `BatchNorm` or the keys of a `Dropout`: a task's loss is a function of its weights alone.
    """
    graph, _, others = nnx.split(nnx.eval_shape(lambda: make(nnx.Rngs(0))), nnx.Param, ...)
    if leaves := jax.tree.leaves_with_path(others):
        first = jax.tree_util.keystr(leaves[0][0], simple=True, separator=".")
        name = first.removesuffix(".value")
        raise ValueError(f"the model has state that is no `nnx.Param`: `{name}`")

    def init(key: jax.Array) -> Weights:
        return nnx.state(make(nnx.Rngs(key)), nnx.Param)

    def apply(weights: Weights, *inputs: Any) -> Any:
        model: Any = nnx.merge(graph, weights)
        return model(*inputs)

    return init, apply
