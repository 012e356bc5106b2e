"""Section 3.2 of the paper: what Lion's state takes, and what a step takes, beside AdamW's.

    python examples/paper/section_3_2.py [--task digits_vit@100x] [--weights 1000000] [--turns 15]
                                         [--json]

State is counted for each weight, as `optdsl inspect` does, and for the weights of ViT-B/16 as
`init` makes it. Steps are timed in turns: the update alone on 32 arrays, and a training step of the
task with its gradient. Only quotients are printed, since times depend on the machine.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
import optax

import optdsl
from optdsl.cli.output import print_json
from optdsl.frontend import stdlib
from optdsl.passes.cost import cost_per_weight
from optdsl.tasks import find_task
from optdsl.tasks.evaluation import seed_data

TIMED = ("adamw", "adafactor", "lion")
RATE = 1e-4
Loss = Callable[[Any, Any], jax.Array]


def vit_b16() -> list[tuple[int, ...]]:
    """The shapes of the 86.57 million weights of ViT-B/16 (Dosovitskiy et al., 2021)."""
    d = 768
    block = [(d,), (d,), (d, 3 * d), (3 * d,), (d, d), (d,), (d,), (d,)]
    block += [(d, 4 * d), (4 * d,), (4 * d, d), (d,)]
    return [(16 * 16 * 3, d), (d,), (d,), (197, d), *(block * 12), (d,), (d,), (d, 1000), (1000,)]


def state_bytes(name: str, dtype: Any) -> int:
    """What a program keeps for ViT-B/16, by the shapes that `init` gives; nothing is allocated."""
    weights = [jax.ShapeDtypeStruct(shape, dtype) for shape in vit_b16()]
    state = jax.eval_shape(optdsl.load(name).optimizer(RATE).init, weights)
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))


def memory() -> list[dict[str, Any]]:
    """State of every program of the standard library, the least first."""
    weights = sum(map(prod, vit_b16()))
    rows = [
        {
            "optimizer": name,
            "bytes_per_weight": cost_per_weight(optdsl.load(name).ir, "float32").bytes_kept,
            "vit_float32": state_bytes(name, jnp.float32) / weights,
            "vit_bfloat16": state_bytes(name, jnp.bfloat16) / weights,
        }
        for name in stdlib()
    ]
    return sorted(rows, key=lambda row: row["vit_float32"])


class Training:
    """A compiled training step with weights and state of its own."""

    def __init__(self, name: str, loss: Loss, weights: Any, batch: Any) -> None:
        """Compile it."""
        tx = optdsl.load(name).optimizer(RATE)

        def step(weights: Any, state: Any, batch: Any) -> Any:
            updates, state = tx.update(jax.grad(loss)(weights, batch), state, weights)
            return optax.apply_updates(weights, updates), state

        self._carry = jax.tree.map(jnp.copy, (weights, tx.init(weights)))
        self._batch = batch
        self._step = jax.jit(step, donate_argnums=(0, 1)).lower(*self._carry, batch).compile()

    def seconds(self, steps: int) -> float:
        """Of one step, on average."""
        began = time.perf_counter()
        for _ in range(steps):
            self._carry = self._step(*self._carry, self._batch)
        jax.block_until_ready(self._carry)
        return (time.perf_counter() - began) / steps


def speed(loss: Loss, weights: Any, batch: Any, turns: int) -> dict[str, float]:
    """The median of each optimizer's time for a step over AdamW's, turn by turn."""
    trainings = {name: Training(name, loss, weights, batch) for name in TIMED}
    steps = {name: max(1, round(0.1 / one.seconds(1))) for name, one in trainings.items()}
    times = [{name: one.seconds(steps[name]) for name, one in trainings.items()}
             for _ in range(turns)]  # fmt: skip
    return {name: statistics.median(turn[name] / turn["adamw"] for turn in times) for name in TIMED}


def speeds(task_name: str, weights: int, turns: int) -> dict[str, dict[str, float]]:
    """Of the update alone, and of a training step."""
    task = find_task(task_name)
    data = seed_data(task, 0)
    batch = jax.tree.map(lambda leaf: leaf[0], data.plan)
    keys = jax.random.split(jax.random.key(0), 32)
    gradients = [jax.random.normal(key, (weights,)) for key in keys]
    zeros = [jnp.zeros(weights)] * len(gradients)

    def linear(w: Any, g: Any) -> jax.Array:  # whose gradient is there already
        return sum(map(jnp.vdot, w, g), jnp.float32(0))

    return {
        "the update alone": speed(linear, zeros, gradients, turns),
        f"a training step of {task.name}": speed(task.loss, data.weights, batch, turns),
    }


def main() -> None:
    """Count, time, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", default="digits_vit@100x")
    parser.add_argument("--weights", type=int, default=1_000_000, help="of each of 32 arrays")
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--json", action="store_true", help="print one object")
    options = parser.parse_args()
    rows, times = memory(), speeds(options.task, options.weights, options.turns)
    if options.json:
        print_json({"memory": rows, "time_over_adamw": times})
        return
    print("bytes of state for each weight: by `inspect`; of ViT-B/16 in float32, in bfloat16")
    for row in rows:
        name, *values = row.values()
        print(f"  {name:<28} {' '.join(f'{value:>6.2f}' for value in values)}")
    print("The paper: a ViT-B/16 needs 16 chips with AdamW, 8 with Lion (bfloat16 momentum).")
    for what, found in times.items():
        print(f"time over AdamW's, {what}: " + ", ".join(f"{n} {r:.2f}" for n, r in found.items()))
    print("The paper: Lion's training steps are 2-15 % faster than AdamW's and Adafactor's.")


if __name__ == "__main__":
    main()
