"""`optdsl functions`."""

import click

from optdsl.cli.output import print_json, say
from optdsl.ops import OPS, FunctionSet, OpDef, functions


@click.command("functions")
@click.option("--set", "which", type=click.Choice([entry.value for entry in FunctionSet]))
@click.option("--protected", is_flag=True, help="Only those with a protected variant, and that.")
@click.option("--json", "as_json", is_flag=True, help="Print a list of objects.")
def command(which: str | None, protected: bool, as_json: bool) -> None:
    """List the functions of the language: `paper` are the 43 of the paper's appendix H."""
    listed = functions(FunctionSet(which)) if which else OPS
    listed = tuple(op for op in listed if op.protected) if protected else listed
    if as_json:
        print_json([_entry(op) for op in listed])
        return
    for op in listed:
        say(f"{op.written(*op.args):<34} {op.protected if protected else op.doc}")


def _entry(op: OpDef) -> dict[str, object]:
    return {
        "name": op.name,
        "args": list(op.args),
        "aliases": list(op.aliases),
        "sets": sorted(entry.value for entry in op.sets),
        "written": op.written(*op.args),
        "protected": op.protected or None,
        "doc": op.doc,
    }
