"""`optdsl tasks`, and how the other commands find a task."""

from typing import TYPE_CHECKING

import click

from optdsl.cli.output import fail, print_json, say
from optdsl.tasks import TASKS, TaskError, find_task

if TYPE_CHECKING:
    from optdsl.tasks.task import Task


@click.command("tasks")
@click.option("--json", "as_json", is_flag=True, help="Print a list of objects.")
def command(as_json: bool) -> None:
    """List the built-in tasks; a task of your own is a Python file: --task my_task.py."""
    if as_json:
        print_json([{"name": entry.name, "doc": entry.doc} for entry in TASKS])
        return
    width = max(len(entry.name) for entry in TASKS)
    for entry in TASKS:
        say(f"{entry.name:<{width}}  {entry.doc}")


def find_task_or_fail(name: str) -> "Task":
    """The task of that name or file; a wrong one is a usage error."""
    try:
        return find_task(name)
    except TaskError as error:
        fail(str(error))
