"""The register machine's throughput beside trace-and-jit, on the task `digits_mlp`, one seed.

    python benchmarks/evaluator.py [--json] [--programs 40]

`ratio`: seconds per new program with trace, compilation and run, over those of the register
machine, on the same stream of distinct mutated programs. `over_compiled`: the register machine's
seconds over those of the training loop with the program compiled in, once it is compiled.
"""

import argparse
import json
import random
import statistics
import time
from functools import partial

import jax
import numpy as np

from optdsl.backends.bytecode import Machine
from optdsl.evolve.genome import from_program
from optdsl.evolve.mutations import EVOLUTION
from optdsl.evolve.proposals import propose
from optdsl.frontend import find_source, load
from optdsl.ir import Program
from optdsl.ops import FunctionSet, functions
from optdsl.passes.pipeline import prepare
from optdsl.resources import search_start
from optdsl.tasks import get_task
from optdsl.tasks.evaluation import BytecodeEvaluator, evaluate_jitted, run_jitted, seed_data


def stream(count: int) -> list[Program]:
    """Distinct programs, each some mutations away from AdamW."""
    rng, paper = random.Random(0), functions(FunctionSet.PAPER)
    start = from_program(load(find_source(str(search_start()))))
    found: dict[str, Program] = {}
    while len(found) < count:
        genome = start
        for _ in range(4):
            candidate = propose(genome, rng, EVOLUTION, paper).candidate
            genome = candidate.genome
        found.setdefault(candidate.key, candidate.program)
    return list(found.values())


def seconds(function, *args) -> float:
    """Wall-clock seconds of one call."""
    began = time.perf_counter()
    jax.block_until_ready(function(*args))
    return time.perf_counter() - began


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one object")
    parser.add_argument("--programs", type=int, default=40)
    options = parser.parse_args()
    task, programs = get_task("digits_mlp"), stream(options.programs)
    start = load(find_source(str(search_start())))
    evaluator = BytecodeEvaluator(task, [0], Machine(states=2))
    compile_once = seconds(lambda: evaluator.evaluate(start).validation)
    machine = [seconds(lambda p: evaluator.evaluate(p).validation, p) for p in programs]
    jitted = [seconds(lambda p: evaluate_jitted(task, p, [0]).validation, p) for p in programs]

    run, data = jax.jit(partial(run_jitted, task, prepare(start, {}))), seed_data(task, 0)
    rate = np.float32(1.0)
    seconds(run, *data, rate)
    compiled = [seconds(run, *data, rate) for _ in range(20)]
    same = [seconds(lambda: evaluator.evaluate(start).validation) for _ in range(20)]
    ratios = [j / m for j, m in zip(jitted, machine, strict=True)]
    result = {
        "ratio": statistics.median(ratios),
        "ratio_range": [min(ratios), max(ratios)],
        "over_compiled": statistics.median(same) / statistics.median(compiled),
        "machine_ms": 1e3 * statistics.median(machine),
        "trace_and_jit_ms": 1e3 * statistics.median(jitted),
        "compiled_run_ms": 1e3 * statistics.median(compiled),
        "machine_compiles_once_s": compile_once,
        "programs": len(programs),
        "jax": jax.__version__,
    }
    if options.json:
        print(json.dumps(result))
        return
    for name, value in result.items():
        print(f"{name:<26} {value}")


if __name__ == "__main__":
    main()
