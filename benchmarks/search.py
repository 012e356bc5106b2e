"""Evolution beside tuning and random search, over seeds, on held-out test data.

    python benchmarks/search.py [--json] [--task digits_mlp] [--programs 20000] [--seeds 5]
                                [--compute 4] [--workers 2]

Each seed is one run: `optdsl evolve --random-baseline`, every find chosen on 8 fresh seeds and
reported on 16 others. `ratio` is the mean test score of the tuned baseline over that of evolution's
best; scores are mean log-likelihoods, below 0, so more than 1 means that evolution is better. The
differences have bootstrap intervals over the runs. `--compute 4` gives each baseline four times
the evaluations.
"""

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path


def run(options: argparse.Namespace, seed: int, folder: Path) -> dict:
    """The summary of one run."""
    command = [
        sys.executable, "-c", "from optdsl.cli.main import main; main()", "evolve", "--json",
        "--task", options.task, "--programs", str(options.programs), "--seed", str(seed),
        "--workers", str(options.workers), "--random-baseline", "--recipe", options.recipe,
        "--baseline-compute", str(options.compute), "--out", str(folder / str(seed)),
    ]  # fmt: skip
    return json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)


def interval(values: list[float]) -> tuple[float, float]:
    """The bootstrap interval of the mean, 95 %."""
    rng = random.Random(0)
    means = sorted(statistics.fmean(rng.choices(values, k=len(values))) for _ in range(10_000))
    return means[250], means[-251]


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one object")
    parser.add_argument("--task", default="digits_mlp")
    parser.add_argument("--programs", type=int, default=20_000)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--compute", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--recipe", default="default")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        runs = [run(options, seed, Path(folder)) for seed in range(1, options.seeds + 1)]
    best = [one["best"]["test_fitness"] for one in runs]
    scores = {"initial": [one["initial_test_fitness"] for one in runs], "evolution": best}
    for name in ("tune", "random"):
        scores[name] = [one["baselines"][name]["test_fitness"] for one in runs]
    gains = {
        name: [b - other for b, other in zip(best, scores[name], strict=True)]
        for name in ("tune", "random")
    }
    result = {
        "ratio": statistics.fmean(scores["tune"]) / statistics.fmean(best),
        "test": {name: statistics.fmean(values) for name, values in scores.items()},
        "gain_over": {name: statistics.fmean(values) for name, values in gains.items()},
        "interval_of_gain": {name: interval(values) for name, values in gains.items()},
        "wins": {name: sum(gain > 0 for gain in values) for name, values in gains.items()},
        "evaluations": [one["evaluations"] for one in runs],
        "hit_rate": statistics.fmean(one["hit_rate"] for one in runs),
        "redundant_fraction": statistics.fmean(one["redundant_fraction"] for one in runs),
        "seconds": [round(one["seconds"]) for one in runs],
        **vars(options),
    }
    if options.json:
        print(json.dumps(result))
        return
    for name, value in result.items():
        print(f"{name:<20} {value}")


if __name__ == "__main__":
    main()
