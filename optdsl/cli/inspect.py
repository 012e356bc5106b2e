"""`optdsl inspect FILE`."""

import click

from optdsl.backends.sheet import Sheet, static_sheet
from optdsl.cli.output import print_json, say
from optdsl.diagnostics import OptError
from optdsl.frontend import elaborate, find_source


@click.command("inspect")
@click.argument("file", metavar="FILE")
@click.option("--json", "as_json", is_flag=True, help="Print one object.")
def command(file: str, as_json: bool) -> None:
    """Show everything static about a program: liveness, state, hashes."""
    elaborated = elaborate(find_source(file))
    if elaborated.program is None:
        raise OptError(elaborated.diagnostics)
    sheet = static_sheet(elaborated)
    if as_json:
        print_json(sheet.to_json())
    else:
        _show(sheet)


def _show(sheet: Sheet) -> None:
    dead = f"; dead on lines {', '.join(map(str, sheet.dead_lines))}" if sheet.dead_lines else ""
    say(f"statements       {sheet.statements}, {sheet.live_statements} live{dead}")
    for i, state in enumerate(sheet.states):
        head = "state" if i == 0 else ""
        say(f"{head:<16} {state.name}: {state.kind}, {state.dtype}{'' if state.live else ', dead'}")
    for i, entry in enumerate(sheet.hyperparameters):
        head = "hyperparameters" if i == 0 else ""
        say(f"{head:<16} {entry.name} = {entry.default!r}{'' if entry.live else ', unused'}")
    say(f"bytes of state   {sheet.state_bytes_per_weight:g} per weight, for float32 weights")
    for i, (level, digest) in enumerate(sheet.hash.items()):
        head = "hash" if i == 0 else ""
        say(f"{head:<16} {level:<11} {digest}")
