"""A user's own training step, compiled, whose weights and states are overwritten."""

from typing import Any

import jax
import optax


def compiled_step(tx: Any, weights: Any) -> Any:
    """The step of an optimizer without the gradient: from (weights, state, gradients)."""

    def step(weights: Any, state: Any, gradients: Any) -> Any:
        updates, state = tx.update(gradients, state, weights)
        return optax.apply_updates(weights, updates), state

    jitted = jax.jit(step, donate_argnums=(0, 1))
    return jitted.lower(weights, tx.init(weights), weights).compile()
