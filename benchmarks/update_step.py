"""The update step of compiled programs beside optax's, on the CPU, with donated buffers.

    python benchmarks/update_step.py [--json] [--repeats 7] [--weights 1000000]

Every optimizer in `TWINS` is timed on three trees: one array of 8 times `--weights`, 8 arrays of
`--weights`, and a Transformer's 196 leaves. The two take turns, in changing order; each is warm.
`ratio` is the largest median of optdsl's time over optax's; `lion_ratio` is Lion's on the 8 arrays.
`bandwidth` is the fraction of a copy's bytes per second that optdsl reaches, each live array read
once and each new one written once; `copies` counts copied arrays in the compiled text. `torch` is
not measured.
"""

import argparse
import json
import re
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

import optdsl

TWINS: dict[str, Callable[[], Any]] = {
    "sgd": lambda: optax.sgd(1e-3),
    "adam": lambda: optax.adam(1e-3),
    "adamw": lambda: optax.adamw(1e-3),
    "lion": lambda: optax.lion(1e-3),
    "rmsprop": lambda: optax.rmsprop(1e-3),
    "adabelief": lambda: optax.adabelief(1e-3),
    "optimistic_gradient_descent": lambda: optax.optimistic_gradient_descent(1e-3),
    "lamb": lambda: optax.lamb(1e-3),
}
"""optax's optimizer for a stdlib program."""


class Step:
    """A training step without its gradient, compiled, with weights and state of its own."""

    def __init__(self, tx: Any, shapes: list[tuple[int, ...]]) -> None:
        def step(weights: Any, state: Any, gradients: Any) -> Any:
            updates, state = tx.update(gradients, state, weights)
            return optax.apply_updates(weights, updates), state

        keys = jax.random.split(jax.random.key(0), len(shapes))
        self.gradients = [jax.random.normal(k, s) for k, s in zip(keys, shapes, strict=True)]
        self.weights = [jnp.full(shape, 0.5) for shape in shapes]
        self.state = tx.init(self.weights)
        self.bytes = _bytes(self.gradients) + 2 * _bytes((self.weights, self.state))
        jitted = jax.jit(step, donate_argnums=(0, 1))
        began = time.perf_counter()
        self.compiled = jitted.lower(self.weights, self.state, self.gradients).compile()
        self.compile_seconds = time.perf_counter() - began
        self.copies = len(re.findall(r"= f32\[[\d,]+\]\S* copy\(", self.compiled.as_text()))

    def seconds(self, steps: int) -> float:
        """Of one step, on average."""
        began = time.perf_counter()
        for _ in range(steps):
            self.weights, self.state = self.compiled(self.weights, self.state, self.gradients)
        jax.block_until_ready(self.weights)
        return (time.perf_counter() - began) / steps


def _bytes(tree: Any) -> int:
    return sum(leaf.nbytes for leaf in jax.tree.leaves(tree))


def trees(weights: int) -> dict[str, list[tuple[int, ...]]]:
    """The shapes of each tree's leaves."""
    d = 64
    block = [(d,), (d,), (d, 3 * d), (3 * d,), (d, d), (d,), (d,), (d,)]
    block += [(d, 4 * d), (4 * d,), (4 * d, d), (d,)]
    transformer = [(256, d), (128, d), (d,), (d,), *(block * 16)]
    return {"one": [(8 * weights,)], "eight": [(weights,)] * 8, "transformer": transformer}


def copy_rate(size: int) -> float:
    """Bytes per second of a copy, read and written."""
    scale = jax.jit(lambda x: x * 1.5, donate_argnums=0)
    x = jax.block_until_ready(scale(jnp.zeros(size)))
    times: list[float] = []
    for _ in range(7):
        began = time.perf_counter()
        x = jax.block_until_ready(scale(x))
        times.append(time.perf_counter() - began)
    return 8 * size / statistics.median(times)


def measure(name: str, shapes: list[tuple[int, ...]], repeats: int, rate: float) -> dict[str, Any]:
    """One optimizer on one tree."""
    ours = Step(optdsl.load(name).optimizer(1e-3), shapes)
    theirs = Step(TWINS[name](), shapes)
    ours.seconds(1), theirs.seconds(1)
    steps = max(1, int(0.05 / theirs.seconds(1)))
    pairs: list[tuple[float, float]] = []
    for turn in range(repeats):
        first, second = (ours, theirs) if turn % 2 else (theirs, ours)
        taken = {id(step): step.seconds(steps) for step in (first, second)}
        pairs.append((taken[id(ours)], taken[id(theirs)]))
    ratios = [mine / other for mine, other in pairs]
    seconds = statistics.median(mine for mine, _ in pairs)
    return {
        "optimizer": name,
        "ratio": round(statistics.median(ratios), 3),
        "range": [round(min(ratios), 3), round(max(ratios), 3)],
        "bandwidth": round(ours.bytes / seconds / rate, 3),
        "copies": [ours.copies, theirs.copies],
        "compile_ratio": round(ours.compile_seconds / theirs.compile_seconds, 3),
    }


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one object")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--weights", type=int, default=1_000_000)
    options = parser.parse_args()
    rate = copy_rate(8 * options.weights)
    rows = [
        {"tree": tree, **measure(name, shapes, options.repeats, rate)}
        for tree, shapes in trees(options.weights).items()
        for name in TWINS
    ]
    lion = next(r["ratio"] for r in rows if (r["tree"], r["optimizer"]) == ("eight", "lion"))
    result = {"ratio": max(r["ratio"] for r in rows), "lion_ratio": lion, "rows": rows}
    if options.json:
        print(json.dumps(result))
        return
    for row in rows:
        print("  ".join(f"{key} {value}" for key, value in row.items()))
    print(f"ratio {result['ratio']}, lion_ratio {lion}")


if __name__ == "__main__":
    main()
