"""How a task is found: by name in the table of `optdsl.tasks.families`, or in a user's file."""

import ast
import hashlib
import os
import sys
import traceback
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optdsl.diagnostics import did_you_mean, nearest
from optdsl.tasks.families import BY_NAME, FAMILIES

if TYPE_CHECKING:
    from optdsl.tasks.task import Task


class TaskError(ValueError):
    """The user asked for a task that there isn't, or whose file is wrong; says which and why."""


_MODULE = "optdsl_task"
"""What a user's file sees as `__name__`: not the file's, which may be that of a loaded module."""


@cache
def get_task(name: str) -> "Task":
    """The built-in task of that name, made once for each process.

    Raises `KeyError` with the names there are.
    """
    if name not in BY_NAME:
        raise KeyError(_unknown(name))
    return BY_NAME[name].make()


@dataclass(frozen=True)
class TaskSource:
    """Where a task comes from: enough to make it in another process or on another machine."""

    name: str
    """A built-in task's name, or the path of a user's file."""
    text: str | None = None
    """What that file holds; None for a built-in task."""

    @property
    def digest(self) -> str:
        """Changes when the user's file does; a built-in task changes only with the version."""
        return hashlib.sha256((self.text or self.name).encode()).hexdigest()[:32]

    def load(self) -> "Task":
        """The task; a user's file is run anew each time.

        Raises:
            TaskError: where the file raises (the message says what and in which line), or has no
                `task`.
        """
        return get_task(self.name) if self.text is None else _run_task(self.text, Path(self.name))


def read_task(name_or_path: str | os.PathLike[str]) -> TaskSource:
    """The task that a user means: a built-in one's name, or a file's path, which ends in `.py`.

    Raises:
        TaskError: for a file that can't be read, or an unknown name; suggests near ones.
    """
    wanted = os.fspath(name_or_path)
    if wanted.endswith(".py"):
        return TaskSource(wanted, _read_file(Path(wanted)))
    name = wanted.removesuffix("@1x")
    if name not in BY_NAME:
        raise TaskError(f"{_unknown(wanted)}; a file of your own ends in `.py`")
    return TaskSource(name)


def _unknown(name: str) -> str:
    """What to say of a name that no built-in task has."""
    family, at, size = name.partition("@")
    sizes = [known for known, entry in BY_NAME.items() if entry.family.name == family]
    if sizes and at:
        return f"task `{family}` has no size `@{size}`; there are {_quoted(sizes)}"
    question = did_you_mean(nearest(name, BY_NAME))
    families = _quoted(entry.name for entry in FAMILIES)
    return f"no task is called `{name}`{f': {question}' if question else ';'} there are {families}"


def find_task(name_or_path: str | os.PathLike[str]) -> "Task":
    """The task of that name or file; raises as `read_task` and `load_task`."""
    return load_task(read_task(name_or_path))


def load_task(source: TaskSource) -> "Task":
    """The task; a file's is checked.

    Raises `TaskError` as `TaskSource.load`, and for a task that can't be trained.
    """
    if source.text is None:
        return source.load()
    task, file = source.load(), Path(source.name)
    # Only here, since it loads JAX: a mistyped path is reported at once.
    from optdsl.tasks.checks import check_task

    try:
        check_task(task)
    except Exception as error:
        place = _place(error, file, _line_of_task(source.text))
        raise TaskError(f"{place}: {_summary(error)}") from error
    return task


def _read_file(file: Path) -> str:
    if not file.exists():
        raise TaskError(f"there is no file `{file}`")
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise TaskError(f"can't read `{file}`: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise TaskError(f"can't read `{file}`: it is not UTF-8 text") from error


def _run_task(text: str, file: Path) -> "Task":
    names: dict[str, Any] = {"__name__": _MODULE, "__file__": str(file)}
    try:
        with _importable(file.parent):
            exec(compile(text, str(file), "exec"), names)
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


@contextmanager
def _importable(folder: Path) -> Generator[None]:
    """Lets modules in `folder` be imported; last, so that they hide no installed ones."""
    entry = str(folder.resolve())
    sys.path.append(entry)
    try:
        yield
    finally:
        sys.path.remove(entry)


def _place(error: BaseException, file: Path, otherwise: int | None = None) -> str:
    """`FILE:LINE` of the innermost line of the user's file that the error passed through."""
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == str(file)
    ]
    if not lines and isinstance(error, SyntaxError) and error.filename == str(file):
        lines = [error.lineno]
    line = lines[-1] if lines else otherwise
    return f"{file}:{line}" if line else str(file)


def _line_of_task(text: str) -> int | None:
    """Where a file last says `task = ...`; None if it gets its task in another way."""
    lines = [
        statement.lineno
        for statement in ast.parse(text).body
        if isinstance(statement, ast.Assign)
        and any(isinstance(name, ast.Name) and name.id == "task" for name in statement.targets)
    ]
    return lines[-1] if lines else None


def _summary(error: BaseException) -> str:
    """The error's type and message, as Python's last line of a traceback has them."""
    message = error.msg if isinstance(error, SyntaxError) else str(error)
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
