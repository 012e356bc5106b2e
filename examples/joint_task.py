"""Two built-in tasks as one: `optdsl evolve --task examples/joint_task.py`.

Spreads are about what tuning AdamW gains on each.
"""

from optdsl.tasks import get_task, joint

task = joint(
    "sparse_and_digits", "sparse_regression and digits_mlp at once",
    [get_task("sparse_regression"), get_task("digits_mlp")], spreads=[0.3, 0.02],
)  # fmt: skip
