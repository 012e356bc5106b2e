"""What fitness is measured on: tasks, the table of built-in ones, and users' own.

A task of one's own is a file such as

    import optdsl.tasks
    task = optdsl.tasks.supervised("mine", "my data", init, apply, train=..., validation=...,
                                   test=..., batch_size=32, steps=300)

What needs JAX is loaded when it is first used.
"""

from typing import TYPE_CHECKING, Any

from optdsl.tasks.families import TASKS, TaskEntry
from optdsl.tasks.table import (
    TaskError,
    TaskSource,
    find_task,
    get_task,
    load_task_file,
    read_task,
)

if TYPE_CHECKING:
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
    "get_task",
    "load_task_file",
    "read_task",
    "supervised",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module `{__name__}` has no attribute `{name}`")
    from optdsl.tasks import task

    return getattr(task, name)
