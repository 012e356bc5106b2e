"""`optdsl check FILE...`."""

import sys

import click

from optdsl.backends.findings import findings
from optdsl.cli.output import exit_code, fail, print_json, say, show
from optdsl.diagnostics import CODES, Diagnostic, OptError, did_you_mean, nearest
from optdsl.frontend import find_source


@click.command("check")
@click.argument("files", metavar="FILE...", nargs=-1)
@click.option("--explain", metavar="CODE", help="Explain a diagnostic's code, such as E101.")
@click.option("--json", "as_json", is_flag=True, help="Print a list of diagnostics.")
def command(files: tuple[str, ...], explain: str | None, as_json: bool) -> None:
    """Find all errors of programs: syntax, names, kinds; warn of divisions by zero and the like."""
    if explain is not None:
        _explain(explain)
        return
    if not files:
        fail("name a file to check, or a code to --explain")
    diagnostics: list[Diagnostic] = []
    for name in files:
        try:
            diagnostics += findings(find_source(name))
        except OptError as error:
            diagnostics += error.diagnostics
    if as_json:
        print_json([diagnostic.to_json() for diagnostic in diagnostics])
    else:
        show(diagnostics)
        errors = sum(diagnostic.is_error for diagnostic in diagnostics)
        checked = f"{len(files)} file{'s' if len(files) > 1 else ''} checked"
        say(f"{checked}, {errors} error{'' if errors == 1 else 's'}")
    sys.exit(exit_code(diagnostics))


def _explain(code: str) -> None:
    entry = CODES.get(code.upper())
    if entry is None:
        help = did_you_mean(nearest(code.upper(), CODES)) or f"codes are {', '.join(CODES)}"
        fail(f"no diagnostic has the code `{code}`; {help}")
    click.echo(f"{code.upper()} ({entry.severity}): {entry.title}\n\n{entry.explanation}")
