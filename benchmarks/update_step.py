"""The update step of compiled programs beside optax's and torch's.

    python benchmarks/update_step.py [--json] [--repeats 9] [--weights 1000000] [--optimizers A,B]
                                     [--parts optax,torch,tracing]

Every program of the standard library that optax has too is timed on three trees: one array of 32
times `--weights`, 32 arrays of `--weights`, and a Transformer's 196 leaves. Buffers are donated,
weights and gradients are the same arrays for all, and they take turns in changing order. optax's
step is compiled twice, so that it is measured beside itself too. `--flatten` puts `optax.flatten`
around ours, which has one array of each state then; for elementwise programs only.

`ratio` is the largest median of optdsl's time over optax's, `noise` the largest of optax's over
optax's, `written` the largest of what `optdsl compile` writes, `lion_ratio` Lion's largest on the
two trees of large arrays, `bytes_ratio` the largest quotient of the bytes that the compiled steps
access by XLA's own account, which does not depend on the load. Of each optimizer and tree:
`bandwidth`, the fraction of the bytes per second of a copy that optdsl reaches, if each array of
weights, gradients and states is read once and each new one written once; `loops`, `copies` and
`temporary` bytes of the compiled text, of optdsl and optax.
`torch` (where it is installed): optdsl's time over that of torch's own optimizers, and of what
`compile --target torch` writes (`our ...`). `tracing`: processor seconds to trace, and to compile,
a step for a tree of 1,000 leaves, over optax's.
"""

import argparse
import gc
import json
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from torch_steps import TORCH, torch_steps

import optdsl
from optdsl.backends.emit import emit_source
from optdsl.frontend import find_source, load, stdlib

RATE = 1e-3
Shapes = list[tuple[int, ...]]

NAMED_OTHERWISE: dict[str, Callable[..., Any]] = {
    "momentum": lambda rate: optax.sgd(rate, momentum=0.9),
    "nesterov": lambda rate: optax.sgd(rate, momentum=0.9, nesterov=True),
    "optimistic_adam": optax.optimistic_adam_v2,
    "rmsprop_centered": lambda rate: optax.rmsprop(rate, centered=True),
    "signsgd": optax.sign_sgd,
}
"""Programs that are an optimizer of optax under another name."""

ASKS_FOR_MORE = ("sophia",)
"""Optimizers that optax gives the loss's second derivative, by more gradients in the same call."""

TRACED = ("sgd", "adamw", "lion", "adabelief")
LEAVES = 1000
TOGETHER = 0.05
"""Seconds: steps are asked for together, so that an accelerator does not wait for each."""


def twins() -> dict[str, Callable[..., Any]]:
    """optax's optimizer for each program that it has."""
    named = {name: getattr(optax, name, getattr(optax.contrib, name, None)) for name in stdlib()}
    found = named | NAMED_OTHERWISE
    missing = {name for name, make in found.items() if make is None}
    return {name: found[name] for name in found.keys() - missing - {*ASKS_FOR_MORE}}


def written_source(name: str) -> Callable[..., Any]:
    """What makes the optimizer, in the source that `optdsl compile` writes."""
    module: dict[str, Any] = {}
    exec(emit_source(load(find_source(name)), "written"), module)
    return module["written"]


def optimizer(name: str, flatten: bool) -> Any:
    """optdsl's transformation."""
    tx = optdsl.load(name).optimizer(RATE)
    return optax.flatten(tx) if flatten else tx


def step_of(tx: Any) -> Callable[..., Any]:
    """A user's training step without its gradient."""

    def step(weights: Any, state: Any, gradients: Any) -> Any:
        updates, state = tx.update(gradients, state, weights)
        return optax.apply_updates(weights, updates), state

    return step


class Step:
    """A compiled step with a state of its own."""

    def __init__(self, tx: Any, weights: Any, gradients: Any) -> None:
        """Compile it for these weights."""
        # A copy: some of optax's states hold the weights themselves, which can't be donated twice.
        self.state = jax.tree.map(jnp.copy, tx.init(weights))
        jitted = jax.jit(step_of(tx), donate_argnums=(0, 1))
        self.compiled = jitted.lower(weights, self.state, gradients).compile()
        text = self.compiled.as_text()
        entry = text[text.index("ENTRY") :]
        self.copies = len(re.findall(r"= \w+\[[\d,]+\]\S* copy\(", entry))
        self.loops = len(re.findall(r"= \w+\[[\d,]+\]\S* fusion\(", entry))
        self.temporary = self.compiled.memory_analysis().temp_size_in_bytes
        self.accessed = self.compiled.cost_analysis()["bytes accessed"]

    def run(self, weights: Any, gradients: Any, steps: int) -> tuple[Any, float]:
        """The new weights, and the seconds of one step on average."""
        began = time.perf_counter()
        for _ in range(steps):
            weights, self.state = self.compiled(weights, self.state, gradients)
        jax.block_until_ready((weights, self.state))
        return weights, (time.perf_counter() - began) / steps


