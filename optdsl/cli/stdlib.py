"""`optdsl stdlib`."""

import click

from optdsl.cli.output import print_json, say
from optdsl.frontend import load, read_source, stdlib


@click.command("stdlib")
@click.option("--json", "as_json", is_flag=True, help="Print a list of objects.")
def command(as_json: bool) -> None:
    """List the programs of the standard library; their names stand for files everywhere."""
    docs = {name: load(read_source(path)).doc for name, path in stdlib().items()}
    if as_json:
        print_json(
            [
                {"name": name, "doc": docs[name], "file": str(path)}
                for name, path in stdlib().items()
            ]
        )
        return
    width = max(map(len, docs), default=0)
    for name, doc in docs.items():
        say(f"{name:<{width}}  {' '.join(doc.split(chr(10) * 2)[0].split())}")
