"""Figure 8 of the paper on small tasks: batch size, and robustness to learning rate and decay.

    python examples/paper/figure_8.py [--task digits_mlp] [--batch 8 32 128 512]

`--task` is that of the robustness; `--batch` without sizes leaves the batches out.
"""

import argparse
from dataclasses import replace

from optdsl.cli.heat_map import show_heat_map
from optdsl.comparison.robustness import SEEDS, robustness
from optdsl.comparison.text import interval_text
from optdsl.comparison.tune import Tuned, tune
from optdsl.frontend import find_source, load
from optdsl.tasks import find_task
from optdsl.tasks.digits import BATCH, PARTS
from optdsl.tasks.statistics import difference, interval
from optdsl.tasks.task import Task, batches, cosine

NAMES = ("adamw", "lion")

LOSS = 0.05
"""The loss of score that counts as robust."""


def with_batch(task: Task, size: int) -> Task:
    """The task with batches of another size, and as many epochs."""
    steps = round(task.steps * BATCH / size)
    return replace(
        task,
        name=f"{task.name}, batches of {size}",
        steps=steps,
        plan=lambda key: batches(key, PARTS["train"], size, steps),
        schedule=cosine(steps),
    )


def show_batches(sizes: list[int]) -> None:
    """The left of the figure: each optimizer tuned for each batch size."""
    print("test score by batch size, as many epochs each, mean ± 95 % interval, on digits_mlp")
    for size in sizes:
        task = with_batch(find_task("digits_mlp"), size)
        tuned = {name: tune(load(find_source(name)), task) for name in NAMES}
        for name, one in tuned.items():
            score = interval_text(interval(one.test), ".4f")
            print(
                f"  batch {size:>4}, {task.steps:>5} steps, {name:<5} {score}  ({one.best.setting})"
            )
        gain = difference(tuned["lion"].test, tuned["adamw"].test)
        print(f"    lion is {gain.verdict}: {interval_text(gain.gain, '+.4f')}", flush=True)
    print("The paper: AdamW is best at batches of 256, Lion at 4,096, and robust down to 64.")


def show_robustness(tuned: Tuned, name: str) -> None:
    """The middle and the right of the figure: settings around the best one."""
    found = robustness(tuned)
    title = f"{name}: mean validation score on {len(SEEDS)} seeds"
    show_heat_map(title, found.cells, tuned.decay, found.middle)
    print(
        f"{name}: {found.within(LOSS):.0%} of the settings lose at most {LOSS} against the middle, "
        f"half of them at least {found.median_loss():.3f}",
        flush=True,
    )


def main() -> None:
    """All three parts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", default="digits_mlp")
    parser.add_argument("--batch", type=int, nargs="*", default=[8, 32, 128, 512])
    options = parser.parse_args()
    for name in NAMES:
        show_robustness(tune(load(find_source(name)), find_task(options.task)), name)
    print("The paper: Lion is more robust to both than AdamW.")
    if options.batch:
        show_batches(options.batch)


if __name__ == "__main__":
    main()