def trees(weights: int) -> dict[str, Shapes]:
    """The shapes of each tree's leaves."""
    d = 64
    block = [(d,), (d,), (d, 3 * d), (3 * d,), (d, d), (d,), (d,), (d,)]
    block += [(d, 4 * d), (4 * d,), (4 * d, d), (d,)]
    transformer = [(256, d), (128, d), (d,), (d,), *(block * 16)]
    return {"one": [(32 * weights,)], "many": [(weights,)] * 32, "transformer": transformer}


def arrays(shapes: Shapes) -> tuple[Any, Any]:
    """Weights and gradients."""
    keys = jax.random.split(jax.random.key(0), len(shapes))
    gradients = [jax.random.normal(k, s) for k, s in zip(keys, shapes, strict=True)]
    return [jnp.full(shape, 0.5) for shape in shapes], gradients


def copy_rate(size: int) -> float:
    """Bytes per second of a copy, read and written."""
    x = jnp.zeros(size)
    scale = jax.jit(lambda x: x * 1.5, donate_argnums=0).lower(x).compile()

    def seconds(copies: int) -> float:
        nonlocal x
        began = time.perf_counter()
        for _ in range(copies):
            x = scale(x)
        jax.block_until_ready(x)
        return (time.perf_counter() - began) / copies

    copies = at_once(max(seconds(1), seconds(1)))
    return 8 * size / statistics.median(seconds(copies) for _ in range(7))


def at_once(seconds: float) -> int:
    """How many steps are timed together, of so many seconds each."""
    return max(1, int(TOGETHER / seconds))


def measure(
    name: str, tx: Any, make: Any, shapes: Shapes, repeats: int, rate: float
) -> dict[str, Any]:
    """One optimizer on one tree."""
    weights, gradients = arrays(shapes)
    ours = Step(tx, weights, gradients)
    theirs, twin = (Step(make(RATE), weights, gradients) for _ in range(2))
    written = Step(written_source(name)(RATE), weights, gradients)
    order = [ours, theirs, twin, written]
    for step in order:
        weights, seconds = step.run(weights, gradients, 2)
    steps = at_once(seconds)
    turns: list[dict[Step, float]] = []
    for _ in range(repeats):
        turns.append({})
        for step in order:
            weights, turns[-1][step] = step.run(weights, gradients, steps)
        order = [*order[1:], order[0]]
    ratios = [taken[ours] / taken[theirs] for taken in turns]
    seconds = statistics.median(taken[ours] for taken in turns)
    least = nbytes(gradients) + 2 * nbytes((weights, ours.state))
    return {
        "optimizer": name,
        "ratio": round(statistics.median(ratios), 3),
        "range": [round(min(ratios), 3), round(max(ratios), 3)],
        "noise": round(statistics.median(taken[twin] / taken[theirs] for taken in turns), 3),
        "written": round(statistics.median(taken[written] / taken[theirs] for taken in turns), 3),
        "bandwidth": round(least / seconds / rate, 3),
        "bytes_ratio": round(ours.accessed / theirs.accessed, 3),
        "loops": [ours.loops, theirs.loops],
        "copies": [ours.copies, theirs.copies],
        "temporary": [ours.temporary, theirs.temporary],
    }


def nbytes(tree: Any) -> int:
    return sum(leaf.nbytes for leaf in jax.tree.leaves(tree))


def beside_torch(name: str, tx: Any, shapes: Shapes, repeats: int) -> dict[str, float]:
    """optdsl's time over that of each way that torch has, by way."""
    weights, gradients = arrays(shapes)
    ours = Step(tx, weights, gradients)
    weights, _ = ours.run(weights, gradients, 2)
    weights, seconds = ours.run(weights, gradients, 2)
    steps = at_once(seconds)
    found: dict[str, float] = {}
    for way, step in torch_steps(name, shapes, RATE).items():
        step(2)
        ratios: list[float] = []
        for _ in range(repeats):
            weights, seconds = ours.run(weights, gradients, steps)
            ratios.append(seconds / step(steps))
        found[way] = round(statistics.median(ratios), 3)
    return found


