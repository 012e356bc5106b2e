"""The register machine's throughput beside trace-and-jit, on the task `digits_mlp`.

    python benchmarks/evaluator.py [--json] [--programs 200] [--processes 5]

Each process, one after another, evaluates a stream of distinct mutated programs with one seed:
the register machine all of them, trace-and-jit every tenth, the two in turn on those.

`ratio`: seconds per program of trace-and-jit over those of the register machine, both the means
over the same programs in the same process; the median of the processes. It counts all programs;
`ratio_of_trained` only those that train to the end, as a diverging one stops early and is cheap.
`over_compiled`: the register machine's seconds over those of the training loop with the program
compiled in, once it is compiled: medians of runs in turn, for 1 and 3 seeds; the worse of the
two, each the median of the processes. Several seeds run one by one in the compiled loop, as in
`evaluate_jitted`, and side by side (`vmap`); the faster of the two counts.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial

# As in the search's workers; read when JAX is imported.
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"

import jax
import jax.numpy as jnp
import numpy as np
from figures import seconds, show

from optdsl.evolve.genome import from_program
from optdsl.evolve.mutations import EVOLUTION
from optdsl.evolve.proposals import Space, propose
from optdsl.frontend import find_source, load
from optdsl.ir import Program
from optdsl.ops import FunctionSet, functions
from optdsl.passes.fold import default_values
from optdsl.passes.pipeline import prepare
from optdsl.resources import search_start
from optdsl.tasks import get_task
from optdsl.tasks.evaluation import (
    BytecodeEvaluator,
    evaluate_jitted,
    run_jitted,
    seed_data,
)
from optdsl.tasks.scores import FAILED
from optdsl.tasks.task import Task

EVERY = 10
"""One program in so many is also traced and compiled."""

REPEATS = 21
"""Runs of each already compiled loop."""

SEEDS = (1, 3)
"""How many seeds an evaluation has, to compare with compiled loops."""

MEDIANS = ("ratio", "ratio_of_trained", "machine_ms", "machine_ms_of_trained", "trace_and_jit_ms")


def stream(count: int) -> list[Program]:
    """Distinct programs, each some mutations away from AdamW."""
    rng, paper = random.Random(0), functions(FunctionSet.PAPER)
    start = from_program(load(find_source(str(search_start()))))
    found: dict[str, Program] = {}
    while len(found) < count:
        genome = start
        for _ in range(4):
            candidate = propose(genome, rng, EVOLUTION, Space(paper)).candidate
            genome = candidate.genome
        found.setdefault(candidate.key, candidate.program)
    return list(found.values())


def throughput(task: Task, programs: list[Program]) -> dict[str, float]:
    """The machine's time for each program, and trace-and-jit's for some."""
    evaluator = BytecodeEvaluator(task, [0])
    compile_once = seconds(lambda: evaluator.evaluate(programs[0]).validation)
    machine, jitted, trained = [], {}, []
    for i, program in enumerate(programs):
        began = time.perf_counter()
        scores = evaluator.evaluate(program)
        machine.append(time.perf_counter() - began)
        if scores.fitness > FAILED:
            trained.append(i)
        if i % EVERY == 0:
            jitted[i] = seconds(lambda p=program: evaluate_jitted(task, p, [0]).validation)

    def ratio(which: list[int]) -> float:
        return sum(jitted[i] for i in which) / sum(machine[i] for i in which)

    return {
        "ratio": ratio(list(jitted)),
        "ratio_of_trained": ratio([i for i in jitted if i in trained]),
        "machine_ms": 1e3 * statistics.mean(machine),
        "machine_ms_of_trained": 1e3 * statistics.mean(machine[i] for i in trained),
        "trace_and_jit_ms": 1e3 * statistics.mean(jitted.values()),
        "machine_compiles_once_s": compile_once,
        "trained": len(trained),
        "traced": len(jitted),
    }


def over_compiled(task: Task, count: int) -> dict[str, float]:
    """The machine beside compiled loops of the same program and as many seeds."""
    program = load(find_source(str(search_start())))
    evaluator = BytecodeEvaluator(task, range(count))
    one = partial(run_jitted, task, prepare(program, default_values(program)))
    data = [seed_data(task, seed) for seed in range(count)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *data)
    separate, together = jax.jit(one), jax.jit(jax.vmap(one, in_axes=(0, 0, None)))
    rate = np.float32(1.0)
    runs: dict[str, Callable[[], object]] = {
        "machine": lambda: evaluator.evaluate(program).validation,
        "one by one": lambda: [separate(*seed, rate) for seed in data],
        "side by side": lambda: together(*stacked, rate),
    }
    for run in runs.values():
        seconds(run)
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(REPEATS):
        for name, run in runs.items():
            times[name].append(seconds(run))
    medians = {name: statistics.median(one) for name, one in times.items()}
    compiled = min(medians["one by one"], medians["side by side"])
    return {
        "machine_ms": 1e3 * medians["machine"],
        "compiled_ms": 1e3 * compiled,
        "over_compiled": medians["machine"] / compiled,
    }


def measure(count: int) -> dict[str, object]:
    """What one process finds."""
    task = get_task("digits_mlp")
    return {
        **throughput(task, stream(count)),
        "seeds": {str(seeds): over_compiled(task, seeds) for seeds in SEEDS},
    }


def summary(found: list[dict], programs: int) -> dict[str, object]:
    """Medians over the processes, and the headline's range."""
    ratios = [one["ratio"] for one in found]
    seeds = {
        str(count): {
            name: statistics.median(one["seeds"][str(count)][name] for one in found)
            for name in found[0]["seeds"][str(count)]
        }
        for count in SEEDS
    }
    return {
        **{name: statistics.median(one[name] for one in found) for name in MEDIANS},
        "ratio_range": [min(ratios), max(ratios)],
        "over_compiled": max(one["over_compiled"] for one in seeds.values()),
        "seeds": seeds,
        "programs": programs,
        "trained": found[0]["trained"],
        "traced": found[0]["traced"],
        "processes": len(found),
        "jax": jax.__version__,
    }


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one object")
    parser.add_argument("--programs", type=int, default=200, help="length of the stream")
    parser.add_argument("--processes", type=int, default=5, help="measurements; 0: in this one")
    options = parser.parse_args()
    if not options.processes:
        print(json.dumps(measure(options.programs)))
        return
    command = [sys.executable, __file__, "--processes=0", f"--programs={options.programs}"]
    found = []
    for _ in range(options.processes):
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        found.append(json.loads(done.stdout))
    result = summary(found, options.programs)
    show(result, options.json)


if __name__ == "__main__":
    main()
