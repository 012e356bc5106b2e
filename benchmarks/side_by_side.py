"""Many programs in each call of the register machine, beside one by one, on one device.

    python benchmarks/side_by_side.py [--json] [--programs 200] [--task digits_mlp] [--repeats 5]

Both evaluate the stream of distinct mutated programs of `evaluator.py` with one seed, in turn.
`ratio`: seconds for the stream one by one over those side by side, the median of the repeats. It is
meant for accelerators, where `optdsl evolve` judges so: a processor computes every instruction for
every program, and is many times slower that way.
"""

import argparse
import statistics

import jax
from evaluator import stream
from figures import seconds, show

from optdsl.tasks import get_task
from optdsl.tasks.evaluation import BytecodeEvaluator, encoded
from optdsl.tasks.side_by_side import SideBySideEvaluator


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one object")
    parser.add_argument("--programs", type=int, default=200, help="length of the stream")
    parser.add_argument("--task", default="digits_mlp")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    programs = stream(options.programs)
    task = get_task(options.task)
    codes, seeds = list(map(encoded, programs)), [(0,)] * len(programs)
    alone, together = BytecodeEvaluator(task, (0,)), SideBySideEvaluator(task, (0,))
    ways = {
        "one_by_one": lambda: [alone.train(code) for code in codes],
        "side_by_side": lambda: together.train(codes, seeds),
    }
    compiles = {name: seconds(way) for name, way in ways.items()}
    times = {name: list[float]() for name in ways}
    for _ in range(options.repeats):
        for name, way in ways.items():
            times[name].append(seconds(way))
    ratios = [a / b for a, b in zip(*times.values(), strict=True)]
    result = {
        "ratio": statistics.median(ratios),
        "ratio_range": [min(ratios), max(ratios)],
        "programs_per_second": {
            name: len(programs) / statistics.median(each) for name, each in times.items()
        },
        "first_call_s": compiles,
        "device": jax.devices()[0].device_kind,
        "jax": jax.__version__,
    }
    show(result, options.json)


if __name__ == "__main__":
    main()
