"""Table 7 of the paper on small tasks: Lion beside other optimizers, each tuned with equal budgets.

    python examples/paper/table_7.py [--task T]... [--optimizers Lion AdamW] [-o page.html]

The paper trains ViT-S/16 and ViT-B/16 on ImageNet, and tunes learning rate and decoupled weight
decay of every optimizer. So those that have no weight decay get one here too.
"""

import argparse
from dataclasses import replace
from itertools import groupby
from pathlib import Path

from optdsl.comparison.compare import Row, compare
from optdsl.comparison.decay import with_decay
from optdsl.comparison.text import row_text
from optdsl.files import write_text
from optdsl.frontend import find_source, load
from optdsl.ir import Program
from optdsl.report.comparison import comparison_page
from optdsl.tasks import find_task

PAPER = {
    "AdamW": 78.89,
    "RAdam": 78.59,
    "NAdam": 78.91,
    "AdaBelief": 78.71,
    "AMSGrad": 79.01,
    "PowerSign": 77.36,
    "AddSign": 77.37,
    "Ablation 0.9": 78.23,
    "Ablation 0.99": 78.19,
    "Lion": 79.46,
}
"""ImageNet accuracy of ViT-S/16, in the order of the paper's columns."""

FILES = {"NAdam": "nadamw", "Ablation 0.9": "ablation_sign", "Ablation 0.99": "ablation_sign"}
"""The programs of the standard library that are not called as the paper calls them."""


def program(name: str) -> Program:
    """The optimizer of a column, with decoupled weight decay."""
    found = with_decay(load(find_source(FILES.get(name, name.lower()))))
    if name != "Ablation 0.99":
        return found
    inputs = (replace(e, default=0.99) if e.name == "b" else e for e in found.inputs)
    return replace(found, inputs=tuple(inputs))


def show(rows: list[Row]) -> None:
    """One task's rows, ours beside the paper's, best first."""
    print(f"\n{rows[0].tuned.task.name}: test score, mean ± 95 % interval; differences to Lion")
    ranks = sorted(PAPER.values(), reverse=True)
    for row in sorted(rows, key=lambda row: -row.score.mean):
        text = row_text(row)
        rank = f"paper {PAPER[row.name]:.2f} (rank {ranks.index(PAPER[row.name]) + 1})"
        difference = f"{text.difference} {text.verdict}"
        print(f"  {row.name:<14} {text.score:<20} {difference:<34} {rank:<22} {text.setting}")


def main() -> None:
    """Tune, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", action="append", help="digits_mlp and digits_diffusion if none")
    parser.add_argument("--optimizers", nargs="+", choices=PAPER, default=list(PAPER))
    parser.add_argument("--seeds", type=int, default=3, help="for each setting while tuning")
    parser.add_argument("-o", "--output", type=Path, help="a page with learning curves (Figure 10)")
    options = parser.parse_args()
    tasks = [find_task(name) for name in options.task or ("digits_mlp", "digits_diffusion")]
    names = ["Lion", *(name for name in options.optimizers if name != "Lion")]
    rows = compare({name: program(name) for name in names}, tasks, options.seeds)
    if options.output:
        write_text(options.output, comparison_page(rows))
    for _, group in groupby(rows, key=lambda row: row.tuned.task):
        show(list(group))
    print("\nThe paper: Lion is best, no clear winner among the baselines; PowerSign, AddSign and")
    print("both ablations are worse than the five adaptive baselines.")


if __name__ == "__main__":
    main()
