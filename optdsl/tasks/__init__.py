"""What fitness is measured on: tasks, the table of built-in ones, and users' own.

A task of one's own is a file such as

    import optdsl.tasks
    task = optdsl.tasks.supervised("mine", "my data", init, apply, train=..., validation=...,
                                   test=..., batch_size=32, steps=300)

What needs JAX is loaded when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from optdsl.tasks.families import TASKS, TaskEntry
from optdsl.tasks.table import (
    TaskError,
    TaskSource,
    find_task,
    get_task,
    read_task,
)

if TYPE_CHECKING:
    from optdsl.tasks.joint_task import joint
    from optdsl.tasks.nnx_model import from_nnx
    from optdsl.tasks.paper import paper_lm, paper_vit
    from optdsl.tasks.task import Plan, PlanStep, Schedule, Task, Weights, cosine, supervised

__all__ = [
    "TASKS",
    "Plan",
    "PlanStep",
    "Schedule",
    "Task",
    "TaskEntry",
    "TaskError",
    "TaskSource",
    "Weights",
    "cosine",
    "find_task",
    "from_nnx",
    "get_task",
    "joint",
    "paper_lm",
    "paper_vit",
    "read_task",
    "supervised",
]

_MODULES = {
    "from_nnx": "optdsl.tasks.nnx_model",
    "joint": "optdsl.tasks.joint_task",
    "paper_lm": "optdsl.tasks.paper",
    "paper_vit": "optdsl.tasks.paper",
}
"""Where names come from that are loaded when first used; all others from `optdsl.tasks.task`."""


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module `{__name__}` has no attribute `{name}`")
    return getattr(import_module(_MODULES.get(name, "optdsl.tasks.task")), name)
