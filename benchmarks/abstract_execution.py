"""Programs per second through mutation and abstract execution, beside the `jax.eval_shape` way.

    python benchmarks/abstract_execution.py [--json]

Ours: mutate until valid, infer kinds, find dead code and dead state, structural hash; what the
search does for each proposal. As in a search, what the parents are made of is remembered, and so
are the hashes of programs seen before; `cold` is the rate at which programs go through that are the
first of their search. Theirs: what a program space on Python functions does, as the
paper's published one: the same mutations, checked by `jax.eval_shape` on one abstract array each
for w, g and the states, without hash or dead code, which only makes it look faster.

One process, one core; the two alternate; CPU seconds, so that other load counts less.
"""

import argparse
import os
import random
import statistics
import time
from dataclasses import replace

os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")

import jax
import jax.numpy as jnp
from figures import show

from optdsl.backends.jax_lowering import apply_program
from optdsl.diagnostics import Source
from optdsl.evolve.genome import Genome, UndefinedVariable, from_program, to_program
from optdsl.evolve.mutations import EVOLUTION
from optdsl.evolve.proposals import Space, propose
from optdsl.frontend import load
from optdsl.ops import FunctionSet, functions

SIZE = 20
SPACE = Space(functions(FunctionSet.PAPER))
START = """
def train(w, g, m, v, lr):
    g2 = square(g)
    m = interp(g, m, 0.9)
    v = interp(g2, v, 0.999)
    sqrt_v = sqrt(v)
    update = m / sqrt_v
    wd = w * 0.01
    update = update + wd
    lr = lr * 0.001
    update = update * lr
    return update, m, v
"""


def population(count: int) -> list[Genome]:
    """Programs of 20 statements, grown from AdamW by the search's own mutations."""
    rng = random.Random(0)
    found: list[Genome] = []
    pool = [from_program(load(Source("adamw", START)))]
    while len(found) < count:
        genome = propose(rng.choice(pool), rng, EVOLUTION, SPACE).candidate.genome
        if len(genome.statements) <= SIZE + 2:
            pool = [*pool[-200:], genome]
        if len(genome.statements) == SIZE:
            found.append(genome)
    return found


def ours(genomes: list[Genome], seed: int) -> float:
    """CPU seconds for one valid child of each."""
    rng = random.Random(seed)
    began = time.process_time()
    for number, genome in enumerate(genomes):
        rng.seed((seed << 64) | number)
        propose(genome, rng, EVOLUTION, SPACE)
    return time.process_time() - began


def unknown(genomes: list[Genome]) -> list[Genome]:
    """The same, of a search that nothing is remembered of."""
    inputs = (*genomes[0].inputs,)  # another object
    return [replace(genome, inputs=inputs) for genome in genomes]


def theirs(genomes: list[Genome], seed: int) -> float:
    """CPU seconds for one child of each that `jax.eval_shape` accepts."""
    rng = random.Random(seed)
    array = jax.ShapeDtypeStruct((8, 8), jnp.float32)
    number = jax.ShapeDtypeStruct((), jnp.float32)

    def accepted(genome: Genome) -> bool:
        try:
            program = to_program(genome)

            def step(w, g, m, v, lr):
                return apply_program(program, [w], [g], {"m": [m], "v": [v]}, lr, 1, {})

            jax.eval_shape(step, array, array, array, array, number)
        except (UndefinedVariable, TypeError, ValueError):
            return False
        return True

    began = time.process_time()
    for i, genome in enumerate(genomes):
        rng.seed((seed << 64) | i)
        while not accepted(rng.choice(EVOLUTION)[1](genome, rng, SPACE.functions)):
            pass
    return time.process_time() - began


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one object")
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    genomes = population(2000)
    few = genomes[:40]
    ours(genomes, 0), theirs(few[:5], 0)  # warm up
    fast = [len(genomes) / ours(genomes, r) for r in range(1, options.repeats + 1)]
    cold = [len(genomes) / ours(unknown(genomes), r) for r in range(1, options.repeats + 1)]
    slow = [len(few) / theirs(few, r) for r in range(1, options.repeats + 1)]
    ratios = [a / b for a, b in zip(fast, slow, strict=True)]
    result = {
        "ratio": statistics.median(ratios),
        "ratio_range": [min(ratios), max(ratios)],
        "programs_per_second": statistics.median(fast),
        "programs_per_second_range": [min(fast), max(fast)],
        "programs_per_second_cold": statistics.median(cold),
        "eval_shape_per_second": statistics.median(slow),
        "statements": SIZE,
        "repeats": options.repeats,
        "jax": jax.__version__,
    }
    show(result, options.json)


if __name__ == "__main__":
    main()
