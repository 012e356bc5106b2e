"""The one table of tasks, `TASKS`, and how a task is found: by name, or in a user's file.

Listing the table loads no JAX; a family of tasks is imported when one of its tasks is asked for.
"""

import os
import runpy
import sys
import traceback
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from optdsl.diagnostics import did_you_mean, nearest

if TYPE_CHECKING:
    from optdsl.tasks.task import Task


class TaskError(ValueError):
    """The user asked for a task that there isn't, or whose file is wrong; says which and why."""


@dataclass(frozen=True)
class TaskEntry:
    """One task: a row of the table."""

    name: str
    doc: str
    """One line, shown by `optdsl tasks`."""
    make: Callable[[str, str], "Task"]
    """From the name and the line to the task; the place that imports its family."""


def _digits_mlp(name: str, doc: str) -> "Task":
    from optdsl.tasks.digits import digits_mlp

    return digits_mlp(name, doc)


def _quadratic(name: str, doc: str) -> "Task":
    from optdsl.tasks.quadratic import quadratic

    return quadratic(name, doc)


TASKS: tuple[TaskEntry, ...] = (
    TaskEntry("digits_mlp", "8x8 handwritten digits, MLP 64-32-10, 300 steps", _digits_mlp),
    TaskEntry("quadratic", "noisy quadratic of 18 weights for tests, 50 steps", _quadratic),
)
"""Every built-in task, in the order of lists."""

BY_NAME: dict[str, TaskEntry] = {entry.name: entry for entry in TASKS}

_MODULE = "optdsl_task"
"""What a user's file sees as `__name__`: not the file's, which may be that of a loaded module."""


@cache
def get_task(name: str) -> "Task":
    """The built-in task of that name, made once for each process.

    Raises `KeyError` with the names there are.
    """
    if name not in BY_NAME:
        raise KeyError(f"no task is called `{name}`; there are {_quoted(BY_NAME)}")
    entry = BY_NAME[name]
    return entry.make(entry.name, entry.doc)


def load_task_file(path: str | os.PathLike[str]) -> "Task":
    """Runs a user's Python file and returns the `Task` that it calls `task`.

    The file may import modules that lie beside it. It is run anew each time. Raises `TaskError`
    where the file can't be read, raises (the message says what and in which line), or has no
    such `task`.
    """
    file = Path(path)
    if not file.exists():
        raise TaskError(f"there is no file `{file}`")
    try:
        file.read_bytes()
    except OSError as error:
        raise TaskError(f"can't read `{file}`: {error.strerror or error}") from error
    try:
        with _importable(file.parent):
            names = runpy.run_path(str(file), run_name=_MODULE)
    except (Exception, SystemExit) as error:
        raise TaskError(f"{_place(error, file)}: {_summary(error)}") from error
    # Only here, since it loads JAX: a mistyped path is reported at once.
    from optdsl.tasks.task import Task

    if "task" not in names:
        raise TaskError(
            f"`{file}` defines no `task`: end it with `task = optdsl.tasks.supervised(...)`"
        )
    if not isinstance(names["task"], Task):
        kind = type(names["task"]).__name__
        raise TaskError(f"`task` in `{file}` is of type `{kind}`; it must be an optdsl.tasks.Task")
    return names["task"]


def find_task(name_or_path: str | os.PathLike[str]) -> "Task":
    """The task that a user means: a built-in one's name, or a file's path, which ends in `.py`.

    Raises `TaskError`, which for an unknown name suggests near ones.
    """
    wanted = os.fspath(name_or_path)
    if wanted.endswith(".py"):
        return load_task_file(wanted)
    if wanted in BY_NAME:
        return get_task(wanted)
    question = did_you_mean(nearest(wanted, BY_NAME))
    raise TaskError(
        f"no task is called `{wanted}`{': ' if question else ''}{question or ';'} "
        f"there are {_quoted(BY_NAME)}, and a file of your own ends in `.py`"
    )


@contextmanager
def _importable(folder: Path) -> Generator[None]:
    """Lets modules in `folder` be imported; last, so that they hide no installed ones."""
    entry = str(folder.resolve())
    sys.path.append(entry)
    try:
        yield
    finally:
        sys.path.remove(entry)


def _place(error: BaseException, file: Path) -> str:
    """`FILE:LINE` of the innermost line of the user's file that the error passed through."""
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == str(file)
    ]
    if not lines and isinstance(error, SyntaxError) and error.filename == str(file):
        lines = [error.lineno]
    return f"{file}:{lines[-1]}" if lines and lines[-1] else str(file)


def _summary(error: BaseException) -> str:
    """The error's type and message, as Python's last line of a traceback has them."""
    message = error.msg if isinstance(error, SyntaxError) else str(error)
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def _quoted(names: dict[str, TaskEntry]) -> str:
    return ", ".join(f"`{name}`" for name in names)
