"""`optdsl tasks`, and how the other commands find a task."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from optdsl.cli.output import fail, print_json, say
from optdsl.evolve.judge import in_one_line
from optdsl.tasks import TASKS, TaskEntry, TaskError, find_task

if TYPE_CHECKING:
    from optdsl.tasks.task import Task


@click.command("tasks")
@click.argument("files", metavar="[FILE]...", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print a list of objects.")
def command(files: tuple[str, ...], as_json: bool) -> None:
    """List the built-in tasks, and the CPU seconds of one training of AdamW.

    Each comes in sizes: `NAME@10x` computes ten times what `NAME` does. A task of your own is a
    Python file, as in --task my_task.py; given here as FILE, it is checked and listed alone.
    """
    if files:
        entries = [_users_entry(file, find_task_or_fail(file)) for file in files]
    else:
        entries = [_entry(entry) for entry in TASKS]
    if as_json:
        print_json(entries)
        return
    width = max(len(entry["name"]) for entry in entries)
    for entry in entries:
        seconds = entry.get("cpu_seconds")
        cost = "" if seconds is None else f"{seconds:g} s"
        say(f"{entry['name']:<{width}}  {cost:>8}  {entry['doc']}")


def _users_entry(name: str, task: "Task") -> dict[str, Any]:
    return {"name": name, "size": {"steps": task.steps}, "doc": f"{task.doc}; steps {task.steps}"}


def _entry(entry: TaskEntry) -> dict[str, Any]:
    return {
        "name": entry.name,
        "family": entry.family.name,
        "compute": entry.rung.compute,
        "size": entry.rung.size,
        "cpu_seconds": entry.rung.cpu_seconds,
        "doc": entry.doc,
    }


def find_task_or_fail(name: str) -> "Task":
    """The task of that name or file; a wrong one is a usage error."""
    try:
        return find_task(name)
    except TaskError as error:
        fail(str(error))


@contextmanager
def users_code(*names: str) -> Generator[None]:
    """Where tasks are trained: what a user's own one raises is a usage error."""
    files = [name for name in names if name.endswith(".py")]
    try:
        yield
    except Exception as error:
        if not files:
            raise
        fail(f"the task {' or '.join(files)} can't be trained: {in_one_line(error)}")
