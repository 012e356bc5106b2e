"""Steps on weights that are sharded over 8 virtual devices, beside the same on one: prints JSON.

Run by test_sharding.py in a process of its own, since XLA reads the number of devices when it
starts.
"""

import json
import re
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import optdsl

COLLECTIVES = r"\b(all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter)(?:-start)?\("

TEXTS = {
    "mean_of_weights": """def train(w, g, s, lr):
    u = lr * g * s
    s = mean(w)
    return u, s
""",
    "last_gradient": """def train(g, s, lr):
    u = lr * (g + s)
    s = g
    return u, s
""",
}
"""States that are not computed from their old values, nor from arrays sharded as the weights."""


def steps(name: str, place: Any, place_gradient: Any = None) -> dict[str, Any]:
    """Five steps of an optimizer, with the weights put where `place` says."""
    place_gradient = place_gradient or place
    random = np.random.RandomState(0)
    program = optdsl.parse(TEXTS[name]) if name in TEXTS else optdsl.load(name)
    tx = program.optimizer(0.01)

    def step(weights: Any, state: Any, gradients: Any) -> Any:
        updates, state = tx.update(gradients, state, weights)
        return optax.apply_updates(weights, updates), state

    shapes = {"a": (16, 8), "b": (8,), "kernel": (8, 3, 2, 2)}
    weights = {name: random.standard_normal(shape) for name, shape in shapes.items()}
    weights = {k: place(jnp.asarray(v, jnp.float32)) for k, v in weights.items()}
    state = tx.init(weights)
    kept = jax.tree.map(
        lambda leaf: leaf.sharding.is_equivalent_to(weights["a"].sharding, 2),
        [leaf for leaf in jax.tree.leaves(state) if leaf.shape == (16, 8)],
    )
    gradients = jax.tree.map(lambda w: place_gradient(jnp.zeros(w.shape)), weights)
    types = jax.tree.map(jax.typeof, (weights, state))
    compiled = jax.jit(step).lower(weights, state, gradients).compile()
    for _ in range(5):
        gradients = {k: place_gradient(jnp.asarray(random.standard_normal(v.shape), jnp.float32))
                     for k, v in weights.items()}  # fmt: skip
        weights, state = compiled(weights, state, gradients)
    return {
        "weights": [np.asarray(leaf).tolist() for leaf in jax.tree.leaves(weights)],
        "sharding_kept": bool(kept) and all(kept),
        "types_kept": jax.tree.map(jax.typeof, (weights, state)) == types,
        "collectives": sorted(set(re.findall(COLLECTIVES, compiled.as_text()))),
    }


def main() -> None:
    """For each name among the arguments: on one device, and on all."""
    mesh = jax.make_mesh((8,), ("x",))
    sharding = NamedSharding(mesh, PartitionSpec("x"))
    explicit = jax.make_mesh((8,), ("x",), axis_types=(AxisType.Explicit,))
    sharded = NamedSharding(explicit, PartitionSpec("x"))
    whole = NamedSharding(explicit, PartitionSpec())
    found = {
        name: {
            "one": steps(name, lambda x: x),
            "all": steps(name, lambda x: jax.device_put(x, sharding)),
            "explicit": steps(
                name,
                lambda x: jax.device_put(x, sharded),
                lambda x: jax.device_put(x, whole),
            ),
        }
        for name in sys.argv[1:]
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