def tracing_seconds(tx: Any) -> tuple[float, float]:
    """Processor seconds to trace and lower, and to compile, a step for a tree of many leaves."""
    weights = [jnp.ones((8, 4))] * LEAVES
    state = tx.init(weights)
    gc.collect()
    gc.disable()  # what is collected meanwhile was made by others
    began = time.process_time()
    lowered = jax.jit(step_of(tx), donate_argnums=(0, 1)).lower(weights, state, weights)
    traced = time.process_time()
    lowered.compile()
    compiled = time.process_time()
    gc.enable()
    return traced - began, compiled - traced


def tracing(name: str, make: Any, repeats: int) -> dict[str, Any]:
    """Tracing and compiling, over optax's."""
    pairs = [
        (tracing_seconds(optdsl.load(name).optimizer(RATE)), tracing_seconds(make(RATE)))
        for _ in range(repeats)
    ]
    trace = statistics.median(mine[0] / other[0] for mine, other in pairs)
    compiling = statistics.median(mine[1] / other[1] for mine, other in pairs)
    return {
        "optimizer": name,
        "trace_ratio": round(trace, 3),
        "compile_ratio": round(compiling, 3),
        "ratio": round(statistics.median(sum(mine) / sum(other) for mine, other in pairs), 3),
    }


def shown(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """All rows, each told as soon as it is there."""
    found: list[dict[str, Any]] = []
    for row in rows:
        found.append(row)
        print(f"  {json.dumps(row)}", file=sys.stderr)
    return found


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one object")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--weights", type=int, default=1_000_000)
    parser.add_argument("--optimizers", help="names, with commas between; all without it")
    parser.add_argument("--parts", default="optax,torch,tracing", help="what to measure")
    parser.add_argument("--flatten", action="store_true", help="ours within optax.flatten")
    options = parser.parse_args()
    found = twins()
    names = options.optimizers.split(",") if options.optimizers else sorted(found)
    if unknown := [name for name in names if name not in found]:
        parser.error(f"no such optimizer in both: {', '.join(unknown)}; of {', '.join(found)}")
    rate = copy_rate(32 * options.weights)
    shapes, repeats, parts = trees(options.weights), options.repeats, options.parts.split(",")
    mine = {name: optimizer(name, options.flatten) for name in names}
    rows = shown(
        {"tree": tree, **measure(name, mine[name], found[name], leaves, repeats, rate)}
        for name in names
        for tree, leaves in shapes.items()
        if "optax" in parts
    )
    torch_rows = shown(
        {"tree": tree, "optimizer": name, **beside_torch(name, mine[name], leaves, repeats)}
        for name in TORCH
        for tree, leaves in shapes.items()
        if name in names and "torch" in parts
    )
    tracing_rows = shown(
        tracing(name, found[name], repeats)
        for name in TRACED
        if name in names and "tracing" in parts
    )
    lion = [r["ratio"] for r in rows if r["optimizer"] == "lion" and r["tree"] != "transformer"]
    result = {
        "ratio": max((row["ratio"] for row in rows), default=None),
        "noise": max((row["noise"] for row in rows), default=None),
        "written": max((row["written"] for row in rows), default=None),
        "lion_ratio": max(lion, default=None),
        "bytes_ratio": max((row["bytes_ratio"] for row in rows), default=None),
        "copy_gigabytes_per_second": round(rate / 1e9, 2),
        "rows": rows,
        "torch": torch_rows,
        "tracing": tracing_rows,
        "device": jax.devices()[0].device_kind,
        "jax": jax.__version__,
        "optax": optax.__version__,
    }
    if options.json:
        print(json.dumps(result))
        return
    for row in (*rows, *torch_rows, *tracing_rows):
        print("  ".join(f"{key} {value}" for key, value in row.items()))
    heads = ("ratio", "noise", "written", "lion_ratio", "bytes_ratio", "copy_gigabytes_per_second")
    print(", ".join(f"{key} {result[key]}" for key in heads))


if __name__ == "__main__":
    main()
