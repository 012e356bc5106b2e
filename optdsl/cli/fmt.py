"""`optdsl fmt FILE...`."""

import difflib
import sys
from io import StringIO
from pathlib import Path

import click

from optdsl.cli.output import FINDINGS, exit_code, fail, say, show
from optdsl.diagnostics import Diagnostic, OptError
from optdsl.files import write_text
from optdsl.frontend import find_source
from optdsl.syntax import format_file, parse_file


@click.command("fmt")
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option("--check", "only_check", is_flag=True, help="Change nothing; exit 1 if it would.")
@click.option("--diff", "show_diff", is_flag=True, help="Change nothing; print the difference.")
def command(files: tuple[str, ...], only_check: bool, show_diff: bool) -> None:
    """Format programs in place; `-` reads standard input and writes standard output."""
    errors: list[Diagnostic] = []
    changed = 0
    for name in files:
        try:
            source = find_source(name)
        except OptError as error:
            errors += error.diagnostics
            continue
        parsed = parse_file(source)
        if parsed.file is None or parsed.diagnostics:
            errors += parsed.diagnostics
            continue
        text = format_file(parsed.file)
        differs = text != source.text
        changed += differs
        if show_diff:
            _print_diff(source.name, source.text, text)
        elif name == "-":
            if not only_check:
                click.echo(text, nl=False)
        elif differs and only_check:
            say(f"would reformat {source.name}")
        elif differs:
            _write(source.name, text)
            say(f"reformatted {source.name}")
    show(errors)
    would_change = FINDINGS if changed and (only_check or show_diff) else 0
    sys.exit(max(exit_code(errors), would_change))


def _print_diff(name: str, before: str, after: str) -> None:
    for line in difflib.unified_diff(_lines(before), _lines(after), name, f"{name} (new)"):
        ended = line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
        click.echo(ended, nl=False)


def _lines(text: str) -> list[str]:
    """Lines with their ends, split only where `diff` and `patch` split them."""
    return list(StringIO(text))


def _write(name: str, text: str) -> None:
    try:
        write_text(Path(name), text)
    except OSError as error:
        fail(f"can't write {name}: {error.strerror}")
