"""Evaluations per second of two workers beside one, and of Ray beside local workers.

    python benchmarks/scaling.py [--json] [--programs 300] [--jobs 40] [--seeds 120] [--repeats 3]

Engines judge a stream of distinct mutated programs on `digits_mlp`, one seed each, as the search
has them judged: short jobs, of some ms. `ratio` is the rate of two local workers over that of one.
`ray_over_local` compares two workers of each on jobs of about a second: the initial program on
`--seeds` seeds. The engines take turns; all are warm; medians and ranges over the repeats.
`seconds_of_a_job` says how long the long jobs took.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack, closing

from evaluator import stream
from figures import show

from optdsl.evolve.engines import ENGINES, Engine, EngineOptions
from optdsl.evolve.judge import Job, JudgeSpec
from optdsl.frontend import find_source, load
from optdsl.resources import search_start
from optdsl.tasks.table import TaskSource

SPEC = JudgeSpec(TaskSource("digits_mlp"), 1.0, "bytecode")
UNDER_WAY = 64
"""Jobs at once, as in the search."""


def rate(engine: Engine, jobs: list[Job]) -> float:
    """Jobs per second, given and asked for in order as the driver does."""
    began = time.perf_counter()
    for number, job in enumerate(jobs):
        if number >= UNDER_WAY:
            engine.result(jobs[number - UNDER_WAY].key)
        engine.submit(job)
    for job in jobs[-UNDER_WAY:]:
        engine.result(job.key)
    return len(jobs) / (time.perf_counter() - began)


def alternate(measures: Iterable[Callable[[], float]], repeats: int) -> list[list[float]]:
    """What each measure gives, taking turns."""
    rounds = [[measure() for measure in measures] for _ in range(repeats)]
    return [list(values) for values in zip(*rounds, strict=True)]


def quotients(over: list[float], under: list[float]) -> list[float]:
    """Of the same rounds."""
    return [a / b for a, b in zip(over, under, strict=True)]


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one object")
    parser.add_argument("--programs", type=int, default=300)
    parser.add_argument("--jobs", type=int, default=40)
    parser.add_argument("--seeds", type=int, default=120)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()

    short = [Job(f"{n}", program, ((0,),)) for n, program in enumerate(stream(options.programs))]
    initial = load(find_source(str(search_start())))
    seeds = (tuple(range(options.seeds)),)
    long = [Job(f"long {n}", initial, seeds) for n in range(options.jobs)]

    with ExitStack() as stack:

        def start(name: str, workers: int) -> Engine:
            engine = ENGINES[name](SPEC, EngineOptions(workers, 600.0))
            stack.enter_context(closing(engine))
            rate(engine, short[: 20 * workers])
            return engine

        one, two, ray = start("local", 1), start("local", 2), start("ray", 2)
        ones, twos = alternate(
            [lambda: rate(one, short), lambda: rate(two, short)], options.repeats
        )
        locals_, rays = alternate(
            [lambda: rate(two, long), lambda: rate(ray, long)], options.repeats
        )
    scaling, overhead = quotients(twos, ones), quotients(rays, locals_)
    result = {
        "ratio": statistics.median(scaling),
        "range": [min(scaling), max(scaling)],
        "evaluations_per_second": {"1": statistics.median(ones), "2": statistics.median(twos)},
        "ray_over_local": statistics.median(overhead),
        "range_of_ray_over_local": [min(overhead), max(overhead)],
        "seconds_of_a_job": 2 / statistics.median(locals_),
        **vars(options),
    }
    show(result, options.json)


if __name__ == "__main__":
    main()
