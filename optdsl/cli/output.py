"""What every command says in the same way: diagnostics, JSON, failures, exit codes."""

import json
import math
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from optdsl.diagnostics import Diagnostic, render

FINDINGS = 1
USAGE = 2
INTERRUPTED = 130

UNREADABLE = "E001"
"""The diagnostic that is a wrong argument rather than a finding."""


def say(text: str = "") -> None:
    """A line for people, on stderr."""
    click.echo(text, err=True, color=None if _colored() else False)


def print_json(value: Any) -> None:
    """Machine output, on stdout."""
    click.echo(json_text(value))


def json_text(value: Any) -> str:
    """JSON in one line: infinities and NaN, which it lacks, are null."""
    return json.dumps(finite(value), ensure_ascii=False, allow_nan=False)


def show(diagnostics: Sequence[Diagnostic]) -> None:
    """Diagnostics for people."""
    for diagnostic in diagnostics:
        head, _, rest = render(diagnostic).partition("\n")
        say(click.style(head, fg="red" if diagnostic.is_error else "yellow", bold=True))
        say(rest + "\n")


def report_errors(diagnostics: Sequence[Diagnostic]) -> int:
    """Show the errors of a program that was to be used; the exit code."""
    show(diagnostics)
    return exit_code(diagnostics)


def exit_code(diagnostics: Sequence[Diagnostic]) -> int:
    """USAGE if a file can't be read, FINDINGS if there are errors, else 0."""
    if any(diagnostic.code == UNREADABLE for diagnostic in diagnostics):
        return USAGE
    return FINDINGS if any(diagnostic.is_error for diagnostic in diagnostics) else 0


def fail(message: str, code: int = USAGE) -> NoReturn:
    """One line on stderr, and out."""
    say(f"optdsl: {message}")
    sys.exit(code)


def _colored() -> bool:
    return "NO_COLOR" not in os.environ and sys.stderr.isatty()


def finite(value: Any) -> Any:
    """A JSON value with null for infinities and NaN."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [finite(entry) for entry in value]
    return value
